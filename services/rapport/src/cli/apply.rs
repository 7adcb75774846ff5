//! `rapport apply`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use prost_reflect::DescriptorPool;

use crate::apply::{self, Finding};
use crate::client::Client;
use crate::ports;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A YAML file, or a directory of them.
    #[arg(short, long, value_name = "FILE|DIR")]
    file: PathBuf,
    /// Check everything, save nothing.
    #[arg(long)]
    dry_run: bool,
    /// Where the suite's RPCs are.
    #[arg(long, env = "RAPPORT_ADDRESS", default_value_t = format!("http://127.0.0.1:{}", ports::PUBLIC))]
    address: String,
    /// A token with the admin scopes (see `rapport token`).
    #[arg(long, env = "RAPPORT_TOKEN", hide_env_values = true)]
    token: String,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let pool = DescriptorPool::decode(contracts::DESCRIPTORS)?;
    let mut client = Client::new(&arguments.address, &arguments.token)?;
    let applied = path(&mut client, &pool, &arguments.file, arguments.dry_run).await?;
    for resource in &applied {
        let done = match resource.version {
            None => "is judged when it is saved: it refers to what is defined with it".to_owned(),
            Some(version) if arguments.dry_run => format!("is valid (version {version})"),
            Some(version) => format!("saved (version {version})"),
        };
        println!("{} {}: {done}", resource.kind, resource.name);
    }
    Ok(())
}

/// Reads and applies a path; findings become one error that lists them.
pub(super) async fn path(
    client: &mut Client,
    pool: &DescriptorPool,
    path: &Path,
    dry_run: bool,
) -> anyhow::Result<Vec<apply::Applied>> {
    let files = apply::files(path).with_context(|| format!("reading {}", path.display()))?;
    let resources = apply::read(&files, pool).or_else(|found| bail!(listed(&found)))?;
    if resources.is_empty() {
        bail!("{}: no resources", path.display());
    }
    apply::apply(client, pool, &resources, dry_run).await.or_else(|found| bail!(listed(&found)))
}

fn listed(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
