//! Sealed files under every kind of damage.

use std::fs;

use backup::{Error, Key, read_sealed, write_sealed};
use proptest::prelude::*;

use crate::Place;

/// Content that LZ4 cannot shrink, so that sizes are known.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_written_is_read_again(length in 0_usize..300_000) {
        let place = Place::new();
        let (path, key) = (place.0.join("part"), Key::generate().expect("a key"));
        let plain = noise(length);
        let part = write_sealed(&path, &key, "x", &mut plain.as_slice()).expect("written");
        prop_assert_eq!(part.bytes, fs::metadata(&path).expect("there").len());
        let mut read = Vec::new();
        prop_assert_eq!(read_sealed(&path, &key, "x", &mut read).expect("read"), part);
        prop_assert_eq!(read, plain);
    }

    #[test]
    fn a_changed_byte_or_a_cut_anywhere_is_refused(length in 0_usize..200_000, at in any::<prop::sample::Index>(), cut in any::<bool>()) {
        let place = Place::new();
        let (path, key) = (place.0.join("part"), Key::generate().expect("a key"));
        write_sealed(&path, &key, "x", &mut noise(length).as_slice()).expect("written");
        let mut bytes = fs::read(&path).expect("read");
        let position = at.index(bytes.len());
        if cut {
            bytes.truncate(position);
        } else {
            bytes[position] ^= 0x10;
        }
        fs::write(&path, bytes).expect("damaged");
        let error = read_sealed(&path, &key, "x", &mut Vec::new()).expect_err("damaged");
        prop_assert!(matches!(&error, Error::Refused { path: named, .. } if *named == path), "{}", error);
    }
}

#[test]
fn chunks_in_another_order_another_name_another_key_and_more_behind_are_refused() {
    let place = Place::new();
    let (path, key) = (place.0.join("part"), Key::generate().expect("a key"));
    write_sealed(&path, &key, "x", &mut noise(400_000).as_slice()).expect("written");
    let refused = |key: &Key, label: &str| {
        let error = read_sealed(&path, key, label, &mut Vec::new()).expect_err("refused");
        assert!(error.to_string().contains("part is refused"), "{error}");
    };
    refused(&key, "y");
    refused(&Key::generate().expect("a key"), "x");

    let whole = fs::read(&path).expect("read");
    let (header, chunk) = (37, (64 << 10) + 16);
    let mut swapped = whole[..header].to_vec();
    swapped.extend_from_slice(&whole[header + chunk..header + 2 * chunk]);
    swapped.extend_from_slice(&whole[header..header + chunk]);
    swapped.extend_from_slice(&whole[header + 2 * chunk..]);
    fs::write(&path, swapped).expect("swapped");
    refused(&key, "x");
    // A cut at the end of a chunk leaves only whole, authentic chunks.
    fs::write(&path, &whole[..header + 2 * chunk]).expect("cut");
    refused(&key, "x");
    fs::write(&path, [&whole[..], &whole[header..]].concat()).expect("longer");
    refused(&key, "x");
    fs::remove_file(&path).expect("gone");
    refused(&key, "x");
}

#[test]
fn a_source_that_fails_leaves_no_file() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the source ended"))
        }
    }
    let place = Place::new();
    let key = Key::generate().expect("a key");
    let error = write_sealed(&place.0.join("part"), &key, "x", &mut Broken).expect_err("broken");
    assert!(error.to_string().contains("the source ended"), "{error}");
    assert_eq!(fs::read_dir(&place.0).expect("listed").count(), 0);
}

#[test]
fn a_key_is_made_once_and_refused_when_others_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let path = place.0.join("backup.key");
    assert!(Key::load(&path).expect_err("none").to_string().contains("is not there"));
    assert!(Key::load_or_generate(&path).expect("made").1);
    assert!(!Key::load_or_generate(&path).expect("read").1);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("opened");
    assert!(Key::load(&path).expect_err("open").to_string().contains("set it to 600"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("closed");
    fs::write(&path, "c2hvcnQ=").expect("short");
    assert!(Key::load(&path).expect_err("short").to_string().contains("32 bytes"));
}
