use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use store::{DataKey, Error, KeyRing, TenantKeys, envelope, key_file};

use crate::{database, tenant};

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("store-keys-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_key_ring_comes_back_from_its_file_and_prints_nothing() {
    let directory = Directory::new();
    let path = directory.0.join("keys.toml");
    let ring = KeyRing::load_or_generate(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = KeyRing::load_or_generate(&path).unwrap();
    let evidence_key = |ring: &KeyRing| *ring.lookup().tenant(tenant(1)).unwrap().evidence_key();
    assert_eq!(evidence_key(&ring), evidence_key(&again));
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1, "no temporary file stays");
    let printed = format!("{ring:?} {:?} {:?}", ring.root(), DataKey::generate().unwrap());
    assert_eq!(printed, "KeyRing RootKeys { current: \"1\", .. } DataKey");
    let overwrite = ring.save(&path);
    assert!(matches!(overwrite, Err(key_file::Error::Io { .. })), "{overwrite:?}");
}

#[test]
fn a_key_ring_that_others_may_read_is_refused() {
    let directory = Directory::new();
    let path = directory.0.join("keys.toml");
    KeyRing::generate().unwrap().save(&path).unwrap();
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let refused = KeyRing::load(&path);
        assert!(matches!(refused, Err(key_file::Error::TooOpen { .. })), "{mode:o}");
    }
}

#[test]
fn a_malformed_key_ring_is_refused_without_quoting_it() {
    let directory = Directory::new();
    let path = directory.0.join("keys.toml");
    for text in ["", "[wrap]\ncurrent = secret", "[token]\nkey = \"secret\""] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = KeyRing::load(&path).unwrap_err();
        assert!(matches!(error, key_file::Error::Malformed { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}

#[tokio::test]
async fn concurrent_first_uses_agree_on_one_tenant_key() {
    let (_clone, database) = database().await;
    let ring = KeyRing::generate().unwrap();
    let mut first_uses = tokio::task::JoinSet::new();
    for _ in 0..8 {
        // Each with a cache of its own, as in eight replicas.
        let keys = TenantKeys::new(database.clone(), ring.root().clone());
        first_uses.spawn(async move { keys.get(tenant(1)).await.unwrap() });
    }
    let keys = first_uses.join_all().await;
    let data_key = DataKey::generate().unwrap();
    let wrapped = data_key.wrap(&keys[0], b"evidence").unwrap();
    let sealed = envelope::seal(&data_key, b"row", b"secret").unwrap();
    for key in &keys {
        let unwrapped = DataKey::unwrap(key, b"evidence", &wrapped).unwrap();
        assert_eq!(envelope::open(&unwrapped, b"row", &sealed).unwrap(), b"secret");
    }
    let other = TenantKeys::new(database, ring.root().clone()).get(tenant(2)).await.unwrap();
    assert_eq!(DataKey::unwrap(&other, b"evidence", &wrapped).unwrap_err(), Error::Decrypt);
}

#[tokio::test]
async fn rotating_the_root_key_rewraps_tenant_keys_and_keeps_data_readable() {
    let (_clone, database) = database().await;
    let old = KeyRing::generate().unwrap();
    let before = TenantKeys::new(database.clone(), old.root().clone());
    let wrapped =
        DataKey::generate().unwrap().wrap(&before.get(tenant(1)).await.unwrap(), b"e").unwrap();

    let new = old.with_new_wrap_key().unwrap();
    let after = TenantKeys::new(database.clone(), new.root().clone());
    assert_eq!(after.rewrap_all().await.unwrap(), 1);
    assert_eq!(after.rewrap_all().await.unwrap(), 0);
    DataKey::unwrap(&after.get(tenant(1)).await.unwrap(), b"e", &wrapped).unwrap();

    let without_the_new = TenantKeys::new(database, old.root().clone());
    assert_eq!(without_the_new.get(tenant(1)).await.unwrap_err(), Error::Decrypt);
}
