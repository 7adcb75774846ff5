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
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use uuid::Uuid;

use crate::archive::{Archive, unbroken};
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

/// What is in a place.
#[derive(Debug, Default)]
pub struct Listing {
    /// The backups, oldest first.
    pub backups: Vec<Manifest>,
    /// Those whose manifest is refused or cannot be read: somebody must look.
    pub refused: Vec<Error>,
}

/// What a prune did.
#[derive(Debug, Default)]
pub struct Pruned {
    /// How many backups went.
    pub removed: usize,
    /// The manifests that could not be read; as long as there are some no archive is shortened.
    pub refused: Vec<Error>,
}

/// A backup that is being made. Dropped, it leaves a directory that the next prune removes.
#[derive(Debug, Clone)]
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

    /// Gives a backup up that was begun. The caller holds the lock.
    ///
    /// # Errors
    /// [`Error::Io`]; the next prune tries again.
    pub fn discard(&self, draft: &Draft) -> Result<(), Error> {
        match fs::remove_dir_all(&draft.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(at(&draft.directory)(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes a draft a backup: manifest, then the name.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`].
    pub fn publish(&self, draft: &Draft, manifest: &Manifest) -> Result<(), Error> {
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

    /// All backups. One that is refused does not hide the others.
    ///
    /// # Errors
    /// [`Error::Io`] if the place cannot be read.
    pub fn list(&self) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        for id in self.ids()? {
            match Manifest::load(&self.path(&id), &self.key) {
                Ok(manifest) => listing.backups.push(manifest),
                Err(error) => listing.refused.push(error),
            }
        }
        listing.backups.sort_by(|a, b| (a.began, &a.id).cmp(&(b.began, &b.id)));
        Ok(listing)
    }

    /// One backup; the state of the others does not matter.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Refused`], [`Error::Io`].
    pub fn find(&self, id: &str) -> Result<Manifest, Error> {
        let ids = self.ids()?;
        if ids.iter().any(|there| there == id) {
            return Manifest::load(&self.path(id), &self.key);
        }
        let there = if ids.is_empty() {
            "there is none at all".to_owned()
        } else {
            format!("there are: {}", ids.join(", "))
        };
        Err(Error::Unknown { id: id.to_owned(), directory: self.directory.clone(), there })
    }

    /// The first segment of the log that is missing after the newest backup of a life, although
    /// later ones are in the archive. Without a backup nothing is missing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn gap(&self, incarnation: Uuid) -> Result<Option<String>, Error> {
        let is_usable =
            |backup: &Manifest| backup.incarnation == Some(incarnation) && backup.failure.is_none();
        let Some(newest) = self.list()?.backups.into_iter().rfind(is_usable) else {
            return Ok(None);
        };
        let mut names = self.archive(incarnation).names()?;
        names.extend(newest.log().map(|(name, _)| name.to_owned()));
        let (_, missing) = unbroken(&names, newest.first_segment, newest.segment_bytes);
        Ok(missing.map(|segment| segment.name(newest.segment_bytes)))
    }

    /// Removes what the policy condemns, what a kill left half-made or half-removed, and the parts
    /// of archives that no backup needs. `living` is the life that goes on: what it has archived
    /// since its newest backup stays. So does the archive of any other life, which may go on as well,
    /// until nothing came into it for the greatest age. The caller holds the lock.
    ///
    /// # Errors
    /// [`Error::Io`]; what was removed before it stays removed.
    pub fn prune(
        &self,
        policy: Policy,
        living: Option<Uuid>,
        now: Timestamp,
    ) -> Result<Pruned, Error> {
        for (name, path) in self.entries()? {
            if name.ends_with(MAKING) || name.ends_with(GOING) {
                fs::remove_dir_all(&path).map_err(at(&path))?;
            }
        }
        let Listing { mut backups, refused } = self.list()?;
        let going = condemned(&backups, policy, living, now);
        for id in &going {
            let (path, aside) = (self.path(id), self.directory.join(format!("{id}{GOING}")));
            fs::rename(&path, &aside).map_err(at(&path))?;
            fs::remove_dir_all(&aside).map_err(at(&aside))?;
        }
        backups.retain(|backup| !going.contains(&backup.id));
        // One that cannot be read may need any of it.
        if refused.is_empty() {
            self.prune_archives(&backups, policy, living, now)?;
        }
        Ok(Pruned { removed: going.len(), refused })
    }

    fn prune_archives(
        &self,
        backups: &[Manifest],
        policy: Policy,
        living: Option<Uuid>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut needed: BTreeMap<Uuid, (u64, u64)> = BTreeMap::new();
        for backup in backups {
            let Some(incarnation) = backup.incarnation else { continue };
            let first = (backup.first_segment, backup.segment_bytes);
            let least = needed.entry(incarnation).or_insert(first);
            *least = (*least).min(first);
        }
        for (name, path) in entries(&self.directory.join(WAL))? {
            let Ok(incarnation) = name.parse::<Uuid>() else { continue };
            match needed.get(&incarnation) {
                Some((first, bytes)) => {
                    self.archive(incarnation).prune(*first, *bytes)?;
                }
                None if living == Some(incarnation) => {}
                None if is_older(&path, policy.max_age, now)? => {
                    fs::remove_dir_all(&path).map_err(at(&path))?;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// The names of all backups, in order.
    fn ids(&self) -> Result<Vec<String>, Error> {
        let mut ids: Vec<String> = self
            .entries()?
            .into_iter()
            .filter(|(name, path)| !name.contains('.') && path.join(manifest::FILE).is_file())
            .map(|(name, _)| name)
            .collect();
        ids.sort();
        Ok(ids)
    }

    fn entries(&self) -> Result<Vec<(String, PathBuf)>, Error> {
        entries(&self.directory)
    }
}

/// Whether nothing came into a directory or went out of it for so long.
fn is_older(directory: &Path, age: Duration, now: Timestamp) -> Result<bool, Error> {
    let changed = fs::metadata(directory).and_then(|facts| facts.modified());
    let now = SystemTime::from(now);
    Ok(now.duration_since(changed.map_err(at(directory))?).is_ok_and(|since| since > age))
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
