//! `rapport backup`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::backup::{Manifest, Repository};
use anyhow::{Context as _, bail};
use clap::Args;
use embedded::{Care, OnDrop, Postgres, PostgresOptions};
use jiff::Timestamp;
use server::settings::Layer;
use tokio_util::sync::CancellationToken;

use super::DATA;
use crate::backup::{self, Job, Metrics, Shipper, Target};
use crate::settings::BackupSettings;
use crate::suite::private;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The data directory of `rapport up`, running or not.
    #[arg(long, default_value = DATA, value_name = "DIR")]
    data: PathBuf,
    /// Where the backups go [default: backup.directory, or beside the data directory].
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// The directory with the file backup.key [default: `keys` in the data directory, or
    /// keys.directory if backup.url is set].
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Only say what is there.
    #[arg(long)]
    list: bool,
}

pub(super) async fn run(
    arguments: Arguments,
    pg_bin: Option<PathBuf>,
    layers: Vec<Layer>,
) -> anyhow::Result<()> {
    let all = crate::settings::load(&layers)?;
    let guard = server::telemetry::install("rapport-backup", &all.telemetry)?;
    let settings = all.backup;
    let is_external = !settings.url.is_empty();
    let keys = arguments.keys.clone().unwrap_or_else(|| {
        let own = arguments.data.join("keys");
        if is_external { PathBuf::from(all.keys.directory) } else { own }
    });
    let directory =
        arguments.to.clone().unwrap_or_else(|| backup::directory(&settings, &arguments.data));
    if is_external && arguments.to.is_none() && settings.directory.is_empty() {
        bail!("say where the backups go: --to DIR, or backup.directory");
    }
    // Another server's backups are sealed with a key that is there: nobody would find a new one.
    let key = if is_external || arguments.list {
        ::backup::Key::load(&keys.join(backup::KEY_FILE))?
    } else {
        backup::key(&keys)?
    };
    let repository = Repository::open(&directory, key)?;
    if arguments.list {
        return list(&repository);
    }
    let source = if is_external {
        external(&settings, pg_bin.as_deref())?
    } else {
        let mut source = own(&arguments.data, &settings, pg_bin.as_deref()).await?;
        // Elsewhere, or under another key, there is no archive of this life: a segment that went
        // there would be missing here.
        let is_home = is_same(&directory, &backup::directory(&settings, &arguments.data))
            && is_same(&keys, &arguments.data.join("keys"));
        source.archive = is_home.then(|| repository.clone());
        source
    };
    let scratch = if is_external {
        PathBuf::from(&settings.scratch)
    } else {
        backup::scratch(&settings, &arguments.data)
    };
    let done = whole(&source.target, &repository, &settings, &scratch, pg_bin.as_deref()).await;
    source.end().await?;
    let _ = tokio::task::spawn_blocking(move || guard.flush()).await;
    done
}

fn is_same(one: &Path, other: &Path) -> bool {
    one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

/// The server, and what was started only to be backed up.
struct Source {
    target: Target,
    /// Where the archive of this life is; finished log waits for `rapport up` if it is not here.
    archive: Option<Repository>,
    started: Option<(Postgres, File, PostgresOptions)>,
}

impl Source {
    async fn end(self) -> anyhow::Result<()> {
        let Some((postgres, claim, options)) = self.started else { return Ok(()) };
        postgres.stop().await?;
        if options.archive.is_some()
            && let Some(repository) = self.archive
        {
            let shipper = Shipper {
                spool: options.spool(),
                repository,
                incarnation: backup::incarnation(&options.dir)?,
                backlog_bytes: u64::MAX,
                metrics: Metrics::default(),
            };
            backup::blocking(move || shipper.round()).await?;
        }
        drop(claim);
        Ok(())
    }
}

fn external(settings: &BackupSettings, pg_bin: Option<&Path>) -> anyhow::Result<Source> {
    if settings.scratch.is_empty() {
        bail!("say where backups are checked: backup.scratch, a directory with room for the data");
    }
    let mut options = PostgresOptions::new(&settings.scratch);
    options.bin = pg_bin.map(Path::to_owned);
    let target = Target::new(&settings.url, options.programs()?, None)?;
    Ok(Source { target, archive: None, started: None })
}

/// The private server of a data directory: that of the running suite, or started for the purpose.
async fn own(
    data: &Path,
    settings: &BackupSettings,
    pg_bin: Option<&Path>,
) -> anyhow::Result<Source> {
    if !data.join("postgres/data").is_dir() {
        bail!("{} is not a data directory of `rapport up`: use --data", data.display());
    }
    let mut options = private::postgres_options(data, pg_bin);
    options.archive = private::archive(settings);
    let life = options.archive.map(|_| backup::incarnation(&options.dir)).transpose()?;
    let programs = options.programs()?;
    match embedded::lock(data, Duration::ZERO).await {
        Err(embedded::Error::Locked(_)) => {
            let url = options.running_url("postgres")?;
            let url = url.context("a suite has the data directory, but its Postgres is not up")?;
            Ok(Source { target: Target::new(&url, programs, life)?, archive: None, started: None })
        }
        claim => {
            let claim = claim?;
            options.care = Care { supervise: false, on_drop: OnDrop::Stop, ..Care::default() };
            let postgres = Postgres::start(&options).await?;
            let target = Target::new(&postgres.url("postgres"), programs, life)?;
            Ok(Source { target, archive: None, started: Some((postgres, claim, options)) })
        }
    }
}

async fn whole(
    target: &Target,
    repository: &Repository,
    settings: &BackupSettings,
    scratch: &Path,
    pg_bin: Option<&Path>,
) -> anyhow::Result<()> {
    let cancel = CancellationToken::new();
    let mut signals = server::drain::signals()?;
    let ending = cancel.clone();
    let watch = tokio::spawn(async move {
        signals.next().await;
        ending.cancel();
    });
    let began = Instant::now();
    let job = Job { target, repository, cancel: cancel.clone() };
    let made = backup::make(&job).await?;
    let good = backup::check(repository, &made, scratch, pg_bin, &cancel).await;
    // A check that fails each night must not fill the disk.
    let pruned = backup::prune(repository, settings, target).await;
    watch.abort();
    let (good, pruned) = (good?, pruned?);
    println!(
        "backup {} in {}: {} MiB, restored and found good, {:.0} s in all; {pruned} old ones removed",
        good.id,
        repository.directory().display(),
        mebibytes(&good),
        began.elapsed().as_secs_f64(),
    );
    Ok(())
}

fn mebibytes(manifest: &Manifest) -> u64 {
    manifest.parts.iter().map(|part| part.bytes).sum::<u64>().div_ceil(1 << 20)
}

fn list(repository: &Repository) -> anyhow::Result<()> {
    let listing = repository.list()?;
    for backup in listing.backups {
        let age = Timestamp::now().duration_since(backup.time).as_hours();
        let state = match (&backup.verified, &backup.failure) {
            (_, Some(failure)) => format!("NOT GOOD: {failure}"),
            (Some(_), None) => "good".to_owned(),
            (None, None) => "not checked".to_owned(),
        };
        println!("{}  {age} h old  {} MiB  {state}", backup.id, mebibytes(&backup));
    }
    let refused: Vec<String> = listing.refused.iter().map(ToString::to_string).collect();
    if !refused.is_empty() {
        bail!("not all can be read: {}", refused.join("; "));
    }
    Ok(())
}
