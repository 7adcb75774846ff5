//! The ledger of erasures: append-only, in order, whoever appends.

use std::fs;
use std::io::Write as _;

use backup::{Erasure, Key, Ledger};
use uuid::Uuid;

use crate::Place;

fn erasure(number: u8) -> Erasure {
    Erasure {
        tenant: Uuid::from_u128(1),
        part: Uuid::from_u128(number.into()),
        row: vec![number; 40],
    }
}

#[test]
fn two_writers_append_in_turn_and_nothing_twice() {
    let place = Place::new();
    let key = Key::generate().expect("a key");
    let mut one = Ledger::open(&place.0, &key).expect("empty");
    let mut two = Ledger::open(&place.0, &key).expect("empty");
    assert_eq!(one.append(&[erasure(1), erasure(2), erasure(1)]).expect("appended"), 2);
    assert_eq!(two.append(&[erasure(2), erasure(3)]).expect("appended"), 1);
    assert_eq!(one.append(&[erasure(3)]).expect("known by now"), 0);
    assert_eq!((one.entries(), two.entries()), (3, 3));
    let read = Ledger::read(&place.0, &key).expect("read");
    assert_eq!(read, [erasure(1), erasure(2), erasure(3)]);
}

#[test]
fn a_torn_end_is_written_over_and_a_changed_line_is_refused() {
    let place = Place::new();
    let (key, path) = (Key::generate().expect("a key"), place.0.join("erasure.ledger"));
    Ledger::open(&place.0, &key).expect("empty").append(&[erasure(1)]).expect("appended");
    let mut file = fs::OpenOptions::new().append(true).open(&path).expect("there");
    file.write_all(b"dG9ybg").expect("torn");
    let mut ledger = Ledger::open(&place.0, &key).expect("the whole lines");
    assert_eq!(ledger.append(&[erasure(2), erasure(3)]).expect("appended"), 2);
    assert_eq!(Ledger::read(&place.0, &key).expect("read").len(), 3);

    let text = fs::read_to_string(&path).expect("read");
    let lines: Vec<&str> = text.lines().collect();
    for (damaged, line) in [
        (format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2]), "line 1"),
        (format!("{}\n{}\n", lines[0], lines[2]), "line 2"),
        (text.replacen(&lines[2][..8], "AAAAAAAA", 1), "line 3"),
    ] {
        fs::write(&path, damaged).expect("damaged");
        let error = Ledger::read(&place.0, &key).expect_err("refused").to_string();
        assert!(error.contains("erasure.ledger is refused") && error.contains(line), "{error}");
    }
    fs::write(&path, text).expect("put back");
    let other = Key::generate().expect("another key");
    assert!(Ledger::read(&place.0, &other).is_err());
}
