//! A data directory that comes from a base backup: unpacked beside its place, checked, and put there
//! so that the first start recovers it.
//!
//! What belongs to the server that the backup was taken of is taken out: its own settings (they might
//! archive into its archive), its standby signal, its process file. The private server's own settings
//! are written by the start, as ever.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};

use super::{PostgresOptions, bare_command};
use crate::account::Account;
use crate::error::{Error, at};
use crate::layout;

/// What is not taken over. The start writes `postgresql.conf` and `pg_hba.conf`.
const NOT_OURS: [&str; 5] =
    ["standby.signal", "recovery.signal", "postmaster.pid", "postmaster.opts", "current_logfiles"];

/// A data directory in the making; without [`Incoming::accept`] nothing ever starts on it.
#[derive(Debug)]
pub struct Incoming {
    options: PostgresOptions,
    account: Account,
    unfinished: PathBuf,
    data: PathBuf,
}

/// Takes a tar archive and unpacks it as it comes.
#[derive(Debug)]
pub struct Unpacking {
    child: Child,
    input: Option<ChildStdin>,
}

impl PostgresOptions {
    /// Begins to take in a data directory. What an earlier try left is removed.
    ///
    /// # Errors
    /// [`Error::Occupied`] if there is one already; [`Error::NoAccount`], [`Error::Unreachable`],
    /// [`Error::Io`].
    pub fn receive(&self) -> Result<Incoming, Error> {
        let data = self.dir.join("data");
        let account = Account::choose(&data)?;
        let dir = layout::prepare(&self.dir, &account)?;
        let (data, unfinished) = (dir.join("data"), dir.join("data.new"));
        if data.exists() {
            return Err(Error::Occupied(data));
        }
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(at(&unfinished))?;
        }
        layout::private_directory(&unfinished, &account)?;
        Ok(Incoming { options: self.clone(), account, unfinished, data })
    }
}

impl Incoming {
    /// Begins to unpack; the files belong to the server's account.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no `tar`.
    pub fn unpack(&self) -> Result<Unpacking, Error> {
        let program = Path::new("tar");
        let mut command = bare_command(program, &self.unfinished, &self.account);
        let mut child = command
            .args(["--extract", "--file=-", "--no-same-owner", "--preserve-permissions"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(at(program))?;
        let input = child.stdin.take();
        Ok(Unpacking { child, input })
    }

    /// Compares the files with the manifest that Postgres put among them.
    ///
    /// # Errors
    /// [`Error::Unsound`] with what `pg_verifybackup` says.
    pub fn verify(&self) -> Result<(), Error> {
        let binaries = self.binaries()?;
        let program = binaries.join("pg_verifybackup");
        let output = bare_command(&program, &self.unfinished, &self.account)
            .args(["--no-parse-wal", "--quiet"])
            .arg(&self.unfinished)
            .output()
            .map_err(at(&program))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Unsound(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    /// A file of the log that the recovery shall find, for the caller to fill.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn log_file(&self, name: &str) -> Result<fs::File, Error> {
        let path = self.unfinished.join("pg_wal").join(name);
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(at(&path))?;
        self.account.own(&path)?;
        Ok(file)
    }

    /// Puts the directory in its place: the next start recovers it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn accept(self) -> Result<(), Error> {
        for name in NOT_OURS {
            layout::remove_if_present(&self.unfinished.join(name))?;
        }
        let overriding = self.unfinished.join("postgresql.auto.conf");
        layout::write_private(&overriding, "", &self.account)?;
        let signal = self.unfinished.join("recovery.signal");
        layout::write_private(&signal, "", &self.account)?;
        let dir = self.options.dir.clone();
        let version = self.binaries()?;
        super::cluster::record_compression(&version, &dir, &self.unfinished, &self.account)?;
        fs::rename(&self.unfinished, &self.data).map_err(at(&self.data))
    }

    fn binaries(&self) -> Result<PathBuf, Error> {
        let version = self.unfinished.join("PG_VERSION");
        let version = fs::read_to_string(&version).map_err(at(&version))?;
        let bin = self.options.bin.as_deref();
        crate::binaries::postgres(bin, &self.unfinished, Some(version.trim()))
    }
}

impl Unpacking {
    /// Waits until all is unpacked.
    ///
    /// # Errors
    /// [`Error::Unsound`] with what `tar` says, e.g. that the disk is full.
    pub fn finish(mut self) -> Result<(), Error> {
        drop(self.input.take());
        let mut complaint = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            // What it says is for people only.
            let _ = io::Read::read_to_string(&mut errors, &mut complaint);
        }
        let status = self.child.wait().map_err(at(Path::new("tar")))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Unsound(format!("tar: {}", complaint.trim())))
    }
}

impl Write for Unpacking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.input {
            Some(input) => input.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Unpacking {
    /// Given up half-way: the program must not stay, and must be reaped.
    fn drop(&mut self) {
        drop(self.input.take());
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
