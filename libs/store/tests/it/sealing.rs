use kernel::TenantId;
use proptest::prelude::*;
use store::envelope::{open, place, seal};
use store::page_token::Scope;
use store::{DataKey, Error, KeyRing, TokenSealer, blind};

use crate::tenant;

proptest! {
    #[test]
    fn what_is_sealed_opens_only_at_its_place_and_undamaged(
        plain in proptest::collection::vec(any::<u8>(), 0..200),
        subject in proptest::collection::vec(any::<u8>(), 0..20),
        at in any::<proptest::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let key = DataKey::generate().unwrap();
        let here = place(tenant(1), "fragment", &subject);
        let sealed = seal(&key, &here, &plain).unwrap();
        prop_assert_eq!(open(&key, &here, &sealed).unwrap(), plain);
        let mut damaged = sealed.clone();
        damaged[at.index(sealed.len())] ^= 1 << bit;
        prop_assert_eq!(open(&key, &here, &damaged), Err(Error::Decrypt));
        let shorter = &sealed[..at.index(sealed.len())];
        prop_assert_eq!(open(&key, &here, shorter), Err(Error::Decrypt));
        let elsewhere = place(tenant(2), "fragment", &subject);
        prop_assert_eq!(open(&key, &elsewhere, &sealed), Err(Error::Decrypt));
    }

    #[test]
    fn places_never_coincide(
        (one, two) in (("[a-z]{0,4}", "[a-z]{0,4}"), ("[a-z]{0,4}", "[a-z]{0,4}")),
    ) {
        let at = |(table, subject): &(String, String)| {
            place(tenant(1), table, subject.as_bytes())
        };
        prop_assert_eq!(at(&one) == at(&two), one == two);
    }
}

#[test]
fn a_page_token_is_good_for_its_own_scope_only() {
    let sealer = TokenSealer::new(&KeyRing::generate().unwrap()).unwrap();
    let scope = |tenant: TenantId, method, filter| Scope { tenant, method, filter };
    let list = scope(tenant(1), "Routing/ListDemands", b"open".as_slice());
    let token = sealer.seal(&list, b"position").unwrap();
    assert_eq!(sealer.page(&list, &token).unwrap().as_deref(), Some(b"position".as_slice()));
    assert_eq!(sealer.page(&list, "").unwrap(), None);
    let foreign = [
        scope(tenant(2), "Routing/ListDemands", b"open"),
        scope(tenant(1), "Routing/ListOffers", b"open"),
        scope(tenant(1), "Routing/ListDemands", b"closed"),
    ];
    for other in foreign {
        let violations = sealer.page(&other, &token).unwrap_err();
        assert!(violations.iter().all(|violation| violation.field == "page_token"));
    }
    let other_ring = TokenSealer::new(&KeyRing::generate().unwrap()).unwrap();
    assert!(other_ring.page(&list, &token).is_err());
    for garbage in ["x", "ÿ", "AAAA", &"A".repeat(10_000), &format!("{token}A")] {
        let violations = sealer.resume(&list, garbage).unwrap_err();
        assert!(violations.iter().all(|violation| violation.field == "resume_token"));
    }
}

#[test]
fn blind_indexes_tell_tenants_namespaces_and_values_apart() {
    let ring = KeyRing::generate().unwrap();
    let one = ring.lookup().tenant(tenant(1)).unwrap();
    let two = ring.lookup().tenant(tenant(2)).unwrap();
    let index = blind::index(&one, "email", b"a@example.com");
    assert_eq!(index, blind::index(&one, "email", b"a@example.com"));
    assert_eq!(index[..16], blind::short_index(&one, "email", b"a@example.com"));
    assert_ne!(index, blind::index(&two, "email", b"a@example.com"));
    assert_ne!(index, blind::index(&one, "phone", b"a@example.com"));
    assert_ne!(index, blind::index(&one, "email", b"b@example.com"));
}
