//! What is pruned, and what a kill leaves behind.

use std::fs;
use std::time::{Duration, SystemTime};

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

const LIVES: [Option<Uuid>; 3] = [None, Some(Uuid::from_u128(1)), Some(Uuid::from_u128(2))];

proptest! {
    #[test]
    fn each_life_keeps_its_own_and_the_last_good_ones_always_stay(
        made in prop::collection::vec((any::<bool>(), 0_usize..3), 0..30),
        keep in 0_usize..5,
        days in 0_u64..40,
        living in 0_usize..3,
    ) {
        let mut all = Vec::new();
        for ((good, life), hour) in made.iter().zip(1..) {
            all.push(Manifest { incarnation: LIVES[*life], ..backup(hour, *good) });
        }
        let policy = Policy { keep, max_age: Duration::from_secs(days * 86_400) };
        let now = Timestamp::UNIX_EPOCH + 720.hours();
        let going = condemned(&all, policy, LIVES[living], now);
        let stays = |manifest: &&Manifest| !going.contains(&manifest.id);
        let good = || all.iter().filter(|manifest| manifest.is_good());
        prop_assert!(good().next_back().as_ref().is_none_or(stays));
        for life in LIVES {
            let last = good().rfind(|manifest| manifest.incarnation == life);
            // Another life may go on too; only age says that it does not.
            prop_assert!(last.as_ref().is_none_or(stays) || life != LIVES[living] && days < 30);
            let own = || all.iter().filter(|manifest| manifest.incarnation == life);
            let kept = own().filter(stays).filter(|manifest| manifest.is_good());
            prop_assert!(kept.count() <= keep.max(1));
            let newer = |manifest: &&Manifest| last.is_none_or(|last| manifest.id > last.id);
            let doubtful = own().filter(|manifest| !manifest.is_good()).filter(newer);
            prop_assert!(doubtful.clone().filter(stays).count() <= 2);
            if days >= 30 {
                prop_assert!(doubtful.rev().take(2).all(|manifest| stays(&manifest)));
            }
            let better = own().filter(|manifest| !manifest.is_good()).filter(|m| !newer(m));
            prop_assert_eq!(better.filter(stays).count(), 0);
        }
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

fn archived(repository: &Repository, life: Uuid, numbers: impl IntoIterator<Item = u64>) {
    repository.archive(life).prepare().expect("made");
    for number in numbers {
        let name = Segment { timeline: 1, number }.name(SEGMENT);
        fs::write(repository.archive(life).place(&name).0, b"x").expect("written");
    }
}

/// Publishes a good backup whose log begins at a segment.
fn published(repository: &Repository, hour: i64, life: Uuid, first_segment: u64) -> Manifest {
    let draft = repository.draft(Timestamp::UNIX_EPOCH + hour.hours()).expect("a draft");
    let mut manifest = backup(hour, true);
    (manifest.id, manifest.incarnation) = (draft.id.clone(), Some(life));
    manifest.first_segment = first_segment;
    repository.publish(&draft, &manifest).expect("published");
    manifest
}

#[test]
fn pruning_removes_remains_and_what_no_backup_needs_and_nothing_else() {
    let place = Place::new();
    let repository = Repository::open(&place.0, Key::generate().expect("a key")).expect("opened");
    let (living, other, dead) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
    for (hour, first) in [(1, 10), (2, 20), (3, 30)] {
        published(&repository, hour, living, first);
    }
    let half_made = repository.draft(Timestamp::now()).expect("a draft").directory;
    for life in [living, other, dead] {
        archived(&repository, life, 29..32);
    }
    let month = SystemTime::now() - Duration::from_secs(30 * 86_400);
    let directory = repository.archive(dead).place("any").0;
    let directory = fs::File::open(directory.parent().expect("above")).expect("opened");
    directory.set_modified(month).expect("old");
    assert_eq!(repository.list().expect("listed").backups.len(), 3, "a draft is no backup");
    let policy = Policy { keep: 1, max_age: Duration::from_secs(3_600) };
    let pruned = repository.prune(policy, Some(living), Timestamp::now()).expect("pruned");
    assert_eq!(pruned.removed, 2);
    let left = repository.list().expect("listed").backups;
    assert_eq!(left.iter().map(|one| one.first_segment).collect::<Vec<_>>(), [30]);
    assert!(!half_made.exists());
    let in_archive = |life| repository.archive(life).names().expect("listed").len();
    assert_eq!((in_archive(living), in_archive(other), in_archive(dead)), (2, 3, 0));
}

#[test]
fn one_refused_manifest_hides_no_other_backup_and_keeps_the_archive() {
    let place = Place::new();
    let repository = Repository::open(&place.0, Key::generate().expect("a key")).expect("opened");
    let life = Uuid::from_u128(1);
    let [older, newer] =
        [(1, 10), (2, 20)].map(|(hour, at)| published(&repository, hour, life, at));
    archived(&repository, life, [5, 10, 20]);
    let path = repository.path(&newer.id).join("manifest.json");
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replace("15.1", "16.1")).expect("changed");
    let listing = repository.list().expect("listed");
    assert_eq!(listing.backups, std::slice::from_ref(&older));
    let error = listing.refused[0].to_string();
    assert!(error.contains(&newer.id) && error.contains("manifest.json is refused"), "{error}");
    assert_eq!(repository.find(&older.id).expect("untouched"), older);
    assert!(repository.find(&newer.id).is_err());
    let error = repository.find("../absent").expect_err("no such").to_string();
    assert!(error.contains(&older.id), "{error}");
    let policy = Policy { keep: 1, max_age: Duration::from_secs(3_600) };
    let pruned = repository.prune(policy, Some(life), Timestamp::now()).expect("pruned");
    assert_eq!((pruned.removed, pruned.refused.len()), (0, 1));
    assert_eq!(repository.archive(life).names().expect("listed").len(), 3);
    // That of another one is authentic, and wrong.
    fs::copy(repository.path(&older.id).join("manifest.json"), &path).expect("swapped");
    let error = repository.find(&newer.id).expect_err("swapped").to_string();
    assert!(error.contains("it is the one of"), "{error}");
}

#[test]
fn a_gap_counts_when_the_newest_backup_needs_what_is_missing() {
    let place = Place::new();
    let repository = Repository::open(&place.0, Key::generate().expect("a key")).expect("opened");
    let life = Uuid::from_u128(1);
    let gap = || repository.gap(life).expect("looked");
    archived(&repository, life, [9, 10, 12]);
    assert_eq!(gap(), None, "no backup, nothing to continue");
    published(&repository, 1, life, 10);
    assert_eq!(gap(), Some(Segment { timeline: 1, number: 11 }.name(SEGMENT)));
    published(&repository, 2, life, 12);
    assert_eq!(gap(), None, "the next backup begins after it");
}
