//! What is pruned, and what a kill leaves behind.

use std::fs;
use std::time::Duration;

use backup::archive::{Segment, position, unbroken};
use backup::{Key, LedgerPosition, Manifest, Policy, Repository, Verified, condemned};
use jiff::{Timestamp, ToSpan as _};
use proptest::prelude::*;
use uuid::Uuid;

use crate::Place;

const SEGMENT: u64 = 16 << 20;

fn backup(hour: i64, good: bool) -> Manifest {
    let time = Timestamp::UNIX_EPOCH + hour.hours();
    Manifest {
        format: Manifest::format(),
        id: format!("b{hour:06}"),
        began: time,
        time,
        incarnation: None,
        postgres: "15.1".to_owned(),
        timeline: 1,
        segment_bytes: SEGMENT,
        first_segment: 1,
        restore_point: "x".to_owned(),
        databases: Vec::new(),
        counted: true,
        ledger: LedgerPosition::default(),
        parts: Vec::new(),
        plain_bytes: 0,
        verified: good.then_some(Verified { at: time, milliseconds: 1 }),
        failure: None,
    }
}

proptest! {
    #[test]
    fn the_last_good_one_and_what_is_newer_always_stay(
        good in prop::collection::vec(any::<bool>(), 0..30),
        keep in 0_usize..5,
        days in 0_u64..4,
    ) {
        let all: Vec<Manifest> =
            good.iter().zip(1..).map(|(good, hour)| backup(hour, *good)).collect();
        let policy = Policy { keep, max_age: Duration::from_secs(days * 86_400) };
        let now = Timestamp::UNIX_EPOCH + 720.hours();
        let going = condemned(&all, policy, now);
        let last_good = all.iter().rposition(Manifest::is_good);
        for (position, manifest) in all.iter().enumerate() {
            let goes = going.contains(&manifest.id);
            match last_good {
                Some(last) if position < last && !manifest.is_good() => prop_assert!(goes),
                Some(last) if position < last => {}
                _ => prop_assert!(!goes),
            }
        }
        let kept = all.iter().filter(|manifest| manifest.is_good() && !going.contains(&manifest.id));
        prop_assert!(kept.count() <= keep.max(1));
    }

    #[test]
    fn a_segment_is_its_name(position in any::<u64>(), shift in 20_u32..31) {
        let bytes = 1_u64 << shift;
        let segment = Segment::at(7, position, bytes);
        prop_assert_eq!(Segment::parse(&segment.name(bytes), bytes), Some(segment));
    }
}

#[test]
fn names_and_positions_are_those_of_postgres() {
    let at = position("16/B374D848").expect("a position");
    assert_eq!(Segment::at(1, at, SEGMENT).name(SEGMENT), "0000000100000016000000B3");
    assert_eq!(Segment::parse("00000002.history", SEGMENT), None);
    let names: Vec<String> =
        [3, 4, 6].map(|number| Segment { timeline: 1, number }.name(SEGMENT)).to_vec();
    let (whole, missing) = unbroken(&names, 3, SEGMENT);
    assert_eq!(whole, names[..2]);
    assert_eq!(missing.map(|segment| segment.number), Some(5));
}

#[test]
fn pruning_removes_remains_and_what_no_backup_needs_and_nothing_else() {
    let place = Place::new();
    let repository = Repository::open(&place.0, Key::generate().expect("a key")).expect("opened");
    let (living, dead) = (Uuid::from_u128(1), Uuid::from_u128(2));
    for hour in [1, 2, 3] {
        let draft = repository.draft(Timestamp::UNIX_EPOCH + hour.hours()).expect("a draft");
        let mut manifest = backup(hour, true);
        manifest.id = draft.id.clone();
        manifest.incarnation = Some(living);
        manifest.first_segment = 10 * u64::try_from(hour).expect("positive");
        repository.publish(draft, &manifest).expect("published");
    }
    let half_made = repository.draft(Timestamp::now()).expect("a draft").directory;
    for life in [living, dead] {
        repository.archive(life).prepare().expect("made");
        for number in [29, 30, 31] {
            let name = Segment { timeline: 1, number }.name(SEGMENT);
            fs::write(repository.archive(life).place(&name).0, b"x").expect("written");
        }
    }
    assert_eq!(repository.list().expect("listed").len(), 3, "a draft is no backup");
    let policy = Policy { keep: 1, max_age: Duration::from_secs(3_600) };
    assert_eq!(repository.prune(policy, Some(living), Timestamp::now()).expect("pruned"), 2);
    let left = repository.list().expect("listed");
    assert_eq!(left.len(), 1);
    assert_eq!(repository.find(None).expect("good").first_segment, 30);
    assert!(!half_made.exists());
    assert_eq!(repository.archive(living).names().expect("listed").len(), 2);
    assert!(repository.archive(dead).names().expect("listed").is_empty());

    let manifest = repository.path(&left[0].id).join("manifest.json");
    let text = fs::read_to_string(&manifest).expect("read");
    fs::write(&manifest, text.replace("\"rows\"", "\"rowz\"").replace("15.1", "16.1"))
        .expect("changed");
    let error = repository.find(None).expect_err("refused").to_string();
    assert!(error.contains("manifest.json is refused"), "{error}");
    assert!(repository.find(Some("absent")).is_err());
}
