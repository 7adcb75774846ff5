//! `rapport doctor`.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use embedded::{PostgresOptions, RedisOptions};

use super::{Context, DATA};
use crate::ports;
use crate::suite::private;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The data directory that `rapport up` would use.
    #[arg(long, default_value = DATA, value_name = "DIR")]
    data: PathBuf,
}

/// One thing looked at.
struct Check {
    what: &'static str,
    /// What was found, or what to do.
    result: Result<String, String>,
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> anyhow::Result<()> {
    let pg_bin = context.pg_bin();
    let options = private::postgres_options(&arguments.data, pg_bin.as_deref());
    let mut checks = vec![
        postgres(&options),
        redis(&private::redis_options(&arguments.data)),
        account(&options),
        directory(&arguments.data),
    ];
    for (what, port) in
        [("rpc port", ports::PUBLIC), ("http port", ports::HTTP), ("admin port", ports::ADMIN)]
    {
        checks.push(free_port(what, port));
    }
    let mut missing = 0;
    for check in &checks {
        match &check.result {
            Ok(found) => println!("  ok       {:<12} {found}", check.what),
            Err(remedy) => {
                missing += 1;
                println!("  MISSING  {:<12} {remedy}", check.what);
            }
        }
    }
    if missing > 0 {
        bail!("{missing} of {} checks failed", checks.len());
    }
    println!("everything that `rapport up` needs is here");
    Ok(())
}

fn postgres(options: &PostgresOptions) -> Check {
    let result = match options.programs() {
        Ok(programs) => Ok(programs.display().to_string()),
        Err(error @ embedded::Error::NotInstalled { .. }) => {
            Err(format!("{error}, or set PG_BIN to the directory of initdb"))
        }
        Err(error) => Err(error.to_string()),
    };
    Check { what: "postgres", result }
}

fn redis(options: &RedisOptions) -> Check {
    let found = options.program().map(|program| program.display().to_string());
    Check { what: "redis", result: found.map_err(|error| error.to_string()) }
}

/// Postgres refuses to run as root; as root it is run under an account that must be able to
/// reach its data.
fn account(options: &PostgresOptions) -> Check {
    let result = match options.account() {
        Ok(None) => Ok("not root: the servers run under your account".to_owned()),
        Ok(Some(account)) => Ok(format!("root: the servers run under the account `{account}`")),
        Err(error) => Err(error.to_string()),
    };
    Check { what: "account", result }
}

fn directory(data: &Path) -> Check {
    let nearest = data.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let probe = nearest.join(format!(".rapport-doctor-{}", std::process::id()));
    let result = match std::fs::write(&probe, b"") {
        Ok(()) => {
            let _ = std::fs::remove_file(&probe);
            Ok(format!("{} can be written", data.display()))
        }
        Err(error) => Err(format!("{} cannot be written ({error}): use --data", data.display())),
    };
    Check { what: "data", result }
}

fn free_port(what: &'static str, port: u16) -> Check {
    let result = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map(|_| format!("{port} is free"))
        .map_err(|_| format!("{port} is taken (by a running suite?): choose another one"));
    Check { what, result }
}
