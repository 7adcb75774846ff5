//! The stored form: bounded, versioned, and garbage is an error.

use aggregate::{Amount, Behaviour, Error, LedgerFact, Personal, TraitValue, limit};
use proptest::prelude::*;

use crate::sample::{BASE_US, Both, DAY_US, Sample, any_samples};

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(samples in any_samples(80)) {
        let both = Both::of_all(&samples);
        let (behaviour, personal) = both.bytes();
        prop_assert_eq!(&Behaviour::decode(&behaviour).unwrap(), &both.behaviour);
        prop_assert_eq!(&Personal::decode(&personal).unwrap(), &both.personal);
    }

    #[test]
    fn garbage_is_an_error_or_a_state_that_can_be_used(
        samples in any_samples(40),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Both::of_all(&samples).behaviour.encode();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let Ok(mut state) = Behaviour::decode(bytes) {
                state.merge(&Both::of_all(&samples).behaviour);
                let _ = state.rfm(BASE_US);
                let _ = state.next_change_us(BASE_US);
                prop_assert!(state.engagement(BASE_US) >= 0.0);
                prop_assert_eq!(Behaviour::decode(&state.encode()).unwrap(), state);
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Behaviour::decode(&bytes);
        let _ = Personal::decode(&bytes);
    }
}

#[test]
fn the_encoding_carries_its_version() {
    assert_eq!(Behaviour::default().encode(), [1]);
    assert_eq!(Behaviour::decode(&[]), Err(Error::Empty));
    assert_eq!(Behaviour::decode(&[2]), Err(Error::Version(2)));
    let long = vec![1; limit::MAX_BYTES + 1];
    assert_eq!(Behaviour::decode(&long), Err(Error::TooLong));
    // total = 0 with a first time: never written.
    assert_eq!(Behaviour::decode(&[1, 0x10, 2]), Err(Error::Inconsistent("total")));
}

#[test]
fn the_encoding_is_frozen() {
    let mut sample = Sample::named("Order Completed", BASE_US);
    sample.ledger = Some(LedgerFact::OrderCompleted(Amount::from_money("CNY", 5, 0).ok()));
    sample.traits = vec![("vip".to_owned(), TraitValue::bool(true), false)];
    let hex: String =
        Both::of(&sample).behaviour.encode().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, FROZEN);
}

/// Changing it needs a new version of the encoding and a reader for the old one.
const FROZEN: &str = concat!(
    "0108011080c0c7cce0e69b0620012d01000000320101521b0a0f4f7264657220436f6d706c657465",
    "6410012d010000003201015a1908011880c0c7cce0e69b064a0c0a03434e59100118c096b102621e",
    "0a03766970200132037765623880c0c7cce0e69b0641de71c11798a633b6",
);

fn short_traits(count: usize) -> Vec<(String, TraitValue, bool)> {
    let value = || TraitValue::text("Chengdu").unwrap();
    (0..count).map(|n| (format!("attribute_{n}"), value(), false)).collect()
}

#[test]
fn the_typical_worst_case_stays_within_its_budget() {
    let mut samples = Vec::new();
    for name in 0..24_i64 {
        for nth in 0..8 * 3 {
            let age = (nth % 8) * 4 * DAY_US + name * 1_234_567;
            samples.push(Sample::named(&format!("Some Event No {name:02}"), BASE_US - age));
        }
        samples.push(Sample::named(&format!("Some Event No {name:02}"), BASE_US - 300 * DAY_US));
    }
    for day in 0..384 {
        samples.push(Sample::named("Some Event No 00", BASE_US - day * DAY_US));
    }
    let ledger = |fact| Sample { ledger: Some(fact), ..Sample::named("Some Event No 00", BASE_US) };
    for currency in ["CNY", "USD"] {
        let amount = Amount::from_money(currency, 12_345, 670_000_000).ok();
        samples.push(ledger(LedgerFact::OrderCompleted(amount)));
        samples.push(ledger(LedgerFact::OrderRefunded(amount)));
    }
    samples.push(ledger(LedgerFact::PointsEarned(100_000)));
    samples.push(ledger(LedgerFact::PointsSpent(90_000)));
    samples.push(ledger(LedgerFact::TicketOpened));
    samples.push(Sample { traits: short_traits(4), ..Sample::named("Some Event No 00", BASE_US) });
    let bytes = Both::of_all(&samples).behaviour.encode();
    assert!(bytes.len() <= limit::TYPICAL_BYTES, "{} bytes", bytes.len());
    assert!(bytes.len() > limit::TYPICAL_BYTES / 2, "no worst case: {} bytes", bytes.len());
}

#[test]
fn no_state_exceeds_the_hard_bound() {
    let long =
        |prefix: &str, n: usize, bytes: usize| format!("{prefix}{n:04}{}", "x".repeat(bytes));
    let value = || TraitValue::text("x".repeat(limit::TEXT_BYTES)).unwrap();
    let mut state = Behaviour::default();
    for n in 0..100_usize {
        let name = long("e", n, 200);
        let traits = vec![(long("t", n, 100), value(), false)];
        for age in 0..400 {
            let sample = Sample { source: "s".repeat(99), ..Sample::named(&name, -age * DAY_US) };
            sample.with(|event| state.fold(event));
        }
        let code =
            format!("X{}{}", char::from(b'A' + (n / 26) as u8), char::from(b'A' + (n % 26) as u8));
        let amount = Amount::from_money(&code, 18_000_000_000_000, 0).ok();
        let ledger = Some(LedgerFact::OrderCompleted(amount));
        let source = "s".repeat(99);
        let last = Sample { ledger, traits, source, ..Sample::named(&name, i64::MIN) };
        last.with(|event| state.fold(event));
    }
    for _ in 0..63 {
        let twice = state.clone();
        state.merge(&twice); // every count doubles until it saturates
    }
    let bytes = state.encode();
    assert!(bytes.len() <= limit::MAX_BYTES, "{} bytes", bytes.len());
    assert_eq!(Behaviour::decode(&bytes).unwrap(), state);
    assert_eq!(state.total_events(), u64::MAX);
}
