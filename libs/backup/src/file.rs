//! One sealed file: compressed (LZ4), then encrypted; written beside its place and put there whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use lz4_flex::frame::{FrameDecoder, FrameEncoder};
use serde::{Deserialize, Serialize};

use crate::error::{Error, at};
use crate::key::Key;
use crate::seal::{Opener, Sealer};

const COPY: usize = 128 << 10;

/// A sealed file as it lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its path below the directory of the backup.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of the file, in hex: anybody can check it, without the key.
    pub sha256: String,
}

/// Counts and hashes what passes.
struct Hashing<T> {
    inner: T,
    digest: Context,
    bytes: u64,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self { inner, digest: Context::new(&SHA256), bytes: 0 }
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn hex(self) -> String {
        hex(self.digest.finish().as_ref())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.pass(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.pass(&bytes[..read]);
        Ok(read)
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes what the source gives into a sealed file that appears whole or not at all. `label` says
/// what it is and must be repeated to read it.
///
/// # Errors
/// [`Error::Full`], [`Error::Io`], or [`Error::Source`] with what the source could not read.
pub fn write_sealed(
    path: &Path,
    key: &Key,
    label: &str,
    source: &mut dyn Read,
) -> Result<Part, Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(at(&fresh))?;
    let sealer = Sealer::new(Hashing::new(file), key, label)?.map_err(at(&fresh))?;
    let mut encoder = FrameEncoder::new(sealer);
    let mut buffer = vec![0; COPY];
    loop {
        let read = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let _ = fs::remove_file(&fresh);
                return Err(Error::Source(error.to_string()));
            }
        };
        encoder.write_all(&buffer[..read]).map_err(at(&fresh))?;
    }
    let sealer = encoder.finish().map_err(|error| at(&fresh)(error.into()))?;
    let hashing = sealer.finish().map_err(at(&fresh))?;
    hashing.inner.sync_all().map_err(at(&fresh))?;
    fs::rename(&fresh, path).map_err(at(path))?;
    sync_directory(path)?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Part { file, bytes: hashing.bytes, sha256: hashing.hex() })
}

/// Writes the plain content to `target`; answers the size and SHA-256 of the file. What was
/// written before an error must not be used.
///
/// # Errors
/// [`Error::Refused`] naming the file if it is not what was written under this label and key;
/// [`Error::Source`] if the target does not take it.
pub fn read_sealed(
    path: &Path,
    key: &Key,
    label: &str,
    target: &mut dyn Write,
) -> Result<Part, Error> {
    let refuse = |error: io::Error| match error.kind() {
        // The decoder wraps what the opener says.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Error::refused(path, error.to_string())
        }
        io::ErrorKind::NotFound => Error::refused(path, "it is not there"),
        _ => at(path)(error),
    };
    let file = File::open(path).map_err(refuse)?;
    let reader = Hashing::new(BufReader::with_capacity(COPY, file));
    let opener = Opener::new(reader, key, label)?.map_err(refuse)?;
    let mut decoder = FrameDecoder::new(opener);
    let mut buffer = vec![0; COPY];
    loop {
        let read = decoder.read(&mut buffer).map_err(refuse)?;
        if read == 0 {
            break;
        }
        target.write_all(&buffer[..read]).map_err(|error| Error::Source(error.to_string()))?;
    }
    // The decoder stops at the end of its frame; the authenticated end must be there as well.
    let mut opener = decoder.into_inner();
    if opener.read(&mut buffer).map_err(refuse)? != 0 {
        return Err(Error::refused(path, "there is something behind its end"));
    }
    let reader = opener.into_inner();
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Part { file, bytes: reader.bytes, sha256: reader.hex() })
}

/// How much can be written to the disk of a directory.
///
/// # Errors
/// [`Error::Io`] if it is not there.
pub fn free_bytes(directory: &Path) -> Result<u64, Error> {
    let facts = rustix::fs::statvfs(directory).map_err(|error| at(directory)(error.into()))?;
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// Makes the names in the directory of this file durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), Error> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(at(directory))
}

/// Writes a small file through a rename.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let write = || -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(at(path))?;
    sync_directory(path)
}
