//! What is kept opens whole and unchanged or not at all.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

mod ledger;
mod retention;
mod sealed;

use std::path::PathBuf;

/// A directory of one test, removed with it.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        let name = format!("rapport-backup-{}", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _absent_is_fine = std::fs::remove_dir_all(&self.0);
    }
}
