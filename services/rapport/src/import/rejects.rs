//! What was not taken, as CSV: line, column, value, reason and the row as it was. Made when
//! the first row is refused. Values that a sheet would take for a formula are kept as they
//! are, to be found again in the file: there they are mended.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::row::Fault;

const HEADER: [&str; 5] = ["line", "column", "value", "reason", "row"];
/// Longer values are cut; the row holds them too, up to its own limit.
const LONGEST: usize = 4_096;

/// A refused row.
#[derive(Debug, Clone)]
pub(crate) struct Reject {
    pub(crate) line: u64,
    pub(crate) fault: Fault,
    pub(crate) raw: String,
}

/// The file of rejects.
#[derive(Debug)]
pub(crate) struct Rejects {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Rejects {
    /// A new file, or the first `bytes` of the one that is there.
    pub(crate) fn open(path: &Path, bytes: u64) -> anyhow::Result<Self> {
        let wrong = || format!("{}: the rejects cannot be written", path.display());
        if bytes == 0 {
            refuse_foreign(path)?;
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(wrong);
                }
                _ => {}
            }
            return Ok(Self { path: path.to_owned(), file: None, bytes: 0 });
        }
        let file = OpenOptions::new().append(true).open(path).with_context(wrong)?;
        file.set_len(bytes).with_context(wrong)?;
        Ok(Self { path: path.to_owned(), file: Some(file), bytes })
    }

    /// Adds rows; they are on disk when this returns.
    pub(crate) fn add(&mut self, rejects: &[Reject]) -> anyhow::Result<()> {
        if rejects.is_empty() {
            return Ok(());
        }
        let wrong = || format!("{}: the rejects cannot be written", self.path.display());
        let mut writer = csv::Writer::from_writer(Vec::new());
        if self.file.is_none() {
            self.file = Some(File::create(&self.path).with_context(wrong)?);
            writer.write_record(HEADER)?;
        }
        for reject in rejects {
            let Fault { column, value, reason } = &reject.fault;
            let line = reject.line.to_string();
            writer.write_record([&line, column, cut(value), reason, &reject.raw])?;
        }
        let bytes = writer.into_inner().map_err(|error| anyhow::anyhow!("{error}"))?;
        if let Some(file) = &mut self.file {
            file.write_all(&bytes).and_then(|()| file.sync_data()).with_context(wrong)?;
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// How long the file is.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A file that is there is only replaced if it is one of ours.
fn refuse_foreign(path: &Path) -> anyhow::Result<()> {
    let Ok(file) = File::open(path) else { return Ok(()) };
    let mut head = Vec::new();
    file.take(64).read_to_end(&mut head)?;
    let ours = HEADER.join(",");
    if !head.is_empty() && !head.starts_with(ours.as_bytes()) {
        bail!("{} is there and holds no rejects: name another file", path.display());
    }
    Ok(())
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
