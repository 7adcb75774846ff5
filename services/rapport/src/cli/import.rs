//! `rapport import`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use super::say_last;
use crate::client::Client;
use crate::import::{self, Counts, Summary};
use crate::ports;

/// Rows were refused, everything else was taken: what the process says with its exit code 2.
#[derive(Debug)]
pub(super) struct SomeRejected {
    rows: u64,
    /// Where they stand; a dry run writes none.
    file: Option<PathBuf>,
}

impl std::fmt::Display for SomeRejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = self.rows;
        match &self.file {
            Some(file) => {
                let file = file.display();
                write!(f, "{rows} rows were refused; they stand with their reasons in {file}")
            }
            None => write!(f, "{rows} rows would be refused"),
        }
    }
}

impl std::error::Error for SomeRejected {}

/// Ends with 0 when all rows were taken, 2 when some were refused, 1 when it failed.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file: CSV, JSON lines, .xlsx or .xls.
    file: PathBuf,
    /// What the columns mean: YAML, see docs/import.md.
    #[arg(short, long, value_name = "FILE", required_unless_present = "infer")]
    mapping: Option<PathBuf>,
    /// Propose a mapping instead of importing: commented YAML with the reasons.
    #[arg(long, conflicts_with_all = ["mapping", "dry_run", "resume"])]
    infer: bool,
    /// Where to keep the proposed mapping; on the terminal if absent.
    #[arg(long, value_name = "FILE", requires = "infer")]
    write_mapping: Option<PathBuf>,
    /// Read and convert everything, send nothing, say what was found.
    #[arg(long)]
    dry_run: bool,
    /// Go on where a run that was interrupted was acknowledged.
    #[arg(long, conflicts_with = "dry_run")]
    resume: bool,
    /// Where refused rows go. Default: beside the file, with `.rejects.csv`.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Where the position is kept. Default: beside the file, with `.import-state.json`.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// The sheet of a workbook. Default: the mapping's, or the first that is not empty.
    #[arg(long)]
    sheet: Option<String>,
    /// The encoding of a text file. Default: the mapping's, or found out.
    #[arg(long)]
    encoding: Option<String>,
    /// How many seconds to wait for a service that is away.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    patience: u64,
    /// Where the suite's RPCs are.
    #[arg(long, env = "RAPPORT_ADDRESS", default_value_t = format!("http://127.0.0.1:{}", ports::PUBLIC))]
    address: String,
    /// A token with `profile:ingest` (see `rapport token`).
    #[arg(long, env = "RAPPORT_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if arguments.infer {
        return infer(arguments).await;
    }
    let Some(mapping) = arguments.mapping else { bail!("--mapping is missing") };
    let options = import::Options {
        file: arguments.file,
        mapping,
        rejects: arguments.rejects,
        state: arguments.state,
        resume: arguments.resume,
        sheet: arguments.sheet,
        encoding: arguments.encoding,
        patience: Duration::from_secs(arguments.patience),
    };
    if arguments.dry_run {
        let found = tokio::task::spawn_blocking(move || import::dry_run(&options)).await??;
        say_last(&found.report);
        let rows = found.counts.rejected_rows;
        return if rows == 0 { Ok(()) } else { Err(SomeRejected { rows, file: None }.into()) };
    }
    let token = arguments.token.context(
        "--token is missing (or RAPPORT_TOKEN): make one with `rapport token --scope \
         profile:ingest --scope profile:read`",
    )?;
    let client = Client::new(&arguments.address, &token)?;
    let summary = import::run(&options, &client, &token).await?;
    say_last(&told(&summary));
    let rows = summary.counts.rejected_rows;
    if rows == 0 { Ok(()) } else { Err(SomeRejected { rows, file: summary.rejects }.into()) }
}

fn told(summary: &Summary) -> String {
    let Counts { rows, accepted, duplicates, repeated, skipped_rows, rejected_rows } =
        summary.counts;
    let seconds = summary.took.as_secs_f64();
    format!(
        "{rows} rows in {seconds:.1} s: {accepted} events are new, {duplicates} were known, \
         {repeated} stand in the file twice; {skipped_rows} rows left out, {rejected_rows} refused"
    )
}

async fn infer(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { file, sheet, encoding, write_mapping, .. } = arguments;
    let shown = file.display().to_string();
    let proposed =
        tokio::task::spawn_blocking(move || import::infer(&file, sheet, encoding)).await??;
    let Some(path) = write_mapping else {
        say_last(proposed.trim_end());
        return Ok(());
    };
    write_new(&path, &proposed)?;
    let mapping = path.display();
    say_last(&format!(
        "{mapping} is written: read it, then try it with\n  rapport import {shown} --mapping \
         {mapping} --dry-run"
    ));
    Ok(())
}

/// Never over a mapping that somebody may have worked on.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = std::fs::File::create_new(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.with_context(|| format!("writing {} (an existing file is kept)", path.display()))
}
