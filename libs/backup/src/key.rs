//! The backup key: 32 random bytes in base64, in a file that only its owner can read.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::{Error, at};

const LENGTH: usize = 32;

/// Seals everything that is kept. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Key {
    secret: Zeroizing<[u8; LENGTH]>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

struct ThirtyTwo;

impl KeyType for ThirtyTwo {
    fn len(&self) -> usize {
        LENGTH
    }
}

impl Key {
    /// A new random key.
    ///
    /// # Errors
    /// [`Error::Cryptography`].
    pub fn generate() -> Result<Self, Error> {
        let mut secret = Zeroizing::new([0; LENGTH]);
        rand::fill(secret.as_mut()).map_err(|_| Error::Cryptography)?;
        Ok(Self { secret })
    }

    /// Reads the key.
    ///
    /// # Errors
    /// [`Error::Key`] if it is not there, open to others, or no key.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Key { path: path.to_path_buf(), reason };
        let facts = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => refuse(
                "is not there; without the key that a backup was made with it cannot be read"
                    .to_owned(),
            ),
            _ => at(path)(error),
        })?;
        if let Some(mode) = store::key_file::too_open(&facts) {
            return Err(refuse(format!("has mode {mode:o}: others may read it, set it to 600")));
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(at(path))?);
        let bytes = STANDARD.decode(text.trim()).map(Zeroizing::new);
        let mut secret = Zeroizing::new([0; LENGTH]);
        match bytes {
            Ok(bytes) if bytes.len() == LENGTH => secret.copy_from_slice(&bytes),
            _ => return Err(refuse("must be 32 bytes in base64".to_owned())),
        }
        Ok(Self { secret })
    }

    /// Reads the key, or makes it; true if it was made now. Two that start at once end with
    /// the same one.
    ///
    /// # Errors
    /// As [`Key::load`]; [`Error::Io`] if it cannot be written.
    pub fn load_or_generate(path: &Path) -> Result<(Self, bool), Error> {
        if path.exists() {
            return Ok((Self::load(path)?, false));
        }
        let made = Self::generate()?.save(path)?;
        Ok((Self::load(path)?, made))
    }

    /// False if there is one already, which stays.
    fn save(&self, path: &Path) -> Result<bool, Error> {
        let temporary = beside(path);
        let write = || -> io::Result<bool> {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            let text = Zeroizing::new(STANDARD.encode(self.secret.as_ref()));
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            match fs::hard_link(&temporary, path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
                Err(error) => return Err(error),
            }
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(true)
        };
        let written = write();
        let _ = fs::remove_file(&temporary);
        written.map_err(at(path))
    }

    /// A key for one purpose (RFC 5869).
    fn derive(&self, salt: &[u8], label: &str) -> Result<Zeroizing<[u8; LENGTH]>, Error> {
        let mut derived = Zeroizing::new([0; LENGTH]);
        Salt::new(HKDF_SHA256, salt)
            .extract(self.secret.as_ref())
            .expand(&[b"rapport backup v1", &[0], label.as_bytes()], ThirtyTwo)
            .and_then(|key| key.fill(derived.as_mut()))
            .map_err(|_| Error::Cryptography)?;
        Ok(derived)
    }

    pub(crate) fn cipher(&self, salt: &[u8], label: &str) -> Result<LessSafeKey, Error> {
        let derived = self.derive(salt, label)?;
        let unbound =
            UnboundKey::new(&AES_256_GCM, derived.as_ref()).map_err(|_| Error::Cryptography)?;
        Ok(LessSafeKey::new(unbound))
    }

    pub(crate) fn mac(&self, label: &str) -> Result<hmac::Key, Error> {
        Ok(hmac::Key::new(hmac::HMAC_SHA256, self.derive(b"", label)?.as_ref()))
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
    path.with_file_name(name)
}
