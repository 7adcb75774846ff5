//! The commands, one file each.

#![expect(clippy::print_stdout, reason = "the output of commands")]

mod apply;
mod backup;
mod bi_role;
mod demo;
mod doctor;
mod erase;
mod export;
mod import;
mod keys;
mod migrate;
mod restore;
mod serve;
mod token;
mod up;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Recognise customers, know them, judge them, bring them to the right person, and learn
/// from what happens.
#[derive(Debug, Parser)]
#[command(name = "rapport", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
struct Global {
    /// A TOML file of settings above the defaults.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A directory of secret files, each named by its key, e.g. `database.url`.
    #[arg(long, global = true, value_name = "DIR")]
    secrets: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole suite on a private Postgres and Redis.
    Up(up::Arguments),
    /// Run one service (or the gateway) on the Postgres and Redis of the settings.
    Serve(serve::Arguments),
    /// Bring the schema of a service's database to the newest version.
    Migrate(migrate::Arguments),
    /// Make the keys of an installation: what encrypts, and what signs tokens.
    Keys(keys::Arguments),
    /// Make a token for a tenant.
    Token(token::Arguments),
    /// Save configuration resources from YAML files; list, show and take back such changes.
    Apply(Box<apply::Arguments>),
    /// Make a backup, and restore it on the side to see that it is good.
    Backup(backup::Arguments),
    /// Bring a backup back as a new data directory.
    Restore(restore::Arguments),
    /// Write everything of a kind (profiles, scores, demands, outcomes) into a file.
    Export(export::Arguments),
    /// Make a database role that reads the views of one tenant, for BI tools.
    BiRole(bi_role::Arguments),
    /// Bring a file (CSV, JSON lines, Excel) in as records, events and ledger entries.
    Import(Box<import::Arguments>),
    /// Erase a customer from every service.
    Erase(erase::Arguments),
    /// Say what this machine lacks and how to get it.
    Doctor(doctor::Arguments),
    /// Show the suite at work on real data, on a fresh private suite of its own.
    Demo(demo::Arguments),
}

/// The process as it was started: the only place that reads the environment.
#[derive(Debug)]
pub struct Context {
    /// All variables.
    pub environment: BTreeMap<String, String>,
}

impl Context {
    /// Where Postgres' programs are, if somebody says so.
    fn pg_bin(&self) -> Option<PathBuf> {
        let named = self.environment.get("PG_BIN").filter(|directory| !directory.is_empty());
        named.map(PathBuf::from)
    }

    /// Whether somebody wants no colours (<https://no-color.org>).
    fn no_colour(&self) -> bool {
        self.environment.get("NO_COLOR").is_some_and(|value| !value.is_empty())
    }
}

/// Prints a line of a command that is ending: its terminal may be gone already.
fn say_last(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What the process ends with after an error: 2 if a file was imported but for some rows, or
/// if something would change.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<import::SomeRejected>() || error.is::<apply::WouldChange>() { 2 } else { 1 }
}

/// Runs a command.
///
/// # Errors
/// What it could not do, for people.
pub async fn run(cli: Cli, context: Context) -> anyhow::Result<()> {
    let layers = || {
        crate::settings::layers(
            cli.global.config.as_deref(),
            &context.environment,
            cli.global.secrets.as_deref(),
        )
    };
    match cli.command {
        Command::Up(arguments) => up::run(arguments, context.pg_bin(), layers()?).await,
        Command::Serve(arguments) => serve::run(arguments, layers()?).await,
        Command::Migrate(arguments) => migrate::run(arguments, layers()?).await,
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Apply(arguments) => apply::run(*arguments, context.no_colour()).await,
        Command::Backup(arguments) => backup::run(arguments, context.pg_bin(), layers()?).await,
        Command::Restore(arguments) => restore::run(arguments, context.pg_bin(), layers()?).await,
        Command::Export(arguments) => export::run(arguments).await,
        Command::BiRole(arguments) => bi_role::run(arguments, context.pg_bin()).await,
        Command::Import(arguments) => import::run(*arguments).await,
        Command::Erase(arguments) => erase::run(arguments).await,
        Command::Doctor(arguments) => doctor::run(arguments, &context).await,
        Command::Demo(arguments) => demo::run(arguments, context.pg_bin(), layers()?).await,
    }
}

/// Where `rapport up` keeps its data unless told otherwise.
const DATA: &str = "data";

/// The tenant of the examples.
const EXAMPLE_TENANT: &str = "00000000-0000-4000-8000-000000000001";
