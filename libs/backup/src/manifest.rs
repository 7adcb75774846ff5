//! What a backup says of itself; authenticated, readable by people and tools.

use std::fs;
use std::path::Path;

use aws_lc_rs::hmac;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::error::{Error, at};
use crate::file::{Part, hex, write_whole};
use crate::key::Key;

/// The name of the file.
pub(crate) const FILE: &str = "manifest.json";
const FORMAT: u32 = 1;
const LABEL: &str = "manifest";

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of this file.
    pub format: u32,
    /// The name of the backup: its time, and a few random digits.
    pub id: String,
    /// When it was begun.
    pub began: Timestamp,
    /// The moment that it shows.
    pub time: Timestamp,
    /// Which life of which data directory it is of: names the archive that continues it. Absent
    /// for a Postgres whose log is not archived here.
    pub incarnation: Option<Uuid>,
    /// The version of Postgres; a restore needs the same major version.
    pub postgres: String,
    /// The timeline of the log.
    pub timeline: u32,
    /// The size of a segment of the log.
    pub segment_bytes: u64,
    /// The first segment of the log that a recovery needs from the archive.
    pub first_segment: u64,
    /// The restore point in the log at which the rows were counted; a recovery for a check ends
    /// there.
    pub restore_point: String,
    /// The databases and what was in them at the restore point.
    pub databases: Vec<Database>,
    /// Whether the tables were counted: at an instant at which no transaction was at work, so the
    /// counts are those of the restore point exactly. False if there was none.
    pub counted: bool,
    /// How far the ledger of erasures was.
    pub ledger: LedgerPosition,
    /// The sealed files.
    pub parts: Vec<Part>,
    /// The size before compression.
    pub plain_bytes: u64,
    /// When it was restored and found good; absent before that.
    pub verified: Option<Verified>,
    /// Why its check failed, if it did.
    pub failure: Option<String>,
}

/// One database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// The migrations that it has.
    pub migrations: Vec<Migration>,
    /// Its tables, in order of name.
    pub tables: Vec<Table>,
}

/// An applied migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// Its place in the order.
    pub version: i64,
    /// SHA-256 of its SQL, in hex.
    pub checksum: String,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: i64,
}

/// How far the ledger of erasures was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerPosition {
    /// Its entries; a ledger with fewer has lost some.
    pub entries: u64,
}

/// That a backup was restored and found good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// When.
    pub at: Timestamp,
    /// How long restore and checks took.
    pub milliseconds: u64,
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    manifest: &'a RawValue,
    mac: String,
}

#[derive(Deserialize)]
struct Form {
    format: u32,
}

impl Manifest {
    /// The form that this release writes.
    #[must_use]
    pub const fn format() -> u32 {
        FORMAT
    }

    /// A backup that was restored and found good.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.verified.is_some() && self.failure.is_none()
    }

    /// The segments of the log that it holds itself: the name of each, and its sealed file below the
    /// directory of the backup.
    pub fn log(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts.iter().filter_map(|part| {
            let name = part.file.strip_prefix("wal/")?.strip_suffix(".sealed")?;
            Some((name, part.file.as_str()))
        })
    }

    pub(crate) fn save(&self, directory: &Path, key: &Key) -> Result<(), Error> {
        let path = directory.join(FILE);
        let malformed = |error: serde_json::Error| Error::refused(&path, error.to_string());
        let text = serde_json::to_string_pretty(self).map_err(malformed)?;
        let mac = hex(hmac::sign(&key.mac(LABEL)?, text.as_bytes()).as_ref());
        let content = format!("{{\"manifest\": {text},\n\"mac\": \"{mac}\"}}\n");
        write_whole(&path, content.as_bytes())
    }

    /// Reads the manifest of a backup.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is not what was written with this key, or is that of another backup;
    /// [`Error::Io`].
    pub fn load(directory: &Path, key: &Key) -> Result<Self, Error> {
        let path = directory.join(FILE);
        let text = fs::read_to_string(&path).map_err(at(&path))?;
        let malformed = |error: serde_json::Error| Error::refused(&path, error.to_string());
        let envelope: Envelope<'_> = serde_json::from_str(&text).map_err(malformed)?;
        let said = envelope.manifest.get();
        let mac = hmac::sign(&key.mac(LABEL)?, said.as_bytes());
        let given = envelope.mac.as_bytes();
        if aws_lc_rs::constant_time::verify_slices_are_equal(hex(mac.as_ref()).as_bytes(), given)
            .is_err()
        {
            return Err(Error::refused(&path, "it was changed, or is of another key"));
        }
        let form: Form = serde_json::from_str(said).map_err(malformed)?;
        if form.format != FORMAT {
            let reason = format!("its form is {}, this release reads {FORMAT}", form.format);
            return Err(Error::refused(&path, reason));
        }
        let manifest: Self = serde_json::from_str(said).map_err(malformed)?;
        if directory.file_name().is_none_or(|name| name != manifest.id.as_str()) {
            return Err(Error::refused(&path, format!("it is the one of {}", manifest.id)));
        }
        Ok(manifest)
    }
}
