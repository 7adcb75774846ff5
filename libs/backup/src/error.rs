//! What can go wrong with a place of backups.

use std::io;
use std::path::{Path, PathBuf};

/// Why something could not be kept or found again. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("{}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk with the backups, or the one that is restored to, is full.
    #[error("no space left for {}: free some, or keep fewer backups (backup.keep)", .0.display())]
    Full(PathBuf),
    /// The file is not what was written: damaged, cut, swapped, or of another key.
    #[error("{} is refused: {reason}", path.display())]
    Refused {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The backup key cannot be used.
    #[error("the backup key {}: {reason}", path.display())]
    Key {
        /// The file of the key.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// No such backup.
    #[error("there is no backup {id} in {}; {there}", directory.display())]
    Unknown {
        /// What was asked for.
        id: String,
        /// Where.
        directory: PathBuf,
        /// What is there.
        there: String,
    },
    /// The system has no randomness, or the cryptographic library refuses.
    #[error("cryptography failed")]
    Cryptography,
    /// Whoever fills a file could not go on.
    #[error("{0}")]
    Source(String),
}

impl Error {
    pub(crate) fn refused(path: &Path, reason: impl Into<String>) -> Self {
        Self::Refused { path: path.to_path_buf(), reason: reason.into() }
    }
}

/// Adds the path to an I/O error, and says what a full disk means.
pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::Full(path.to_path_buf())
        }
        _ => Error::Io { path: path.to_path_buf(), source },
    }
}
