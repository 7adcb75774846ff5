//! The data directory: made once by `initdb`, whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use super::{PostgresEngine, SUPERUSER, bare_command};
use crate::account::Account;
use crate::error::{Error, at};
use crate::layout;

/// Code-point order with Unicode case rules; plain `C` where the system lacks it.
const LOCALES: [&str; 2] = ["C.UTF-8", "C"];

/// The superuser's password for TCP, random, made once (0600).
pub(super) fn password(dir: &Path, account: &Account) -> Result<String, Error> {
    let path = dir.join("password");
    if let Ok(password) = fs::read_to_string(&path) {
        return Ok(password.trim().to_owned());
    }
    let password = uuid::Uuid::new_v4().simple().to_string();
    layout::write_private(&path, &password, account)?;
    Ok(password)
}

impl PostgresEngine {
    /// The programs that can open this data directory.
    pub(super) fn binaries(&self) -> Result<PathBuf, Error> {
        self.options.programs()
    }

    /// Makes the data directory if there is none: beside its place, then moved there, so
    /// that a start killed half-way leaves nothing that looks finished.
    pub(super) fn initialise(&self) -> Result<(), Error> {
        if self.data.join("PG_VERSION").is_file() {
            return Ok(());
        }
        let bin = self.binaries()?;
        let unfinished = self.dir.join("data.new");
        tracing::info!(dir = %self.data.display(), "initialising postgres");
        let mut complaint = String::new();
        for locale in LOCALES {
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished).map_err(at(&unfinished))?;
            }
            match self.run_initdb(&bin, &unfinished, locale)? {
                Ok(()) => {
                    record_compression(&bin, &self.dir, &unfinished, &self.account)?;
                    return fs::rename(&unfinished, &self.data).map_err(at(&self.data));
                }
                Err(said) => complaint = said,
            }
        }
        Err(Error::Initialise(complaint))
    }

    fn run_initdb(
        &self,
        bin: &Path,
        target: &Path,
        locale: &str,
    ) -> Result<Result<(), String>, Error> {
        let program = bin.join("initdb");
        let mut command = bare_command(&program, &self.dir, &self.account);
        command
            .arg("--pgdata")
            .arg(target)
            .arg("--pwfile")
            .arg(self.dir.join("password"))
            .args(["--username", SUPERUSER, "--encoding", "UTF8", "--auth", "scram-sha-256"])
            .args(["--locale", locale]);
        if self.options.durable {
            command.arg("--data-checksums");
        } else {
            command.arg("--no-sync");
        }
        let output = command.output().map_err(at(&program))?;
        if output.status.success() {
            return Ok(Ok(()));
        }
        Ok(Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    pub(super) fn compression_record(&self) -> PathBuf {
        compression_record(&self.dir)
    }
}

fn compression_record(dir: &Path) -> PathBuf {
    dir.join("wal_compression")
}

/// Asks this build of the server, once, whether it knows lz4.
pub(super) fn record_compression(
    bin: &Path,
    dir: &Path,
    data: &Path,
    account: &Account,
) -> Result<(), Error> {
    let program = bin.join("postgres");
    let output = bare_command(&program, dir, account)
        .arg("-D")
        .arg(data)
        .args(["-c", "wal_compression=lz4", "-C", "wal_compression"])
        .output()
        .map_err(at(&program))?;
    let method = if output.status.success() { "lz4" } else { "on" };
    layout::write_private(&compression_record(dir), method, account)
}
