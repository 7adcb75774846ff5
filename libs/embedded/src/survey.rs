//! What a start would find, by the same rules, without starting or making anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::account::Account;
use crate::binaries;
use crate::error::{Error, at};
use crate::process::{self, Pid, Process, Signal};
use crate::{PostgresOptions, RedisOptions};

impl PostgresOptions {
    /// The directory of the programs that would be used.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::WrongVersion`].
    pub fn programs(&self) -> Result<PathBuf, Error> {
        let data = self.dir.join("data");
        let version = fs::read_to_string(data.join("PG_VERSION")).ok();
        binaries::postgres(self.bin.as_deref(), &data, version.as_deref().map(str::trim))
    }

    /// Where finished segments of the log are put if they are archived.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.dir.join("spool")
    }

    /// The address of a database of the server that runs in this directory now, through its socket;
    /// nothing if none does. Touches nothing, whatever the options say otherwise.
    ///
    /// # Errors
    /// [`Error::NoAccount`], [`Error::Io`].
    pub fn running_url(&self, database: &str) -> Result<Option<String>, Error> {
        let Some(_pid) = self.running()? else { return Ok(None) };
        // Line 4 is the port, line 5 the directory of the socket (`miscinit.h`, postmaster.pid).
        let file = self.dir.join("data/postmaster.pid");
        let text = fs::read_to_string(&file).map_err(at(&file))?;
        let mut lines = text.lines().skip(3);
        let port = lines.next().and_then(|line| line.trim().parse().ok());
        let directory = lines.next().map(str::trim).filter(|directory| !directory.is_empty());
        Ok(port.zip(directory).map(|(port, directory)| {
            crate::postgres::socket_url(Path::new(directory), port, database)
        }))
    }

    /// Ends a server that a killed process left in this directory.
    ///
    /// # Errors
    /// [`Error::NotStopped`], [`Error::NoAccount`], [`Error::Io`].
    pub fn end_remains(&self) -> Result<(), Error> {
        let Some(pid) = self.running()? else { return Ok(()) };
        const STEPS: [(Signal, Duration); 2] =
            [(Signal::QUIT, Duration::from_secs(5)), (Signal::KILL, Duration::from_secs(5))];
        let ended = Process::adopt(pid).end(&STEPS);
        if ended { Ok(()) } else { Err(Error::NotStopped("postgres")) }
    }

    /// The process of the server in this directory.
    fn running(&self) -> Result<Option<Pid>, Error> {
        let data = self.dir.join("data");
        let Some(pid) = process::recorded_pid(&data.join("postmaster.pid")) else {
            return Ok(None);
        };
        let account = Account::choose(&data)?;
        let data = data.canonicalize().map_err(at(&data))?;
        let is_there =
            process::is_running(pid) && process::is_server(pid, account.uid(), "postgres", &data);
        Ok(is_there.then_some(pid))
    }

    /// The account that the server would run as; none if it is our own.
    ///
    /// # Errors
    /// [`Error::NoAccount`], [`Error::Unreachable`], [`Error::Io`].
    pub fn account(&self) -> Result<Option<String>, Error> {
        let account = Account::choose(&self.dir.join("data"))?;
        // What is missing below is made by the start, open enough.
        let whole = std::path::absolute(&self.dir).map_err(at(&self.dir))?;
        let nearest = whole.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let nearest = nearest.canonicalize().map_err(at(nearest))?;
        let is_there = whole.exists();
        account.check_reach(&if is_there { nearest } else { nearest.join("postgres") })?;
        Ok(match account {
            Account::Own => None,
            Account::Dropped { name, .. } => Some(name),
        })
    }
}

impl RedisOptions {
    /// The program that would be used.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn program(&self) -> Result<PathBuf, Error> {
        binaries::redis(self.bin.as_deref())
    }
}
