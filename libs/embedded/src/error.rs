//! What can go wrong while a private server is brought up.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a private server could not be brought up or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server's programs are not on this machine.
    #[error("{program} was not found (looked in {looked}); install it: {remedy}")]
    NotInstalled {
        /// The missing program.
        program: &'static str,
        /// Where it was sought.
        looked: String,
        /// The command that installs it.
        remedy: &'static str,
    },
    /// The data directory belongs to a major version that is not installed.
    #[error("{} was made by PostgreSQL {wanted}, installed: {found}; install postgresql-{wanted}", dir.display())]
    WrongVersion {
        /// The data directory.
        dir: PathBuf,
        /// Its major version.
        wanted: String,
        /// The major versions found.
        found: String,
    },
    /// Running as root, and no account to drop to exists.
    #[error(
        "running as root, and there is no account `postgres` or `nobody` to run the servers as"
    )]
    NoAccount,
    /// Running as root, and the servers' account cannot enter the data directory.
    #[error("account `{account}` cannot enter {}, which is above the data directory; choose another data directory", blocked.display())]
    Unreachable {
        /// The account the servers would run as.
        account: String,
        /// The directory that it may not enter.
        blocked: PathBuf,
    },
    /// `initdb` failed.
    #[error("initdb failed: {0}")]
    Initialise(String),
    /// There is a data directory where one shall be put.
    #[error("{} is there already: choose another directory", .0.display())]
    Occupied(PathBuf),
    /// A base backup cannot be used.
    #[error("the base backup cannot be used: {0}")]
    Unsound(String),
    /// The server did not become ready in time, or ended at once.
    #[error("{server} did not become ready within {} s: {reason}", waited.as_secs())]
    NotReady {
        /// `postgres` or `redis`.
        server: &'static str,
        /// The limit that was reached.
        waited: Duration,
        /// The last refusal, and the end of the server's log.
        reason: String,
    },
    /// Another process is starting a server in this directory and does not finish.
    #[error("another process has been starting a server in {} for too long", .0.display())]
    Locked(PathBuf),
    /// The server would not stop.
    #[error("{0} did not stop")]
    NotStopped(&'static str),
    /// The handle was stopped; it starts nothing any more.
    #[error("the server was stopped by its owner")]
    Closed,
    /// A file or process operation failed.
    #[error("{}", path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Adds the path to an I/O error.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    move |source| Error::Io { path: path.to_path_buf(), source }
}
