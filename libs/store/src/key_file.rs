//! The key ring on disk: only its owner may read it, and it is never half written.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::keys::{KeyRing, Secret};

/// Why there is no key ring. Never quotes the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written.
    #[error("the key ring {path} is not accessible")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than the owner may read the file.
    #[error("the key ring {path} has mode {mode:o}: others may read it, set it to 600")]
    TooOpen {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not the TOML that is expected.
    #[error("the key ring {path} is malformed: {problem}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong, without the value.
        problem: &'static str,
    },
    /// The keys cannot be made.
    #[error(transparent)]
    Store(#[from] crate::Error),
}

/// The permissions of a secret file, if more than this process may read it.
///
/// Its own file must be for its owner alone. A file that belongs to another account is there
/// because that account hands it over, and then its group is the way: Kubernetes mounts a
/// secret as `root:fsGroup` with mode 0440.
#[must_use]
pub fn too_open(file: &fs::Metadata) -> Option<u32> {
    let mode = file.mode() & 0o777;
    let is_own = file.uid() == rustix::process::geteuid().as_raw();
    is_too_open(mode, is_own).then_some(mode)
}

const fn is_too_open(mode: u32, is_own: bool) -> bool {
    let forbidden = if is_own { 0o077 } else { 0o037 };
    mode & forbidden != 0
}

/// The text of a secret, wiped when dropped.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
struct Encoded(String);

impl Drop for Encoded {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Encoded {
    fn of(secret: &Secret) -> Self {
        Self(STANDARD.encode(secret.as_ref()))
    }

    fn secret(&self) -> Option<Secret> {
        let bytes = Zeroizing::new(STANDARD.decode(self.0.trim()).ok()?);
        let mut secret = Zeroizing::new([0; 32]);
        if bytes.len() != secret.len() {
            return None;
        }
        secret.copy_from_slice(&bytes);
        Some(secret)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    wrap: Wrap,
    lookup: Single,
    token: Single,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrap {
    current: String,
    keys: BTreeMap<String, Encoded>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Single {
    key: Encoded,
}

impl KeyRing {
    /// Reads a key ring.
    ///
    /// # Errors
    /// [`Error::TooOpen`] if others have any permission (see [`too_open`]),
    /// [`Error::Malformed`], [`Error::Io`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let access = |source| Error::Io { path: path.to_owned(), source };
        if let Some(mode) = too_open(&fs::metadata(path).map_err(access)?) {
            return Err(Error::TooOpen { path: path.to_owned(), mode });
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(access)?);
        // The parser's own message quotes the line, and with it a key.
        let malformed = |problem| Error::Malformed { path: path.to_owned(), problem };
        let file: File = toml::from_str(&text).map_err(|_| {
            malformed("expected tables wrap (current, keys), lookup (key) and token (key)")
        })?;
        let not_a_key = || malformed("a key must be 32 bytes in base64");
        let mut wrap = BTreeMap::new();
        for (id, key) in &file.wrap.keys {
            wrap.insert(id.clone(), key.secret().ok_or_else(not_a_key)?);
        }
        let lookup = file.lookup.key.secret().ok_or_else(not_a_key)?;
        let token = file.token.key.secret().ok_or_else(not_a_key)?;
        Ok(Self::from_parts(file.wrap.current.clone(), wrap, lookup, token)?)
    }

    /// Writes a new key ring with mode 0600. Refuses to overwrite: keys that are gone are gone.
    ///
    /// # Errors
    /// [`Error::Io`], of kind `AlreadyExists` if there is a file.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        self.write_beside(path, |temporary| fs::hard_link(temporary, path))
    }

    /// Replaces a key ring by one with more keys.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn replace(&self, path: &Path) -> Result<(), Error> {
        self.write_beside(path, |temporary| fs::rename(temporary, path))
    }

    /// Reads the key ring, or makes it if there is none. Two processes that start at once end
    /// with the same one.
    ///
    /// # Errors
    /// As [`KeyRing::load`] and [`KeyRing::save`].
    pub fn load_or_generate(path: &Path) -> Result<Self, Error> {
        match Self::load(path) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            loaded => return loaded,
        }
        match Self::generate()?.save(path) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
            saved => saved?,
        }
        Self::load(path)
    }

    fn write_beside(
        &self,
        path: &Path,
        put: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), Error> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", uuid::Uuid::new_v4()));
        let temporary = path.with_file_name(name);
        let written = self.encode().and_then(|text| {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            put(&temporary)?;
            // The name is durable once its directory is.
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
        });
        // Gone already after a rename; left over after a link or a failure.
        let _ = fs::remove_file(&temporary);
        written.map_err(|source| Error::Io { path: path.to_owned(), source })
    }

    fn encode(&self) -> io::Result<Zeroizing<String>> {
        let keys = self.wrap.keys.iter();
        let file = File {
            wrap: Wrap {
                current: self.wrap.current.clone(),
                keys: keys.map(|(id, key)| (id.clone(), Encoded::of(key.secret()))).collect(),
            },
            lookup: Single { key: Encoded::of(&self.lookup_secret) },
            token: Single { key: Encoded::of(&self.token) },
        };
        toml::to_string(&file).map(Zeroizing::new).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::is_too_open;

    #[test]
    fn a_group_may_read_only_what_another_account_hands_over() {
        for (mode, is_own, refused) in [
            (0o600, true, false),
            (0o400, true, false),
            (0o440, true, true),
            (0o604, true, true),
            (0o440, false, false), // as Kubernetes mounts a secret for an fsGroup
            (0o400, false, false),
            (0o460, false, true),
            (0o444, false, true),
        ] {
            assert_eq!(is_too_open(mode, is_own), refused, "{mode:o}, own: {is_own}");
        }
    }
}
