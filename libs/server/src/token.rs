//! Tokens: EdDSA-signed JWTs (RFC 8037) with the tenant and the scopes of their holder.
//!
//! The algorithm is pinned, `kid` is nothing but a map key, and `iss`, `aud`, `exp`, `sub`
//! are required (the defaults of the JWT library accept a token without them). Internal
//! tokens have their own audience, and a key is trusted per audience: whoever may issue tokens
//! to users can still not issue internal ones. A write key is a token with scope
//! `profile:ingest` and a long life, revoked by its id.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use kernel::{Fault, Kind, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// `iss` of every token.
pub const ISSUER: &str = "rapport";
const LEEWAY_SECONDS: u64 = 5;
const CACHED_TOKENS: u64 = 10_000;
const MAX_TOKEN_BYTES: usize = 8 * 1024;
const INTERNAL_TTL: Duration = Duration::from_secs(60);
/// An internal token is replaced this long before it ends.
const INTERNAL_MARGIN: Duration = Duration::from_secs(15);

/// Whom a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Callers from outside.
    Public,
    /// The services of the suite among themselves.
    Internal,
}

impl Audience {
    /// The `aud` claim.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "rapport",
            Self::Internal => "rapport-internal",
        }
    }
}

/// A token that is not accepted, or a key that cannot be used. Never says why a token is
/// refused: that helps only those who forge them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Absent, forged, expired, for another audience, or revoked.
    #[error("the token is missing or not valid")]
    Refused,
    /// Not a usable Ed25519 key in PEM.
    #[error("not an Ed25519 key in PEM")]
    Key,
    /// Signing failed.
    #[error("the token cannot be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused => Kind::Unauthenticated,
            Self::Key | Self::Sign(_) => Kind::Internal,
        }
    }
}

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer: [`ISSUER`].
    pub iss: String,
    /// Audience: [`Audience::name`].
    pub aud: String,
    /// Who holds it.
    pub sub: String,
    /// Not after, in seconds since 1970.
    pub exp: u64,
    /// Not before.
    pub nbf: u64,
    /// Token id, for revocation.
    pub jti: String,
    /// The isolation boundary.
    pub tenant: Uuid,
    /// Separated by spaces.
    #[serde(default)]
    pub scope: String,
    /// Only of a token for browsers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browser: Option<Browser>,
}

/// What a token for browsers says besides: it may stand in the address of a stream, and pages
/// of other origins than these are refused by the gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Browser {
    /// `https://shop.example`; empty means any that the gateway's settings allow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
}

/// Who is calling, as the verified token says. In the extensions of every request that needs
/// a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The isolation boundary. The nil UUID for internal calls that span tenants (feeds).
    pub tenant: TenantId,
    /// Who.
    pub subject: String,
    /// What for.
    pub scopes: HashSet<String>,
    /// Another service of the suite: passes every scope rule.
    pub internal: bool,
    /// For audit and revocation.
    pub token_id: String,
    /// The token is one for browsers.
    pub browser: Option<Browser>,
}

/// What to put into a new token.
#[derive(Debug, Clone)]
pub struct Grant<'a> {
    /// Whom it is for.
    pub audience: Audience,
    /// The isolation boundary.
    pub tenant: TenantId,
    /// Who.
    pub subject: &'a str,
    /// What for.
    pub scopes: &'a [&'a str],
    /// How long from now.
    pub ttl: Duration,
}

/// Issues tokens. The key id is the first eight bytes of the public key's SHA-256 in hex.
#[derive(Clone)]
pub struct Signer {
    kid: String,
    public: Vec<u8>,
    key: EncodingKey,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl Signer {
    /// A new key pair and its PKCS#8 PEM, to be stored with mode 0600.
    ///
    /// # Errors
    /// [`Error::Key`] when the system gives no randomness.
    pub fn generate() -> Result<(Self, String), Error> {
        let pair = Ed25519KeyPair::generate().map_err(|_| Error::Key)?;
        let document = pair.to_pkcs8v1().map_err(|_| Error::Key)?;
        let pem = to_pem("PRIVATE KEY", document.as_ref());
        Ok((Self::from_pem(&pem)?, pem))
    }

    /// A key pair from PKCS#8 PEM.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let der = from_pem("PRIVATE KEY", pem)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| Error::Key)?;
        let public = pair.public_key().as_ref().to_vec();
        Ok(Self { kid: key_id(&public), public, key: EncodingKey::from_ed_der(&der) })
    }

    /// The public half, for [`Verifier`].
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.public.clone())
    }

    /// A signed token and its id.
    ///
    /// # Errors
    /// [`Error::Sign`].
    pub fn issue(&self, grant: &Grant<'_>) -> Result<(String, String), Error> {
        self.issue_with(grant, None)
    }

    /// The same for a browser.
    ///
    /// # Errors
    /// [`Error::Sign`].
    pub fn issue_for_browser(
        &self,
        grant: &Grant<'_>,
        browser: Browser,
    ) -> Result<(String, String), Error> {
        self.issue_with(grant, Some(browser))
    }

    fn issue_with(
        &self,
        grant: &Grant<'_>,
        browser: Option<Browser>,
    ) -> Result<(String, String), Error> {
        let now = now_seconds();
        let token_id = Uuid::now_v7().to_string();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: grant.audience.name().to_owned(),
            sub: grant.subject.to_owned(),
            exp: now.saturating_add(grant.ttl.as_secs()),
            nbf: now,
            jti: token_id.clone(),
            tenant: grant.tenant.uuid(),
            scope: grant.scopes.join(" "),
            browser,
        };
        Ok((self.sign(&claims)?, token_id))
    }

    /// A token of exactly these claims.
    ///
    /// # Errors
    /// [`Error::Sign`].
    pub fn sign(&self, claims: &Claims) -> Result<String, Error> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key).map_err(Error::Sign)
    }
}

/// An Ed25519 public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

/// DER of `SubjectPublicKeyInfo` up to the 32 key bytes (RFC 8410).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl PublicKey {
    /// From `-----BEGIN PUBLIC KEY-----`.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let der = from_pem("PUBLIC KEY", pem)?;
        let key = der.strip_prefix(&SPKI_PREFIX).filter(|key| key.len() == 32);
        key.map(|key| Self(key.to_vec())).ok_or(Error::Key)
    }

    /// As PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        to_pem("PUBLIC KEY", &[&SPKI_PREFIX, self.0.as_slice()].concat())
    }
}

/// Checks tokens. Cheap to clone; clones share the cache and the revocations.
#[derive(Clone)]
pub struct Verifier {
    keys: Arc<HashMap<(Audience, String), DecodingKey>>,
    revoked: Arc<ArcSwap<HashSet<String>>>,
    cache: moka::future::Cache<[u8; 32], (Arc<Principal>, u64)>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Verifier {
    /// Trusts each key for its audience only.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = (Audience, PublicKey)>) -> Self {
        let keys = keys
            .into_iter()
            .map(|(audience, key)| ((audience, key_id(&key.0)), DecodingKey::from_ed_der(&key.0)));
        Self {
            keys: Arc::new(keys.collect()),
            revoked: Arc::new(ArcSwap::default()),
            cache: moka::future::Cache::new(CACHED_TOKENS),
        }
    }

    /// Replaces the set of token ids that are refused from now on.
    pub fn set_revoked(&self, token_ids: HashSet<String>) {
        self.revoked.store(Arc::new(token_ids));
    }

    /// Who holds this token.
    ///
    /// # Errors
    /// [`Error::Refused`], whatever is wrong with it.
    pub async fn verify(&self, token: &str) -> Result<Arc<Principal>, Error> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Error::Refused);
        }
        let key = sha256(token.as_bytes());
        let known = self.cache.get(&key).await;
        let (principal, expires) = match known {
            Some(known) => known,
            None => {
                let checked = self.check(token).ok_or(Error::Refused)?;
                self.cache.insert(key, checked.clone()).await;
                checked
            }
        };
        let expired = expires.saturating_add(LEEWAY_SECONDS) < now_seconds();
        if expired || self.revoked.load().contains(&principal.token_id) {
            return Err(Error::Refused);
        }
        Ok(principal)
    }

    fn check(&self, token: &str) -> Option<(Arc<Principal>, u64)> {
        let kid = jsonwebtoken::decode_header(token).ok()?.kid?;
        for audience in [Audience::Public, Audience::Internal] {
            let Some(key) = self.keys.get(&(audience, kid.clone())) else { continue };
            let claims = jsonwebtoken::decode::<Claims>(token, key, &validation(audience));
            if let Ok(data) = claims {
                let claims = data.claims;
                let scopes = claims.scope.split_whitespace().map(str::to_owned).collect();
                let principal = Principal {
                    tenant: TenantId::new(claims.tenant),
                    subject: claims.sub,
                    scopes,
                    internal: audience == Audience::Internal,
                    token_id: claims.jti,
                    browser: claims.browser,
                };
                // Only services speak for no tenant at all.
                let bound = principal.internal || !claims.tenant.is_nil();
                return bound.then(|| (Arc::new(principal), claims.exp));
            }
        }
        None
    }
}

fn validation(audience: Audience) -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[audience.name()]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    validation
}

/// Mints the short-lived tokens by which services call each other, one per tenant, and keeps
/// each until shortly before it ends.
#[derive(Clone)]
pub struct InternalTokens {
    signer: Arc<Signer>,
    service: Arc<str>,
    cache: moka::future::Cache<TenantId, Arc<str>>,
}

impl std::fmt::Debug for InternalTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InternalTokens").field("service", &self.service).finish_non_exhaustive()
    }
}

impl InternalTokens {
    /// For the service of this name, which becomes the subject.
    #[must_use]
    pub fn new(signer: Signer, service: &str) -> Self {
        let cache = moka::future::Cache::builder()
            .max_capacity(CACHED_TOKENS)
            .time_to_live(INTERNAL_TTL - INTERNAL_MARGIN)
            .build();
        Self { signer: Arc::new(signer), service: service.into(), cache }
    }

    /// A token good for at least some seconds.
    ///
    /// # Errors
    /// [`Error::Sign`].
    pub async fn get(&self, tenant: TenantId) -> Result<Arc<str>, Error> {
        if let Some(token) = self.cache.get(&tenant).await {
            return Ok(token);
        }
        let (token, _) = self.signer.issue(&Grant {
            audience: Audience::Internal,
            tenant,
            subject: &self.service,
            scopes: &[],
            ttl: INTERNAL_TTL,
        })?;
        let token: Arc<str> = token.into();
        self.cache.insert(tenant, Arc::clone(&token)).await;
        Ok(token)
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn key_id(public: &[u8]) -> String {
    sha256(public)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn to_pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> =
        (0..body.len()).step_by(64).map(|start| &body[start..body.len().min(start + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn from_pem(label: &str, pem: &str) -> Result<Vec<u8>, Error> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let (_, rest) = pem.split_once(&begin).ok_or(Error::Key)?;
    let (body, _) = rest.split_once(&end).ok_or(Error::Key)?;
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    STANDARD.decode(body).map_err(|_| Error::Key)
}
