//! `rapport export`.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;

use super::say_last;
use crate::client::Client;
use crate::export::{self, Format, Options, What};
use crate::ports;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to export.
    what: What,
    /// In which form. Default: by the ending of the file's name.
    #[arg(long)]
    format: Option<Format>,
    /// The file.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file if it is there.
    #[arg(long)]
    overwrite: bool,
    /// Only these attributes of profiles, with commas between. Default: all that may be shown.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    traits: Vec<String>,
    /// Personal attributes too: needs a token with `profile:admin`.
    #[arg(long)]
    with_personal: bool,
    /// CSV as it is: no apostrophe before what a spreadsheet may take for a formula.
    #[arg(long)]
    raw: bool,
    /// Where the suite's RPCs are.
    #[arg(long, env = "RAPPORT_ADDRESS", default_value_t = format!("http://127.0.0.1:{}", ports::PUBLIC))]
    address: String,
    /// A token with the scope of what is exported: `profile:read`, `scoring:read`, `routing:read`
    /// or `feedback:read` (see `rapport token`).
    #[arg(long, env = "RAPPORT_TOKEN", hide_env_values = true)]
    token: String,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let client = Client::new(&arguments.address, &arguments.token)?;
    let format = match arguments.format {
        Some(format) => format,
        None => format_of(&arguments.output)?,
    };
    let options = Options {
        what: arguments.what,
        format,
        output: arguments.output,
        overwrite: arguments.overwrite,
        traits: arguments.traits,
        with_personal: arguments.with_personal,
        raw: arguments.raw,
    };
    let done = export::run(&options, &client).await?;
    let (rows, seconds) = (done.rows, done.took.as_secs_f64());
    say_last(&format!("{}: {rows} rows in {seconds:.1} s", options.output.display()));
    Ok(())
}

fn format_of(output: &Path) -> anyhow::Result<Format> {
    let ending = output.extension().map(|ending| ending.to_ascii_lowercase());
    match ending.as_deref().and_then(|ending| ending.to_str()) {
        Some("csv") => Ok(Format::Csv),
        Some("xlsx") => Ok(Format::Xlsx),
        Some("parquet") => Ok(Format::Parquet),
        _ => bail!("{}: say --format csv, xlsx or parquet", output.display()),
    }
}
