//! The keys of an installation, in one directory, each file for its owner only.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use server::token::{Audience, InternalTokens, Signer, Verifier};
use store::KeyRing;

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

fn signer(path: &Path) -> anyhow::Result<Signer> {
    if path.exists() {
        let pem =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        return Signer::from_pem(&pem).with_context(|| format!("{} is not a key", path.display()));
    }
    let (signer, pem) = Signer::generate()?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("creating {}", path.display()))?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    Ok(signer)
}
