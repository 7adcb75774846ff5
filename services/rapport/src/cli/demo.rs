//! `rapport demo`.

use std::path::PathBuf;

use clap::Args;
use server::settings::Layer;

use crate::demo;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// All rows of the bank's campaign instead of an even sample.
    #[arg(long)]
    full: bool,
    /// The directory of the data, `tests/data` of the checkout.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

pub(super) async fn run(
    arguments: Arguments,
    pg_bin: Option<PathBuf>,
    layers: Vec<Layer>,
) -> anyhow::Result<()> {
    let calls = if arguments.full { usize::MAX } else { demo::SAMPLE };
    demo::run(arguments.data.as_deref(), calls, pg_bin, layers).await
}
