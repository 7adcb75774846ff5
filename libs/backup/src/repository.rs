//! The directory of backups:
//!
//! ```text
//! lock                          held while one is made or removed
//! erasure.ledger                who was erased, see `ledger`
//! 20261122T150405Z-1f0c/        a backup: manifest.json, base.sealed, wal/<segment>.sealed
//! 20261122T160405Z-77aa.making/ one that is being made, or was when the machine went down
//! 20261121T150405Z-93b0.going/  one that is being removed
//! wal/<incarnation>/            the archive of the log, see `archive`
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use uuid::Uuid;

use crate::archive::Archive;
use crate::error::{Error, at};
use crate::file::sync_directory;
use crate::key::Key;
use crate::manifest::{self, Manifest};
use crate::retention::{Policy, condemned};

const MAKING: &str = ".making";
const GOING: &str = ".going";
const WAL: &str = "wal";

/// A place of backups, opened with its key.
#[derive(Debug, Clone)]
pub struct Repository {
    directory: PathBuf,
    key: Key,
}

/// A backup that is being made. Dropped, it leaves a directory that the next prune removes.
#[derive(Debug)]
pub struct Draft {
    /// Its name.
    pub id: String,
    /// Where its files are written.
    pub directory: PathBuf,
}

impl Repository {
    /// The place; made if it is not there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(directory: &Path, key: Key) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(at(directory))?;
        let directory = directory.canonicalize().map_err(at(directory))?;
        Ok(Self { directory, key })
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What seals it.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// The archive of one life.
    #[must_use]
    pub fn archive(&self, incarnation: Uuid) -> Archive {
        Archive::new(&self.directory.join(WAL), incarnation)
    }

    /// The files of a backup.
    #[must_use]
    pub fn path(&self, id: &str) -> PathBuf {
        self.directory.join(id)
    }

    /// Begins a backup. The caller holds the lock.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`].
    pub fn draft(&self, now: Timestamp) -> Result<Draft, Error> {
        let random = Uuid::new_v4().simple().to_string();
        let id = format!("{}-{}", now.strftime("%Y%m%dT%H%M%SZ"), &random[..4]);
        let directory = self.directory.join(format!("{id}{MAKING}"));
        let wal = directory.join(WAL);
        fs::create_dir_all(&wal).map_err(at(&wal))?;
        Ok(Draft { id, directory })
    }

    /// Makes a draft a backup: manifest, then the name.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`].
    pub fn publish(&self, draft: Draft, manifest: &Manifest) -> Result<(), Error> {
        manifest.save(&draft.directory, &self.key)?;
        sync_directory(&draft.directory.join(WAL).join("any"))?;
        let path = self.path(&draft.id);
        fs::rename(&draft.directory, &path).map_err(at(&path))?;
        sync_directory(&path)
    }

    /// Writes the result of a check into the manifest.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`].
    pub fn amend(&self, manifest: &Manifest) -> Result<(), Error> {
        manifest.save(&self.path(&manifest.id), &self.key)
    }

    /// All backups, oldest first. A manifest that is refused is an error: somebody must look.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Io`].
    pub fn list(&self) -> Result<Vec<Manifest>, Error> {
        let mut found = Vec::new();
        for (name, path) in self.entries()? {
            if !name.contains('.') && path.join(manifest::FILE).is_file() {
                found.push(Manifest::load(&path, &self.key)?);
            }
        }
        found.sort_by(|a, b| (a.began, &a.id).cmp(&(b.began, &b.id)));
        Ok(found)
    }

    /// One backup; without an id the newest good one.
    ///
    /// # Errors
    /// [`Error::Unknown`], and as [`Repository::list`].
    pub fn find(&self, id: Option<&str>) -> Result<Manifest, Error> {
        let all = self.list()?;
        let names: Vec<&str> = all.iter().map(|manifest| manifest.id.as_str()).collect();
        let there = if names.is_empty() {
            "there is none at all".to_owned()
        } else {
            format!("there are: {}", names.join(", "))
        };
        let wanted = id.unwrap_or("that was found good").to_owned();
        let found = match id {
            Some(id) => all.into_iter().find(|manifest| manifest.id == id),
            None => all.into_iter().rfind(Manifest::is_good),
        };
        let directory = self.directory.clone();
        found.ok_or(Error::Unknown { id: wanted, directory, there })
    }

    /// Removes what the policy condemns, what a kill left half-made or half-removed, and the parts
    /// of archives that no backup needs. `living` is the life that goes on: what it has archived
    /// since its newest backup stays. The caller holds the lock.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Io`]; what was removed before it stays removed.
    pub fn prune(
        &self,
        policy: Policy,
        living: Option<Uuid>,
        now: Timestamp,
    ) -> Result<usize, Error> {
        for (name, path) in self.entries()? {
            if name.ends_with(MAKING) || name.ends_with(GOING) {
                fs::remove_dir_all(&path).map_err(at(&path))?;
            }
        }
        let going = condemned(&self.list()?, policy, now);
        for id in &going {
            let (path, aside) = (self.path(id), self.directory.join(format!("{id}{GOING}")));
            fs::rename(&path, &aside).map_err(at(&path))?;
            fs::remove_dir_all(&aside).map_err(at(&aside))?;
        }
        let mut needed: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for backup in self.list()? {
            let Some(incarnation) = backup.incarnation else { continue };
            let first = (backup.first_segment, backup.segment_bytes);
            let least = needed.entry(incarnation.to_string()).or_insert(first);
            *least = (*least).min(first);
        }
        let archives = self.directory.join(WAL);
        for (name, path) in entries(&archives)? {
            let Ok(incarnation) = name.parse::<Uuid>() else { continue };
            match needed.get(&name) {
                Some((first, bytes)) => {
                    self.archive(incarnation).prune(*first, *bytes)?;
                }
                None if living == Some(incarnation) => {}
                None => fs::remove_dir_all(&path).map_err(at(&path))?,
            }
        }
        Ok(going.len())
    }

    fn entries(&self) -> Result<Vec<(String, PathBuf)>, Error> {
        entries(&self.directory)
    }
}

fn entries(directory: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(at(directory))?,
    };
    let mut found = Vec::new();
    for entry in listed {
        let entry = entry.map_err(at(directory))?;
        if entry.path().is_dir() {
            found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
    }
    Ok(found)
}
