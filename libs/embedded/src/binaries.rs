//! Finds the servers' programs: the given directory, the Debian layout, then `PATH`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;

const DEBIAN_POSTGRES: &str = "/usr/lib/postgresql";

/// The directory with `postgres` and `initdb`; of major version `wanted` if one is named
/// (an existing data directory cannot be opened by another), else the newest.
pub(crate) fn postgres(
    given: Option<&Path>,
    data: &Path,
    wanted: Option<&str>,
) -> Result<PathBuf, Error> {
    let candidates = match given {
        Some(dir) => vec![dir.to_path_buf()],
        None => {
            let mut dirs = debian_directories();
            dirs.extend(path_directories());
            dirs
        }
    };
    let mut found = Vec::new();
    for dir in &candidates {
        if !(dir.join("postgres").is_file() && dir.join("initdb").is_file()) {
            continue;
        }
        let Some(wanted) = wanted else { return Ok(dir.clone()) };
        let major = major_version(&dir.join("postgres")).unwrap_or_default();
        if major == wanted {
            return Ok(dir.clone());
        }
        found.push(major);
    }
    match wanted {
        Some(wanted) if !found.is_empty() => Err(Error::WrongVersion {
            dir: data.to_path_buf(),
            wanted: wanted.to_owned(),
            found: found.join(", "),
        }),
        _ => Err(Error::NotInstalled {
            program: "postgres",
            looked: looked(given, "/usr/lib/postgresql/*/bin and PATH"),
            remedy: "apt-get install postgresql",
        }),
    }
}

/// The `redis-server` program.
pub(crate) fn redis(given: Option<&Path>) -> Result<PathBuf, Error> {
    let candidates = match given {
        Some(dir) => vec![dir.to_path_buf()],
        None => path_directories().chain([PathBuf::from("/usr/bin")]).collect(),
    };
    candidates.iter().map(|dir| dir.join("redis-server")).find(|program| program.is_file()).ok_or(
        Error::NotInstalled {
            program: "redis-server",
            looked: looked(given, "PATH"),
            remedy: "apt-get install redis-server",
        },
    )
}

fn looked(given: Option<&Path>, otherwise: &str) -> String {
    given.map_or_else(|| otherwise.to_owned(), |dir| dir.display().to_string())
}

fn path_directories() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

fn debian_directories() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(DEBIAN_POSTGRES) else { return Vec::new() };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, dir)| dir).collect()
}

/// `postgres (PostgreSQL) 15.14 (Debian …)` → `15`.
fn major_version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.split_whitespace().nth(2)?;
    let digits = version.chars().take_while(char::is_ascii_digit).collect();
    Some(digits)
}
