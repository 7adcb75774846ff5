//! The right to a data directory, held for as long as a suite lives on it: a second suite
//! would adopt the servers of the first, and whoever ends first would stop them under the other.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

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
    pub(super) async fn take(directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)
            .with_context(|| format!("creating {}", directory.display()))?;
        match embedded::lock(directory, Duration::ZERO).await {
            Ok(file) => Ok(Self { _locked: file }),
            Err(embedded::Error::Locked(_)) => bail!(
                "a suite is running on {} already: stop it, or take another directory with --data",
                directory.display()
            ),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_has_one_suite_at_a_time() {
        let name = format!("rapport-claim-{}", uuid::Uuid::new_v4().simple());
        let directory = std::env::temp_dir().join(name);
        let first = Claim::take(&directory).await.expect("free");
        let second = Claim::take(&directory).await.expect_err("taken").to_string();
        assert!(second.contains("already"), "{second}");
        drop(first);
        Claim::take(&directory).await.expect("free again");
        fs::remove_dir_all(&directory).expect("removed");
    }
}
