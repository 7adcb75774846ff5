//! The directory of one server: private, locked while something is being started, with a
//! place for sockets that is short enough for the system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::error::{Error, at};

/// `sun_path` is 108 bytes with its closing zero; the longest name we put behind the
/// directory is `/.s.PGSQL.65535`.
const LONGEST_SOCKET_DIRECTORY: usize = 107 - "/.s.PGSQL.65535".len();
const LOG_LIMIT: u64 = 8 << 20;
const LOCK_POLL: Duration = Duration::from_millis(10);

/// Makes the directory (0700) and gives it to the account; returns its absolute path.
pub(crate) fn prepare(dir: &Path, account: &Account) -> Result<PathBuf, Error> {
    if !dir.is_dir() {
        fs::create_dir_all(dir).map_err(at(dir))?;
    }
    let dir = dir.canonicalize().map_err(at(dir))?;
    account.check_reach(&dir)?;
    account.own(&dir)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).map_err(at(&dir))?;
    Ok(dir)
}

/// Waits for the exclusive right to a directory that is there: of a server, to start or stop it.
/// Ends with the `File`, also when the process is killed: the lock is the system's.
///
/// # Errors
/// [`Error::Locked`] when somebody else has it for longer than `limit`; [`Error::Io`].
pub async fn lock(dir: &Path, limit: Duration) -> Result<File, Error> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(at(&path))?;
    let deadline = Instant::now() + limit;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                tokio::time::sleep(LOCK_POLL).await;
            }
            Err(TryLockError::WouldBlock) => return Err(Error::Locked(dir.to_path_buf())),
            Err(TryLockError::Error(source)) => return Err(Error::Io { path, source }),
        }
    }
}

/// A 0700 directory for sockets: `dir/run`, or a short one under `/tmp` whose name is
/// recorded in `dir/socket_directory` when that path would be too long.
pub(crate) fn socket_directory(dir: &Path, account: &Account) -> Result<PathBuf, Error> {
    let inside = dir.join("run");
    if inside.as_os_str().len() <= LONGEST_SOCKET_DIRECTORY {
        make_private(&inside)?;
        account.own(&inside)?;
        return Ok(inside);
    }
    let record = recorded_socket_directory(dir);
    if let Ok(recorded) = fs::read_to_string(&record) {
        let recorded = PathBuf::from(recorded);
        if is_private(&recorded, account) {
            return Ok(recorded);
        }
    }
    let name = uuid::Uuid::new_v4().simple().to_string();
    let short = PathBuf::from(format!("/tmp/rapport-{}", &name[..16]));
    // Not recursive: an existing directory, perhaps a stranger's, is an error here.
    fs::DirBuilder::new().mode(0o700).create(&short).map_err(at(&short))?;
    account.own(&short)?;
    fs::write(&record, short.as_os_str().as_encoded_bytes()).map_err(at(&record))?;
    Ok(short)
}

/// The file that names the socket directory when it is not inside `dir`.
pub(crate) fn recorded_socket_directory(dir: &Path) -> PathBuf {
    dir.join("socket_directory")
}

/// A 0700 directory of the account.
pub(crate) fn private_directory(path: &Path, account: &Account) -> Result<(), Error> {
    make_private(path)?;
    account.own(path)
}

fn make_private(path: &Path) -> Result<(), Error> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(at(path)(error)),
    }
}

/// `/tmp` is everybody's: only a real directory of our account, closed to others, will do.
fn is_private(path: &Path, account: &Account) -> bool {
    fs::symlink_metadata(path).is_ok_and(|facts| {
        facts.is_dir() && facts.uid() == account.uid() && facts.mode() & 0o077 == 0
    })
}

/// Writes the file (0600, the account's) through a rename, so that no reader sees half.
pub(crate) fn write_private(path: &Path, content: &str, account: &Account) -> Result<(), Error> {
    let fresh = path.with_extension("new");
    remove_if_present(&fresh)?;
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o600).open(&fresh).map_err(at(&fresh))?;
    io::Write::write_all(&mut file, content.as_bytes()).map_err(at(&fresh))?;
    account.own(&fresh)?;
    fs::rename(&fresh, path).map_err(at(path))
}

/// Removes a file that may not be there.
pub(crate) fn remove_if_present(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// Opens the server's log for appending; begins anew when it has grown past its limit.
pub(crate) fn open_log(path: &Path) -> Result<File, Error> {
    let grown = fs::metadata(path).is_ok_and(|facts| facts.len() > LOG_LIMIT);
    if grown {
        remove_if_present(path)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(at(path))
}

/// The last lines of the log, for an error message.
pub(crate) fn log_tail(path: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(1_000)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    read().unwrap_or_default()
}
