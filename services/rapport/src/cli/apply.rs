//! `rapport apply`, and what was applied before.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use prost_reflect::DescriptorPool;

use super::say_last;
use crate::apply::diff::{self, Colour};
use crate::apply::{self, Applied, Finding, Outcome, Step, Target, rollback};
use crate::client::Client;
use crate::ports;

/// Something would change: what a dry run with `--diff` says with its exit code 2.
#[derive(Debug)]
pub(super) struct WouldChange {
    resources: usize,
}

impl std::fmt::Display for WouldChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.resources {
            1 => f.write_str("1 resource would change"),
            resources => write!(f, "{resources} resources would change"),
        }
    }
}

impl std::error::Error for WouldChange {}

/// Ends with 0 when all is as wanted, 1 when it failed, and a dry run with `--diff` with 2
/// when something would change.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    past: Option<Past>,
    /// A YAML file, or a directory of them.
    #[arg(short, long, value_name = "FILE|DIR")]
    file: Option<PathBuf>,
    #[command(flatten)]
    mode: Mode,
    /// Where the suite's RPCs are.
    #[arg(long, global = true, env = "RAPPORT_ADDRESS", default_value_t = format!("http://127.0.0.1:{}", ports::PUBLIC))]
    address: String,
    /// A token with the admin scopes (see `rapport token`).
    #[arg(long, global = true, env = "RAPPORT_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

#[derive(Debug, Args)]
struct Mode {
    /// Check everything, save nothing.
    #[arg(long)]
    dry_run: bool,
    /// Show what is different, resource by resource.
    #[arg(long)]
    diff: bool,
    /// What to call the change, e.g. a commit: up to 64 letters, digits, `_`, `.`, `:`, `-`.
    #[arg(long, value_name = "ID", conflicts_with = "dry_run")]
    change_id: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Past {
    /// List the changes, newest first.
    History {
        /// Only of this kind, e.g. `Scorecard`.
        #[arg(long)]
        kind: Option<String>,
        /// Only of the resource with this name.
        #[arg(long)]
        name: Option<String>,
        /// How many changes at most.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show what a change changed.
    Show {
        /// As `history` names it.
        change: String,
    },
    /// Save again what was in force before a change.
    Rollback {
        /// The change to take back; nothing of it may have been changed since.
        #[arg(required_unless_present = "to")]
        change: Option<String>,
        /// Go back to what was in force right after this change, whatever came later.
        #[arg(long, value_name = "CHANGE", conflicts_with = "change")]
        to: Option<String>,
        #[command(flatten)]
        mode: Mode,
    },
}

/// What every form of the command needs.
struct Desk {
    client: Client,
    pool: DescriptorPool,
    colour: Colour,
}

pub(super) async fn run(arguments: Arguments, no_colour: bool) -> anyhow::Result<()> {
    let token = arguments
        .token
        .context("--token is missing (or RAPPORT_TOKEN): make one with `rapport token`")?;
    let is_plain = no_colour || !std::io::stdout().is_terminal();
    let mut desk = Desk {
        client: Client::new(&arguments.address, &token)?,
        pool: DescriptorPool::decode(contracts::DESCRIPTORS)?,
        colour: if is_plain { Colour::Off } else { Colour::On },
    };
    match (arguments.past, arguments.file) {
        (None, Some(file)) => desk.apply(&file, &arguments.mode).await,
        (None, None) => bail!("name what to apply: --file FILE|DIR"),
        (Some(_), Some(_)) => bail!("--file goes with no subcommand"),
        (Some(past), None) => desk.look_back(past).await,
    }
}

impl Desk {
    async fn apply(&mut self, path: &Path, mode: &Mode) -> anyhow::Result<()> {
        let files = apply::files(path).with_context(|| format!("reading {}", path.display()))?;
        let set = apply::read_all(&files, &self.pool);
        if set.resources.is_empty() && set.findings.is_empty() {
            bail!("{}: no resources", path.display());
        }
        let checked = apply::check_set(&mut self.client, &self.pool, &set).await;
        let steps = checked.or_else(|found| bail!(refused(&found)))?;
        self.carry_out(&steps, mode).await
    }

    async fn look_back(&mut self, past: Past) -> anyhow::Result<()> {
        let Self { client, pool, colour } = self;
        match past {
            Past::History { kind, name, limit } => {
                let kind = kind.unwrap_or_default();
                if !kind.is_empty() && apply::ResourceKind::named(&kind).is_none() {
                    let kinds: Vec<&str> = apply::KINDS.iter().map(|known| known.kind).collect();
                    let hint = apply::resource::suggestion(&kind, &kinds);
                    bail!("unknown kind `{kind}`{hint}");
                }
                let name = name.unwrap_or_default();
                let changes = apply::changes(client, pool, (&kind, &name), limit).await?;
                let text = apply::listed(&changes);
                say_last(if changes.is_empty() { "no changes" } else { text.trim_end() });
                Ok(())
            }
            Past::Show { change } => {
                let text = apply::history_of(client, pool, &change, *colour).await?;
                say_last(text.trim_end());
                Ok(())
            }
            Past::Rollback { change, to, mode } => {
                let restored = match (change, to) {
                    (Some(change), _) => rollback::before(client, pool, &change).await?,
                    (None, Some(to)) => rollback::after(client, pool, &to).await?,
                    (None, None) => bail!("name the change to take back, or --to CHANGE"),
                };
                let targets: Vec<Target<'_>> =
                    restored.iter().map(rollback::Restored::target).collect();
                let checked = apply::check(client, pool, &targets, None).await;
                let steps = checked.or_else(|found| bail!(refused(&found)))?;
                self.carry_out(&steps, &mode).await
            }
        }
    }

    /// Does what was planned, or says what it would do.
    async fn carry_out(&mut self, steps: &[Step<'_>], mode: &Mode) -> anyhow::Result<()> {
        if mode.diff {
            for step in steps {
                let difference = diff::of_step(step, self.colour);
                if !difference.is_empty() {
                    say_last(difference.trim_end());
                }
            }
        }
        if mode.dry_run {
            let planned = apply::planned(steps);
            say_last(&report(&planned, "would be "));
            let resources = planned.iter().filter(|it| it.outcome != Outcome::Unchanged).count();
            return match (mode.diff, resources) {
                (true, 1..) => Err(WouldChange { resources }.into()),
                _ => Ok(()),
            };
        }
        let change = mode.change_id.clone().unwrap_or_else(apply::new_change_id);
        let saved = apply::save(&mut self.client, &self.pool, steps, &change).await;
        let saved = saved.or_else(|found| bail!(listed(&found)))?;
        say_last(&report(&saved, ""));
        if saved.iter().any(|applied| applied.outcome != Outcome::Unchanged) {
            say_last(&format!("change {change}: `rapport apply rollback {change}` takes it back"));
        }
        Ok(())
    }
}

/// One line for each change, and how many are as they were.
fn report(all: &[Applied], would: &str) -> String {
    let mut lines = Vec::new();
    let mut unchanged = 0;
    for Applied { kind, name, version, outcome } in all {
        match outcome {
            Outcome::Unchanged => unchanged += 1,
            Outcome::Saved => {
                lines.push(format!("{kind} {name}: {would}saved (version {version})"))
            }
            Outcome::Deleted => lines.push(format!("{kind} {name}: {would}deleted")),
        }
    }
    if unchanged > 0 || lines.is_empty() {
        lines.push(format!("{unchanged} unchanged"));
    }
    lines.join("\n")
}

/// What the checks found.
fn refused(findings: &[Finding]) -> String {
    match findings {
        // About the call, not about what is to be saved.
        [Finding { file: None, message, .. }] => message.clone(),
        [one] => format!("1 mistake, nothing was saved:\n{one}"),
        more => format!("{} mistakes, nothing was saved:\n{}", more.len(), listed(more)),
    }
}

fn listed(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
