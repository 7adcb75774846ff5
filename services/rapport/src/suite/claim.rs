//! The right to a data directory, held for as long as a suite lives on it: a second suite
//! would adopt the servers of the first, and whoever ends first would stop them under the other.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};

/// Given back when dropped, also by a killed process: the lock is the system's.
#[derive(Debug)]
pub(super) struct Claim {
    _locked: File,
}

impl Claim {
    /// Claims the directory, made if it is not there.
    ///
    /// # Errors
    /// When somebody has it, or it cannot be written.
    pub(super) fn take(directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)
            .with_context(|| format!("creating {}", directory.display()))?;
        let path = directory.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _locked: file }),
            Err(TryLockError::WouldBlock) => bail!(
                "a suite is running on {} already: stop it, or take another directory with --data",
                directory.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("locking {}", path.display()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_suite_at_a_time() {
        let name = format!("rapport-claim-{}", uuid::Uuid::new_v4().simple());
        let directory = std::env::temp_dir().join(name);
        let first = Claim::take(&directory).expect("free");
        let second = Claim::take(&directory).expect_err("taken").to_string();
        assert!(second.contains("already"), "{second}");
        drop(first);
        Claim::take(&directory).expect("free again");
        fs::remove_dir_all(&directory).expect("removed");
    }
}
