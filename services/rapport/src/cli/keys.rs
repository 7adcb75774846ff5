//! `rapport keys`.

use std::path::PathBuf;

use clap::Args;

use crate::backup;
use crate::suite::Keys;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where they are made. Keys that are there already stay as they are.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    Keys::load_or_generate(&arguments.directory)?;
    backup::key(&arguments.directory)?;
    println!("the keys of this installation are in {}", arguments.directory.display());
    println!(
        "keep a copy apart from the backups of the databases: without them data and backups are lost"
    );
    Ok(())
}
