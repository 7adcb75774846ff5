//! What a start would find, by the same rules, without starting or making anything.

use std::fs;
use std::path::{Path, PathBuf};

use crate::account::Account;
use crate::binaries;
use crate::error::{Error, at};
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
