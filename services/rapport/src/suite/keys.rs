//! The keys of an installation, in one directory, each file for its owner only.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use server::token::{Audience, InternalTokens, Signer, Verifier};
use store::KeyRing;
use uuid::Uuid;

/// The key ring, and the two signers.
const FILES: [&str; 3] = ["keys.toml", "token-signing.pem", "internal-signing.pem"];

/// What encrypts, and what signs.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Wraps tenants' keys, makes blind indexes, seals page tokens.
    pub ring: Arc<KeyRing>,
    /// Signs the tokens of callers.
    pub signer: Signer,
    /// Signs the tokens by which services call each other.
    pub internal: Signer,
}

impl Keys {
    /// Reads the keys, or makes them at the first start.
    ///
    /// # Errors
    /// When a file is not readable, readable by others, or not a key.
    pub fn load_or_generate(directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)
            .with_context(|| format!("creating {}", directory.display()))?;
        Ok(Self {
            ring: Arc::new(KeyRing::load_or_generate(&directory.join(FILES[0]))?),
            signer: signer(&directory.join(FILES[1]))?,
            internal: signer(&directory.join(FILES[2]))?,
        })
    }

    /// Reads the keys that must be there: a served replica never makes its own.
    ///
    /// # Errors
    /// As above, and when one is absent.
    pub fn load(directory: &Path) -> anyhow::Result<Self> {
        for file in FILES {
            if !directory.join(file).is_file() {
                bail!("{} is not there (keys.directory)", directory.join(file).display());
            }
        }
        Self::load_or_generate(directory)
    }

    /// Trusts both signers, each for its own audience.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier::new([
            (Audience::Public, self.signer.public_key()),
            (Audience::Internal, self.internal.public_key()),
        ])
    }

    /// The tokens of a service towards the others.
    #[must_use]
    pub fn internal_tokens(&self, service: &str) -> InternalTokens {
        InternalTokens::new(self.internal.clone(), service)
    }
}

/// Two processes that start at once end with the same one.
fn signer(path: &Path) -> anyhow::Result<Signer> {
    if !path.exists() {
        let (_, pem) = Signer::generate()?;
        write_new(path, pem.as_bytes()).with_context(|| format!("creating {}", path.display()))?;
    }
    let reading = || format!("reading {}", path.display());
    if let Some(mode) = store::key_file::too_open(&fs::metadata(path).with_context(reading)?) {
        bail!("{} has mode {mode:o}: others may read it, set it to 600", path.display());
    }
    let pem = fs::read_to_string(path).with_context(reading)?;
    Signer::from_pem(&pem).with_context(|| format!("{} is not a key", path.display()))
}

/// Whole or not at all: written beside its place and linked there, unless one is there by then.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", Uuid::new_v4().simple()));
    let temporary = path.with_file_name(name);
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // The name is durable once its directory is.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    };
    let written = write();
    let _ = fs::remove_file(&temporary);
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_made_once_whole_and_refused_when_others_may_read_them() {
        let name = format!("rapport-keys-{}", Uuid::new_v4().simple());
        let directory = std::env::temp_dir().join(name);
        let first = Keys::load_or_generate(&directory).expect("made");
        let again = Keys::load(&directory).expect("read");
        assert_eq!(first.signer.public_key(), again.signer.public_key());
        let mut files: Vec<_> = fs::read_dir(&directory)
            .expect("listed")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        files.sort();
        let mut expected = FILES;
        expected.sort_unstable();
        assert_eq!(files, expected, "nothing is left beside them");

        for file in FILES {
            let path = directory.join(file);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened");
            let error = Keys::load(&directory).expect_err("readable by others");
            assert!(format!("{error:#}").contains("set it to 600"), "{error:#}");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("closed");
        }
        // A key that another start has put there meanwhile is not written over.
        let path = directory.join(FILES[1]);
        let before = fs::read(&path).expect("read");
        write_new(&path, b"another").expect("left alone");
        assert_eq!(fs::read(&path).expect("read"), before);
        fs::remove_dir_all(&directory).expect("removed");
    }
}
