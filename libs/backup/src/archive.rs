//! The archive of the write-ahead log: one sealed file per segment, in a directory for each life of
//! a data directory. A restored data directory begins a new life, so that two of them never write
//! the same segment with different content.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::error::{Error, at};

const BEHIND: &str = ".sealed";
const DIGITS: usize = 24;

/// A segment of the log, as its file name says it (PostgreSQL documentation, "WAL Internals"):
/// timeline, and the number in two parts that depend on the segment's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// The timeline.
    pub timeline: u32,
    /// Its number since the beginning of the log.
    pub number: u64,
}

impl Segment {
    /// The segment that holds a position.
    #[must_use]
    pub const fn at(timeline: u32, position: u64, segment_bytes: u64) -> Self {
        Self { timeline, number: position / segment_bytes }
    }

    /// The name of its file.
    #[must_use]
    pub fn name(self, segment_bytes: u64) -> String {
        let per_log = per_log(segment_bytes);
        let (log, segment) = (self.number / per_log, self.number % per_log);
        format!("{:08X}{log:08X}{segment:08X}", self.timeline)
    }

    /// What a file name says; nothing if it is not that of a segment.
    #[must_use]
    pub fn parse(name: &str, segment_bytes: u64) -> Option<Self> {
        let is_hex = name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex {
            return None;
        }
        let timeline = u32::from_str_radix(&name[..8], 16).ok()?;
        let log = u64::from_str_radix(&name[8..16], 16).ok()?;
        let segment = u64::from_str_radix(&name[16..], 16).ok()?;
        Some(Self { timeline, number: log * per_log(segment_bytes) + segment })
    }
}

const fn per_log(segment_bytes: u64) -> u64 {
    0x1_0000_0000 / segment_bytes
}

/// A position in the log, `16/B374D848`.
#[must_use]
pub fn position(text: &str) -> Option<u64> {
    let (high, low) = text.trim().split_once('/')?;
    let high = u64::from_str_radix(high, 16).ok()?;
    let low = u32::from_str_radix(low, 16).ok()?;
    Some((high << 32) | u64::from(low))
}

/// The archive of one life.
#[derive(Debug, Clone)]
pub struct Archive {
    directory: PathBuf,
    incarnation: Uuid,
}

impl Archive {
    pub(crate) fn new(root: &Path, incarnation: Uuid) -> Self {
        Self { directory: root.join(incarnation.to_string()), incarnation }
    }

    /// Makes its directory.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn prepare(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.directory).map_err(at(&self.directory))
    }

    /// Where the sealed file of a log file is, and what it is sealed as.
    #[must_use]
    pub fn place(&self, name: &str) -> (PathBuf, String) {
        (self.directory.join(format!("{name}{BEHIND}")), format!("wal/{}/{name}", self.incarnation))
    }

    /// The names of the log files in it, in order.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(at(&self.directory))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(at(&self.directory))?.file_name();
            names.extend(
                name.to_str().and_then(|name| name.strip_suffix(BEHIND)).map(str::to_owned),
            );
        }
        names.sort();
        Ok(names)
    }

    /// Removes the segments before this one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn prune(&self, first: u64, segment_bytes: u64) -> Result<usize, Error> {
        let mut removed = 0;
        for name in self.names()? {
            let old = Segment::parse(&name, segment_bytes).is_some_and(|s| s.number < first);
            if old {
                let (path, _) = self.place(&name);
                fs::remove_file(&path).map_err(at(&path))?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// Segments that follow each other without a gap from `first` on, and the first that is missing
/// although later ones are there.
#[must_use]
pub fn unbroken(
    names: &[String],
    first: u64,
    segment_bytes: u64,
) -> (Vec<String>, Option<Segment>) {
    let mut segments: BTreeMap<u64, (Segment, &String)> = BTreeMap::new();
    for name in names {
        if let Some(segment) = Segment::parse(name, segment_bytes)
            && segment.number >= first
        {
            segments.insert(segment.number, (segment, name));
        }
    }
    let mut whole = Vec::new();
    for (wanted, (segment, name)) in (first..).zip(segments.values()) {
        if segment.number != wanted {
            return (whole, Some(Segment { timeline: segment.timeline, number: wanted }));
        }
        whole.push((*name).clone());
    }
    (whole, None)
}
