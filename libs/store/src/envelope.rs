//! Envelope encryption: the root key wraps tenant keys, a tenant key wraps data keys (one per
//! evidence), a data key seals rows. Destroying a wrapped key destroys what it sealed.
//!
//! AES-256-GCM with random 96-bit nonces: safe for 2³² seals per key (NIST SP 800-38D §8.3),
//! far above what one evidence sees. Sealed form: format (1 byte, = 1), nonce (12), ciphertext,
//! tag (16). The associated data binds a sealed value to its place; see [`place`].

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use kernel::TenantId;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::keys::{Secret, random_secret};
use crate::tenant_keys::TenantKey;

const FORMAT: u8 = 1;
const HEADER: usize = 1 + NONCE_LEN;
const TAG: usize = 16;
/// How much longer a sealed value is than its plain text.
pub const OVERHEAD: usize = HEADER + TAG;

/// A key that seals rows; wiped when dropped, never printed.
pub struct DataKey {
    secret: Secret,
    aead: LessSafeKey,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

impl DataKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system has no randomness.
    pub fn generate() -> Result<Self, Error> {
        Self::from_secret(random_secret()?)
    }

    pub(crate) fn from_secret(secret: Secret) -> Result<Self, Error> {
        let unbound = UnboundKey::new(&AES_256_GCM, secret.as_ref())
            .map_err(|_| Error::internal("not an AES-256 key"))?;
        Ok(Self { secret, aead: LessSafeKey::new(unbound) })
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        let mut secret: Secret = Zeroizing::new([0; 32]);
        if bytes.len() != secret.len() {
            return Err(Error::Decrypt);
        }
        secret.copy_from_slice(bytes);
        Self::from_secret(secret)
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// This key, sealed by the tenant's key, bound to its place.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system has no randomness.
    pub fn wrap(&self, tenant_key: &TenantKey, aad: &[u8]) -> Result<Vec<u8>, Error> {
        seal(tenant_key.key(), aad, self.secret.as_ref())
    }

    /// The key that [`DataKey::wrap`] sealed.
    ///
    /// # Errors
    /// [`Error::Decrypt`] for another tenant's key, another place or damaged bytes.
    pub fn unwrap(tenant_key: &TenantKey, aad: &[u8], wrapped: &[u8]) -> Result<Self, Error> {
        Self::from_slice(&Zeroizing::new(open(tenant_key.key(), aad, wrapped)?))
    }
}

/// The associated data of a value: tenant, table (or table and column), subject. Unambiguous:
/// the tenant has a fixed length and the table's length is part of it.
#[must_use]
pub fn place(tenant: TenantId, table: &str, subject: &[u8]) -> Vec<u8> {
    let mut aad = Vec::with_capacity(16 + 4 + table.len() + subject.len());
    aad.extend_from_slice(tenant.as_bytes());
    aad.extend_from_slice(&(table.len() as u32).to_be_bytes());
    aad.extend_from_slice(table.as_bytes());
    aad.extend_from_slice(subject);
    aad
}

/// Encrypts and authenticates `plaintext` together with `aad`.
///
/// # Errors
/// [`Error::Internal`] if the system has no randomness.
pub fn seal(key: &DataKey, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).map_err(|_| Error::internal("no randomness"))?;
    let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD);
    sealed.push(FORMAT);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plaintext);
    let tag = key
        .aead
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            &mut sealed[HEADER..],
        )
        .map_err(|_| Error::internal("encryption failed"))?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Decrypts what [`seal`] made with the same key and `aad`.
///
/// # Errors
/// [`Error::Decrypt`] for anything else.
pub fn open(key: &DataKey, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
    let (header, body) = sealed.split_at_checked(HEADER).ok_or(Error::Decrypt)?;
    let (format, nonce) = header.split_first().ok_or(Error::Decrypt)?;
    if *format != FORMAT {
        return Err(Error::Decrypt);
    }
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Decrypt)?;
    let mut plaintext = body.to_vec();
    let length = key
        .aead
        .open_in_place(nonce, Aad::from(aad), &mut plaintext)
        .map_err(|_| Error::Decrypt)?
        .len();
    plaintext.truncate(length);
    Ok(plaintext)
}
