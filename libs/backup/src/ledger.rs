//! The ledger of erasures beside the backups, so that a restore to an older backup knows who was
//! erased later.
//!
//! One line per entry: base64 of nonce (12), ciphertext, tag (16); sealed under the key of the
//! ledger, bound to its number and to the tag of the line before. So the order is authenticated, and
//! an entry in the middle cannot go; that the end is not missing is said by the manifests, which
//! count the entries. An entry that is known is not appended again.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use uuid::Uuid;

use crate::error::{Error, at};
use crate::file::sync_directory;
use crate::key::Key;

const FILE: &str = "erasure.ledger";
const TAG: usize = 16;
const IDS: usize = 32;

/// One part of an erasure. It names nobody: ids and keyed hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Whose customer it was.
    pub tenant: Uuid,
    /// Which part of which erasure; unique within the tenant.
    pub part: Uuid,
    /// The row as identity knows it.
    pub row: Vec<u8>,
}

/// An open ledger. Several processes may append: each takes the lock and first reads what the
/// others wrote.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    key: LessSafeKey,
    known: HashSet<(Uuid, Uuid)>,
    /// Where the last whole line that was read ends.
    length: u64,
    number: u64,
    tag: [u8; TAG],
}

impl Ledger {
    /// The ledger in a directory of backups; empty if there is none yet.
    ///
    /// # Errors
    /// [`Error::Refused`] if it was changed, [`Error::Io`].
    pub fn open(directory: &Path, key: &Key) -> Result<Self, Error> {
        let mut ledger = Self {
            path: directory.join(FILE),
            key: key.cipher(b"", "erasure ledger")?,
            known: HashSet::new(),
            length: 0,
            number: 0,
            tag: [0; TAG],
        };
        ledger.catch_up()?;
        Ok(ledger)
    }

    /// How many entries it has.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.number
    }

    /// All entries in order, read anew.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn read(directory: &Path, key: &Key) -> Result<Vec<Erasure>, Error> {
        let mut ledger = Self::open(directory, key)?;
        ledger.known.clear();
        ledger.length = 0;
        ledger.number = 0;
        ledger.tag = [0; TAG];
        ledger.catch_up()
    }

    /// Appends those that are not in it; they are on the disk afterwards. Answers how many were new.
    /// Blocks while somebody else appends.
    ///
    /// # Errors
    /// As [`Ledger::open`]; [`Error::Full`].
    pub fn append(&mut self, erasures: &[Erasure]) -> Result<usize, Error> {
        if erasures.iter().all(|erasure| self.known.contains(&(erasure.tenant, erasure.part))) {
            return Ok(0);
        }
        let at_file = at(&self.path);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(&at_file)?;
        // Whoever has it writes a few lines.
        file.lock().map_err(&at_file)?;
        drop(at_file);
        self.catch_up()?;
        let mut text = String::new();
        let mut added = Vec::new();
        let (mut number, mut tag) = (self.number, self.tag);
        for erasure in erasures {
            let id = (erasure.tenant, erasure.part);
            if self.known.contains(&id) || added.contains(&id) {
                continue;
            }
            let sealed = self.seal(number, tag, erasure)?;
            tag.copy_from_slice(&sealed[sealed.len() - TAG..]);
            number += 1;
            text.push_str(&STANDARD_NO_PAD.encode(&sealed));
            text.push('\n');
            added.push(id);
        }
        let at_file = at(&self.path);
        // What is behind the last whole line was torn by a crash.
        file.set_len(self.length).map_err(&at_file)?;
        file.seek(SeekFrom::Start(self.length)).map_err(&at_file)?;
        file.write_all(text.as_bytes()).map_err(&at_file)?;
        file.sync_all().map_err(&at_file)?;
        drop(at_file);
        if self.length == 0 {
            sync_directory(&self.path)?;
        }
        self.length += text.len() as u64;
        (self.number, self.tag) = (number, tag);
        let count = added.len();
        self.known.extend(added);
        Ok(count)
    }

    /// Reads the lines behind the last one that is known.
    fn catch_up(&mut self) -> Result<Vec<Erasure>, Error> {
        let mut text = Vec::new();
        match File::open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.length == 0 => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(at(&self.path)(error)),
            Ok(mut file) => {
                let length = file.metadata().map_err(at(&self.path))?.len();
                if length < self.length {
                    return Err(Error::refused(&self.path, "it became shorter"));
                }
                file.seek(SeekFrom::Start(self.length)).map_err(at(&self.path))?;
                file.read_to_end(&mut text).map_err(at(&self.path))?;
            }
        }
        let mut found = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            // Without its end it was torn.
            let Some(line_text) = line.strip_suffix(b"\n") else { break };
            let erasure = self.open_line(line_text)?;
            self.known.insert((erasure.tenant, erasure.part));
            self.length += line.len() as u64;
            found.push(erasure);
        }
        Ok(found)
    }

    fn place(number: u64, tag: [u8; TAG]) -> [u8; 8 + TAG] {
        let mut place = [0; 8 + TAG];
        place[..8].copy_from_slice(&number.to_be_bytes());
        place[8..].copy_from_slice(&tag);
        place
    }

    fn seal(&self, number: u64, tag: [u8; TAG], erasure: &Erasure) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| Error::Cryptography)?;
        let mut body = Vec::with_capacity(IDS + erasure.row.len());
        body.extend_from_slice(erasure.tenant.as_bytes());
        body.extend_from_slice(erasure.part.as_bytes());
        body.extend_from_slice(&erasure.row);
        let place = Aad::from(Self::place(number, tag));
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), place, &mut body)
            .map_err(|_| Error::Cryptography)?;
        Ok([&nonce[..], &body].concat())
    }

    fn open_line(&mut self, line: &[u8]) -> Result<Erasure, Error> {
        let refuse = || {
            let line = self.number + 1;
            Error::refused(&self.path, format!("line {line} was changed, or is of another key"))
        };
        let mut sealed = STANDARD_NO_PAD.decode(line).map_err(|_| refuse())?;
        if sealed.len() < NONCE_LEN + IDS + TAG {
            return Err(refuse());
        }
        let mut tag = [0; TAG];
        tag.copy_from_slice(&sealed[sealed.len() - TAG..]);
        let mut body = sealed.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&sealed).map_err(|_| refuse())?;
        let place = Aad::from(Self::place(self.number, self.tag));
        let plain = self.key.open_in_place(nonce, place, &mut body).map_err(|_| refuse())?;
        let id = |range: std::ops::Range<usize>| Uuid::from_slice(&plain[range]);
        let tenant = id(0..16).map_err(|_| refuse())?;
        let part = id(16..32).map_err(|_| refuse())?;
        let row = plain[IDS..].to_vec();
        self.number += 1;
        self.tag = tag;
        Ok(Erasure { tenant, part, row })
    }
}
