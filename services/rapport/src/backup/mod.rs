//! Backups: made by themselves (`rapport up`) or by one command, each restored and checked without
//! anybody's doing; and the way back.
//!
//! A backup is a base backup (`pg_basebackup`) and the log up to a restore point at which the rows
//! of all tables were counted. For a private Postgres the log goes on into an archive, so that a
//! restore loses what was written since the last archived segment and nothing else. Everything is
//! sealed (`libs/backup`) under a key that is not among the backups. Beside them lies the ledger of
//! erasures: a restore carries out again what was erased after the backup.
//!
//! Deliberately absent: incremental backups, object stores (mount or copy the directory), rotation
//! of the backup key, tablespaces, backups of Redis (it holds nothing).

mod base;
mod check;
mod instant;
mod keeper;
mod make;
mod metrics;
mod restore;
mod scratch;
mod ship;
mod target;

pub use check::check;
pub use keeper::Keeper;
pub(crate) use keeper::{Charge, incarnation};
pub use make::{Job, make};
pub use metrics::Metrics;
pub use restore::{Plan, Restored, restore};
pub use ship::{Shipper, export};
pub use target::Target;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::backup::{Error, Key, Policy, Repository};
use anyhow::Context as _;

use crate::settings::BackupSettings;

/// The file of the backup key, in the directory of the keys.
pub const KEY_FILE: &str = "backup.key";

/// Where the backups of a data directory are kept unless told otherwise: beside it.
#[must_use]
pub fn directory(settings: &BackupSettings, data: &Path) -> PathBuf {
    if settings.directory.is_empty() {
        let mut name = data.file_name().unwrap_or_default().to_owned();
        name.push("-backup");
        return data.with_file_name(name);
    }
    PathBuf::from(&settings.directory)
}

/// Where the backups of a data directory are checked unless told otherwise: below it.
#[must_use]
pub fn scratch(settings: &BackupSettings, data: &Path) -> PathBuf {
    if settings.scratch.is_empty() {
        data.join("scratch")
    } else {
        PathBuf::from(&settings.scratch)
    }
}

/// Which backups are kept.
#[must_use]
pub fn policy(settings: &BackupSettings) -> Policy {
    let max_age = Duration::from_secs(settings.keep_days.saturating_mul(86_400));
    Policy { keep: settings.keep, max_age }
}

/// The key of an installation; made at its first start, and then said loudly.
///
/// # Errors
/// When it cannot be read or written.
pub fn key(keys: &Path) -> anyhow::Result<Key> {
    let path = keys.join(KEY_FILE);
    let (key, made) = Key::load_or_generate(&path)?;
    if made {
        let directory = keys.display().to_string();
        tracing::warn!(
            event = "backup_key_made",
            %directory,
            "copy the whole directory of keys to another place now: no backup holds them, and \
             without them no backup can be read"
        );
    }
    Ok(key)
}

/// The right to make or remove backups in a place.
async fn claim(repository: &Repository) -> anyhow::Result<std::fs::File> {
    match embedded::lock(repository.directory(), Duration::ZERO).await {
        Ok(file) => Ok(file),
        Err(embedded::Error::Locked(directory)) => {
            anyhow::bail!("another backup is being made in {}: wait for it", directory.display())
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes what the settings do not keep; answers how many backups. Those that cannot be read stay,
/// and are told of.
///
/// # Errors
/// When another backup is being made, or something cannot be removed.
pub async fn prune(
    repository: &Repository,
    settings: &BackupSettings,
    target: &Target,
) -> anyhow::Result<usize> {
    let _claim = claim(repository).await?;
    let (repository, policy, living) = (repository.clone(), policy(settings), target.incarnation);
    let pruned =
        blocking(move || Ok(repository.prune(policy, living, jiff::Timestamp::now())?)).await?;
    tell_refused(&pruned.refused);
    Ok(pruned.removed)
}

/// A backup that cannot be read is told of and hides no other.
fn tell_refused(refused: &[Error]) {
    for error in refused {
        tracing::error!(
            event = "backup_not_read",
            %error,
            "put its manifest back, or remove the directory of this backup"
        );
    }
}

/// Runs what blocks away from the runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("the work was cut off")?
}
