//! What `rapport up` does by itself: ship the log, keep the ledger of erasures, make backups when
//! they are due, check them, prune.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::backup::{Key, Ledger, Manifest, Repository};
use anyhow::Context as _;
use jiff::Timestamp;
use store::Database;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::check::clear;
use super::ship::open_ledger;
use super::{Job, Metrics, Shipper, Target, blocking, check, export, make, prune, tell_refused};
use crate::settings::BackupSettings;

const POLL: Duration = Duration::from_secs(1);
/// After a backup that failed.
const RETRY: Duration = Duration::from_secs(600);
const INCARNATION: &str = "incarnation";

/// The life of a data directory: made once, gone with it.
///
/// # Errors
/// When it cannot be read or written.
pub(crate) fn incarnation(postgres: &Path) -> anyhow::Result<Uuid> {
    let path = postgres.join(INCARNATION);
    if let Ok(text) = std::fs::read_to_string(&path) {
        return text.trim().parse().with_context(|| format!("{} is no id", path.display()));
    }
    let made = Uuid::new_v4();
    let fresh = postgres.join("incarnation.new");
    std::fs::write(&fresh, made.to_string())
        .and_then(|()| std::fs::rename(&fresh, &path))
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(made)
}

/// What is looked after.
#[derive(Debug)]
pub(crate) struct Charge {
    pub(crate) settings: BackupSettings,
    pub(crate) target: Target,
    pub(crate) incarnation: Uuid,
    /// Where Postgres puts finished log.
    pub(crate) spool: PathBuf,
    /// Where backups go.
    pub(crate) directory: PathBuf,
    pub(crate) key: Key,
    /// Where they are checked.
    pub(crate) scratch: PathBuf,
    pub(crate) pg_bin: Option<PathBuf>,
    /// Identity's.
    pub(crate) database: Database,
    pub(crate) metrics: Metrics,
}

/// Tasks that end with it.
pub struct Keeper {
    shipper: Shipper,
    cancel: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl Keeper {
    /// Begins.
    ///
    /// # Errors
    /// When the place of backups or its key cannot be used.
    pub(crate) fn start(charge: Charge) -> anyhow::Result<Self> {
        let repository = Repository::open(&charge.directory, charge.key.clone()).context(
            "opening the place of backups (backup.directory, or backup.enabled = false)",
        )?;
        // Backups that cannot be read must not keep the suite from serving; the next prune says so
        // again.
        match repository.list() {
            Ok(listing) => {
                charge.metrics.found(&listing.backups);
                charge.metrics.failures.inc_by(listing.refused.len() as u64);
                tell_refused(&listing.refused);
            }
            Err(error) => {
                charge.metrics.failures.inc();
                tracing::error!(event = "backups_not_read", %error);
            }
        }
        clear(&charge.scratch)?;
        let shipper = Shipper {
            spool: charge.spool.clone(),
            repository: repository.clone(),
            incarnation: charge.incarnation,
            backlog_bytes: charge.settings.archive_backlog_mib << 20,
            metrics: charge.metrics.clone(),
        };
        let cancel = CancellationToken::new();
        let urgent = Arc::new(Notify::new());
        let shipping = Shipping {
            shipper: shipper.clone(),
            database: charge.database.clone(),
            every: Duration::from_secs(charge.settings.archive_seconds),
            urgent: urgent.clone(),
        };
        let schedule = Schedule { charge, repository, urgent };
        let tasks = vec![
            tokio::spawn(shipping.run(cancel.clone())),
            tokio::spawn(schedule.run(cancel.clone())),
        ];
        Ok(Self { shipper, cancel, tasks })
    }

    /// Ends a backup that is being made, and the tasks.
    pub(crate) async fn quit(mut self) -> Shipper {
        self.cancel.cancel();
        for task in std::mem::take(&mut self.tasks) {
            // A panic was reported by the runtime.
            let _ended = task.await;
        }
        self.shipper.clone()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Ships the log and the ledger.
struct Shipping {
    shipper: Shipper,
    database: Database,
    every: Duration,
    /// Told when log was lost: a backup is due at once.
    urgent: Arc<Notify>,
}

impl Shipping {
    async fn run(self, cancel: CancellationToken) {
        let mut ledger: Option<Ledger> = None;
        let mut exported = 0;
        let mut due = Instant::now();
        let mut said = String::new();
        loop {
            let shipper = self.shipper.clone();
            let round = blocking(move || shipper.round()).await;
            let mut told = round.as_ref().err().map(|error| format!("{error:#}"));
            let round = round.unwrap_or_default();
            if round.gave_up {
                self.urgent.notify_one();
            }
            if round.shipped > 0 || Instant::now() >= due {
                due = Instant::now() + self.every;
                match self.export(&mut ledger, exported).await {
                    Ok(last) => exported = last,
                    Err(error) => {
                        // Read and compared anew next time, whatever it was.
                        ledger = None;
                        exported = 0;
                        told = Some(format!("{error:#}"));
                    }
                }
            }
            // The same trouble is told once.
            let trouble = told.unwrap_or_default();
            if !trouble.is_empty() && trouble != said {
                tracing::error!(event = "archive_failed", error = trouble);
            }
            said = trouble;
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    async fn export(&self, ledger: &mut Option<Ledger>, after: i64) -> anyhow::Result<i64> {
        let open = match ledger.take() {
            Some(open) => open,
            None => open_ledger(&self.shipper.repository).await?,
        };
        let (open, last) = export(&self.database, open, after).await?;
        *ledger = Some(open);
        Ok(last)
    }
}

/// Makes backups when they are due.
struct Schedule {
    charge: Charge,
    repository: Repository,
    urgent: Arc<Notify>,
}

impl Schedule {
    async fn run(self, cancel: CancellationToken) {
        let minutes = |minutes: u64| Duration::from_secs(minutes.saturating_mul(60));
        let every = minutes(self.charge.settings.every_minutes);
        let mut wait = self.until_due(every, minutes(self.charge.settings.first_minutes));
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.urgent.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            match self.one(&cancel).await {
                Ok(()) => wait = every,
                Err(_) if cancel.is_cancelled() => return,
                Err(error) => {
                    self.charge.metrics.failures.inc();
                    tracing::error!(event = "backup_failed", error = format!("{error:#}"));
                    wait = RETRY.min(every);
                }
            }
        }
    }

    /// A suite that is started again goes on with the rhythm of before, unless log was lost.
    fn until_due(&self, every: Duration, first: Duration) -> Duration {
        let known = self.repository.list().unwrap_or_default().backups;
        let own = |backup: &&Manifest| {
            backup.is_good() && backup.incarnation == Some(self.charge.incarnation)
        };
        let age =
            known.iter().rfind(own).map(|backup| Timestamp::now().duration_since(backup.began));
        let left = age.map(|age| every.saturating_sub(Duration::try_from(age).unwrap_or_default()));
        let is_broken = self.repository.gap(self.charge.incarnation).is_ok_and(|gap| gap.is_some());
        let left = left.filter(|_| !is_broken);
        left.map_or(first, |left| left.max(first.min(every)))
    }

    async fn one(&self, cancel: &CancellationToken) -> anyhow::Result<()> {
        let checked = self.checked(cancel).await;
        // A check that fails again and again must not fill the disk.
        let pruned = prune(&self.repository, &self.charge.settings, &self.charge.target).await;
        checked?;
        tracing::info!(event = "backups_pruned", pruned = pruned?);
        Ok(())
    }

    /// Makes a backup and checks it.
    async fn checked(&self, cancel: &CancellationToken) -> anyhow::Result<()> {
        let began = Instant::now();
        let charge = &self.charge;
        let made = match self.unchecked()? {
            Some(waiting) => waiting,
            None => {
                let (target, repository) = (&charge.target, &self.repository);
                make(&Job { target, repository, cancel: cancel.clone() }).await?
            }
        };
        charge.metrics.made(&made);
        let bin = charge.pg_bin.as_deref();
        let good = check(&self.repository, &made, &charge.scratch, bin, cancel).await?;
        charge.metrics.made(&good);
        charge.metrics.took(began.elapsed());
        Ok(())
    }

    /// The last backup, if it is fresh and its check was cut off or had no room: another copy would
    /// help nobody.
    fn unchecked(&self) -> anyhow::Result<Option<Manifest>> {
        let life = self.charge.incarnation;
        if self.repository.gap(life)?.is_some() {
            return Ok(None);
        }
        let every = Duration::from_secs(self.charge.settings.every_minutes.saturating_mul(60));
        let known = self.repository.list()?.backups;
        let last = known.into_iter().rfind(|backup| backup.incarnation == Some(life));
        Ok(last.filter(|last| {
            let age = Timestamp::now().duration_since(last.began);
            let is_fresh = Duration::try_from(age).is_ok_and(|age| age < every);
            is_fresh && last.verified.is_none() && last.failure.is_none()
        }))
    }
}
