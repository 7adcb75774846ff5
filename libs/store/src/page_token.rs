//! Opaque tokens of List and Watch calls: the position, sealed and bound to the tenant, the
//! method and the filter it was made for.
//!
//! A caller can neither read a position (it may contain a key) nor make one up, nor carry it
//! to another tenant, method or filter.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::{TenantId, Violations};

use crate::envelope::{self, DataKey};
use crate::error::Error;
use crate::keys::KeyRing;

/// Longer tokens are not ours.
const MAX_LENGTH: usize = 4_096;

/// What a token is good for.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Whose.
    pub tenant: TenantId,
    /// The full name of the method, e.g. `rapport.routing.v1.RoutingService/ListDemands`.
    pub method: &'a str,
    /// The encoded filter of the request, without page size and token; empty for none.
    pub filter: &'a [u8],
}

/// Seals and opens tokens; cheap to clone.
#[derive(Clone)]
pub struct TokenSealer {
    key: Arc<DataKey>,
}

impl fmt::Debug for TokenSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSealer")
    }
}

impl TokenSealer {
    /// A sealer with the ring's token key.
    ///
    /// # Errors
    /// [`Error::Internal`] if the key is not one.
    pub fn new(ring: &KeyRing) -> Result<Self, Error> {
        Ok(Self { key: Arc::new(DataKey::from_secret((*ring.token).clone())?) })
    }

    /// The token for a position.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system has no randomness.
    pub fn seal(&self, scope: &Scope<'_>, position: &[u8]) -> Result<String, Error> {
        let sealed = envelope::seal(&self.key, &aad(scope), position)?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The position of a `page_token`; none for an empty token (the first page).
    ///
    /// # Errors
    /// A violation of `page_token` for anything but a token of this scope.
    pub fn page(&self, scope: &Scope<'_>, token: &str) -> Result<Option<Vec<u8>>, Violations> {
        self.open("page_token", scope, token)
    }

    /// The position of a `resume_token`; none for an empty token (from now on).
    ///
    /// # Errors
    /// A violation of `resume_token` for anything but a token of this scope.
    pub fn resume(&self, scope: &Scope<'_>, token: &str) -> Result<Option<Vec<u8>>, Violations> {
        self.open("resume_token", scope, token)
    }

    fn open(
        &self,
        field: &str,
        scope: &Scope<'_>,
        token: &str,
    ) -> Result<Option<Vec<u8>>, Violations> {
        if token.is_empty() {
            return Ok(None);
        }
        let foreign = || {
            Violations::of(field, "must be a token that this method returned for the same filter")
        };
        if token.len() > MAX_LENGTH {
            return Err(foreign());
        }
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| foreign())?;
        envelope::open(&self.key, &aad(scope), &sealed).map(Some).map_err(|_| foreign())
    }
}

fn aad(scope: &Scope<'_>) -> Vec<u8> {
    envelope::place(scope.tenant, scope.method, scope.filter)
}
