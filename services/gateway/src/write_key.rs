//! Write keys: signed tokens with scope `profile:ingest`, revocable by id.
//!
//! Where one is looked for, in this order: `Authorization` (user of Basic; Bearer; or the bare
//! key, as Dittofeed's SDKs send it), `X-Write-Key` (with or without a secret behind a colon, as
//! Jitsu's do), the body, `?writeKey=`.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use server::Principal;
use server::token::{Browser, Verifier};

use crate::answer::Refusal;

const SCOPE: &str = "profile:ingest";

/// The key in the headers.
pub(crate) fn in_headers(headers: &HeaderMap) -> Option<String> {
    let authorization = headers.get(header::AUTHORIZATION);
    let authorized = authorization.and_then(|value| authorized(value.to_str().ok()?));
    let own = || {
        let value = headers.get("x-write-key")?.to_str().ok()?;
        Some(value.split(':').next()?.trim().to_owned())
    };
    authorized.or_else(own).filter(|key| !key.is_empty())
}

fn authorized(value: &str) -> Option<String> {
    let value = value.trim();
    let Some((scheme, credentials)) = value.split_once(' ') else {
        return (!value.is_empty()).then(|| value.to_owned());
    };
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    Some(decoded.split(':').next()?.to_owned())
}

/// The key in the query. Tokens have no character that is escaped there.
pub(crate) fn in_query(parts: &Parts) -> Option<String> {
    let query = parts.uri.query()?;
    let value = |pair: &str| Some(pair.strip_prefix("writeKey=")?.to_owned());
    query.split('&').find_map(value).filter(|key| !key.is_empty())
}

/// Who holds the key. Keys of services among themselves are none here, and one that is bound to
/// origins is none on pages of others.
pub(crate) async fn holder(
    verifier: &Verifier,
    headers: &HeaderMap,
    key: &str,
) -> Result<Arc<Principal>, Refusal> {
    let principal = verifier.verify(key).await.map_err(|_| Refusal::UnknownKey)?;
    if principal.internal || !principal.scopes.contains(SCOPE) {
        return Err(Refusal::UnknownKey);
    }
    if principal.browser.as_ref().is_some_and(|browser| !is_bound_here(browser, headers)) {
        return Err(Refusal::Origin);
    }
    Ok(principal)
}

/// Without `Origin` it is a program, which could write any origin it likes.
fn is_bound_here(browser: &Browser, headers: &HeaderMap) -> bool {
    let is_one_of = |origin: &HeaderValue| browser.origins.iter().any(|bound| origin == bound);
    browser.origins.is_empty() || headers.get_all(header::ORIGIN).iter().all(is_one_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_key_is_found_wherever_sdks_put_it() {
        let basic = format!("Basic {}", STANDARD.encode("k1:"));
        assert_eq!(in_headers(&headers(&[("authorization", &basic)])).unwrap(), "k1");
        let bare = format!("basic {}", STANDARD.encode("k1"));
        assert_eq!(in_headers(&headers(&[("authorization", &bare)])).unwrap(), "k1");
        assert_eq!(in_headers(&headers(&[("x-write-key", "k2:secret")])).unwrap(), "k2");
        let both = headers(&[("authorization", &basic), ("x-write-key", "k2")]);
        assert_eq!(in_headers(&both).unwrap(), "k1");
        for (value, key) in [("Bearer k3", "k3"), ("k4", "k4")] {
            assert_eq!(in_headers(&headers(&[("authorization", value)])).unwrap(), key);
        }
        for none in ["Digest x", "Basic !", ""] {
            assert_eq!(in_headers(&headers(&[("authorization", none)])), None, "{none}");
        }
    }
}
