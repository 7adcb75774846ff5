//! Who is calling: verifies the bearer token and puts the [`Principal`] into the extensions.
//! Public methods pass without; methods that do not exist are left to authorisation.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::{Around, Request, Response, Rpc, method, refuse};
use crate::auth::Rule;
use crate::status::status;
use crate::token::{Error, Principal, Verifier};

/// See the module.
#[derive(Debug, Clone)]
pub struct Authentication(Verifier);

impl Authentication {
    /// By this verifier.
    #[must_use]
    pub const fn new(verifier: Verifier) -> Self {
        Self(verifier)
    }
}

impl Around for Authentication {
    async fn around<R: Rpc>(&self, mut request: Request, rest: &R) -> Response {
        let rule = method(&request).and_then(|method| method.rule.as_ref());
        if matches!(rule, None | Some(Rule::Public)) {
            return rest.call(request).await;
        }
        let principal = match bearer(request.headers()) {
            Some(token) => self.0.verify(token).await,
            None => Err(Error::Refused),
        };
        match principal {
            Ok(principal) => {
                request.extensions_mut().insert::<std::sync::Arc<Principal>>(principal);
                rest.call(request).await
            }
            Err(error) => refuse(status(&error)),
        }
    }
}

/// The token of `authorization: Bearer …`; none when there are several such headers.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, second) = (values.next()?, values.next());
    let (scheme, token) = value.to_str().ok().filter(|_| second.is_none())?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
