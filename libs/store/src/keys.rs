//! The key ring: one TOML file, readable by its owner only, equal in every service.
//!
//! ```toml
//! [wrap]
//! current = "1"          # new tenant keys are wrapped with this one
//! [wrap.keys]
//! 1 = "base64, 32 bytes" # older ones stay to unwrap
//! [lookup]
//! key = "base64, 32 bytes"   # blind indexes and evidence ids; cannot be rotated
//! [token]
//! key = "base64, 32 bytes"   # page and resume tokens
//! ```
//!
//! Per-tenant lookup keys are HKDF-SHA256 (RFC 5869) of the lookup key, so that every service
//! derives the same. Keys are wiped when dropped and never appear in a `Debug`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::{hmac, rand};
use kernel::TenantId;
use zeroize::Zeroizing;

use crate::envelope::{self, DataKey};
use crate::error::Error;

/// 32 secret bytes, wiped when dropped.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// 32 random bytes.
pub(crate) fn random_secret() -> Result<Secret, Error> {
    let mut secret = Zeroizing::new([0; 32]);
    rand::fill(secret.as_mut()).map_err(|_| Error::internal("no randomness"))?;
    Ok(secret)
}

/// All keys of a deployment; cheap to clone.
#[derive(Clone)]
pub struct KeyRing {
    pub(crate) wrap: Arc<RootKeys>,
    pub(crate) lookup: Arc<LookupKeys>,
    pub(crate) lookup_secret: Arc<Secret>,
    pub(crate) token: Arc<Secret>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing")
    }
}

impl KeyRing {
    /// New random keys.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system has no randomness.
    pub fn generate() -> Result<Self, Error> {
        let wrap = BTreeMap::from([("1".to_owned(), random_secret()?)]);
        Self::from_parts("1".to_owned(), wrap, random_secret()?, random_secret()?)
    }

    pub(crate) fn from_parts(
        current: String,
        wrap: BTreeMap<String, Secret>,
        lookup: Secret,
        token: Secret,
    ) -> Result<Self, Error> {
        Ok(Self {
            wrap: Arc::new(RootKeys::new(current, wrap)?),
            lookup: Arc::new(LookupKeys::new(&lookup)),
            lookup_secret: Arc::new(lookup),
            token: Arc::new(token),
        })
    }

    /// The same ring with a new wrap key, which becomes the current one.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system has no randomness.
    pub fn with_new_wrap_key(&self) -> Result<Self, Error> {
        let newest = self.wrap.keys.keys().filter_map(|id| id.parse::<u32>().ok()).max();
        let current = newest.map_or(1, |id| id + 1).to_string();
        let mut wrap: BTreeMap<_, _> =
            self.wrap.keys.iter().map(|(id, key)| (id.clone(), key.secret().clone())).collect();
        wrap.insert(current.clone(), random_secret()?);
        Self::from_parts(current, wrap, (*self.lookup_secret).clone(), (*self.token).clone())
    }

    /// The keys that wrap tenant keys.
    #[must_use]
    pub fn root(&self) -> &Arc<RootKeys> {
        &self.wrap
    }

    /// The keys of blind indexes and evidence ids.
    #[must_use]
    pub fn lookup(&self) -> &Arc<LookupKeys> {
        &self.lookup
    }
}

/// The keys that wrap tenant keys: one current, older ones to unwrap.
pub struct RootKeys {
    pub(crate) current: String,
    pub(crate) keys: BTreeMap<String, DataKey>,
}

impl fmt::Debug for RootKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootKeys").field("current", &self.current).finish_non_exhaustive()
    }
}

impl RootKeys {
    fn new(current: String, secrets: BTreeMap<String, Secret>) -> Result<Self, Error> {
        if !secrets.contains_key(&current) {
            return Err(Error::internal("the current wrap key is not in the key ring"));
        }
        if secrets.keys().any(|id| id.is_empty() || id.len() > 255) {
            return Err(Error::internal("a wrap key id must have 1 to 255 bytes"));
        }
        let mut keys = BTreeMap::new();
        for (id, secret) in secrets {
            keys.insert(id, DataKey::from_secret(secret)?);
        }
        Ok(Self { current, keys })
    }

    /// Wraps a key: length and id of the root key, then the sealed key. `aad` binds it to its
    /// place.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system has no randomness.
    pub fn wrap(&self, key: &DataKey, aad: &[u8]) -> Result<Vec<u8>, Error> {
        let root = self.keys.get(&self.current).ok_or(Error::Decrypt)?;
        let length = u8::try_from(self.current.len()).map_err(Error::internal)?;
        let mut wrapped = vec![length];
        wrapped.extend_from_slice(self.current.as_bytes());
        wrapped.extend(envelope::seal(root, aad, key.secret().as_ref())?);
        Ok(wrapped)
    }

    /// Opens a wrapped key.
    ///
    /// # Errors
    /// [`Error::Decrypt`] when the root key is missing, or the place or the bytes differ.
    pub fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<DataKey, Error> {
        let (id, sealed) = split(wrapped).ok_or(Error::Decrypt)?;
        let root = self.keys.get(id).ok_or(Error::Decrypt)?;
        DataKey::from_slice(&Zeroizing::new(envelope::open(root, aad, sealed)?))
    }

    /// False for a key that should be wrapped anew with the current root key.
    #[must_use]
    pub fn is_current(&self, wrapped: &[u8]) -> bool {
        split(wrapped).is_some_and(|(id, _)| id == self.current)
    }
}

fn split(wrapped: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = wrapped.split_first()?;
    let (id, sealed) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(id).ok()?, sealed))
}

/// Derives the lookup keys of tenants, and remembers them.
pub struct LookupKeys {
    source: Prk,
    derived: RwLock<HashMap<TenantId, Arc<TenantLookup>>>,
}

/// More tenants than this and the memory of derived keys starts afresh.
const REMEMBERED_TENANTS: usize = 10_000;

impl fmt::Debug for LookupKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LookupKeys")
    }
}

impl LookupKeys {
    fn new(secret: &Secret) -> Self {
        let source = Salt::new(HKDF_SHA256, b"rapport lookup v1").extract(secret.as_ref());
        Self { source, derived: RwLock::new(HashMap::new()) }
    }

    /// The lookup keys of a tenant: the same in every service, for ever.
    ///
    /// # Errors
    /// [`Error::Internal`] if the derivation fails.
    pub fn tenant(&self, tenant: TenantId) -> Result<Arc<TenantLookup>, Error> {
        let known =
            self.derived.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned();
        if let Some(lookup) = known {
            return Ok(lookup);
        }
        let lookup = Arc::new(TenantLookup::derive(&self.source, tenant)?);
        let mut derived = self.derived.write().unwrap_or_else(PoisonError::into_inner);
        if derived.len() >= REMEMBERED_TENANTS {
            derived.clear();
        }
        derived.insert(tenant, Arc::clone(&lookup));
        Ok(lookup)
    }
}

/// The lookup keys of one tenant, one per purpose.
pub struct TenantLookup {
    evidence: Secret,
    pub(crate) index: hmac::Key,
    pub(crate) fingerprint: hmac::Key,
}

impl fmt::Debug for TenantLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TenantLookup")
    }
}

struct ThirtyTwo;

impl KeyType for ThirtyTwo {
    fn len(&self) -> usize {
        32
    }
}

impl TenantLookup {
    fn derive(source: &Prk, tenant: TenantId) -> Result<Self, Error> {
        let of = |label: &str| -> Result<Secret, Error> {
            let mut secret = Zeroizing::new([0; 32]);
            source
                .expand(&[label.as_bytes(), &[0], tenant.as_bytes()], ThirtyTwo)
                .and_then(|key| key.fill(secret.as_mut()))
                .map_err(|_| Error::internal("key derivation failed"))?;
            Ok(secret)
        };
        Ok(Self {
            evidence: of("evidence")?,
            index: hmac::Key::new(hmac::HMAC_SHA256, of("index")?.as_ref()),
            fingerprint: hmac::Key::new(hmac::HMAC_SHA256, of("fingerprint")?.as_ref()),
        })
    }

    /// The key of evidence ids (`libs/linkage`).
    #[must_use]
    pub fn evidence_key(&self) -> &[u8; 32] {
        &self.evidence
    }
}
