//! `rapport restore`.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use server::settings::Layer;

use crate::backup::{self, Plan};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The directory of backups.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The data directory to be; absent or empty.
    #[arg(long, value_name = "NEWDIR")]
    data: PathBuf,
    /// The directory in which the keys were kept: keys.toml, the two signing keys, backup.key.
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Which backup [default: the newest that was found good].
    #[arg(long, value_name = "ID|latest")]
    backup: Option<String>,
    /// Go back to this time, e.g. 2026-11-22T15:04:05Z [default: the end of the archived log].
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

pub(super) async fn run(
    arguments: Arguments,
    pg_bin: Option<PathBuf>,
    layers: Vec<Layer>,
) -> anyhow::Result<()> {
    let telemetry = crate::settings::load(&layers)?.telemetry;
    let guard = server::telemetry::install("rapport-restore", &telemetry)?;
    let mut signals = server::drain::signals()?;
    let plan = Plan {
        from: arguments.from,
        data: arguments.data,
        keys: arguments.keys,
        backup: arguments.backup.filter(|id| id != "latest"),
        until: arguments.until,
        pg_bin,
        layers,
    };
    let restored = tokio::select! {
        restored = backup::restore(&plan) => restored?,
        () = signals.next() => anyhow::bail!("stopped; there is nothing in {}", plan.data.display()),
    };
    println!(
        "restored {} to {}\n  log up to segment {}\n  erasures carried out again: {}",
        restored.manifest.id,
        plan.data.display(),
        restored.last_segment,
        restored.erased_again,
    );
    if let Some(segment) = &restored.broken_at {
        println!(
            "  THE LOG IS BROKEN: segment {segment} is missing or damaged, what was written from it \
             on is lost"
        );
    }
    if let Some(until) = plan.until.filter(|_| !restored.reached) {
        println!("  the log ends before {until}: all that is in it was restored");
    }
    println!("start it with: rapport up --data {}", plan.data.display());
    let _ = tokio::task::spawn_blocking(move || guard.flush()).await;
    Ok(())
}
