//! `rapport doctor`.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;

use super::{Context, DATA};
use crate::ports;

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
    let path = context.environment.get("PATH").cloned().unwrap_or_default();
    let pg_bin = context.environment.get("PG_BIN").map(PathBuf::from);
    let mut checks = vec![
        postgres(&path, pg_bin.as_deref()),
        program(&path, "redis", "redis-server", "apt-get install redis-server"),
        account(),
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

fn find(path: &str, program: &str) -> Option<PathBuf> {
    path.split(':').map(|directory| Path::new(directory).join(program)).find(|file| file.is_file())
}

fn program(path: &str, what: &'static str, program: &str, remedy: &str) -> Check {
    let result = find(path, program)
        .map(|file| file.display().to_string())
        .ok_or_else(|| format!("not in PATH: {remedy}"));
    Check { what, result }
}

/// Debian keeps the server binaries out of PATH, per version.
fn postgres(path: &str, pg_bin: Option<&Path>) -> Check {
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_else(|_| Vec::new());
    let candidates = pg_bin.map(Path::to_owned).into_iter().chain(debian);
    let found = candidates
        .map(|directory| directory.join("initdb"))
        .find(|file| file.is_file())
        .or_else(|| find(path, "initdb"));
    let result = found.map(|file| file.display().to_string()).ok_or_else(|| {
        "no initdb found: apt-get install postgresql, or set PG_BIN to its directory".to_owned()
    });
    Check { what: "postgres", result }
}

/// Postgres refuses to run as root; as root it is run under its own account.
fn account() -> Check {
    let result = if !rustix::process::geteuid().is_root() {
        Ok("not root: Postgres runs under your account".to_owned())
    } else {
        let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        if known.lines().any(|line| line.starts_with("postgres:")) {
            Ok("root: Postgres runs under the account `postgres`".to_owned())
        } else {
            Err("root, and no account `postgres`: apt-get install postgresql makes one".to_owned())
        }
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
