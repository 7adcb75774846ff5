//! Which pages may call: those of the origins in the settings, compared as they are, and the
//! gateway's own. Everybody else's requests are refused, not only left without CORS headers:
//! a page need not be able to read an answer to do harm.
//!
//! A request without `Origin` is none of a foreign page: it is a program, which could write
//! any origin it likes, or a page of the gateway's own.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use server::layers::request_id;
use tonic::Status;

use super::failure::Refusal;
use super::{Api, call, failure, watch};

const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST");
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, content-encoding, accept, connect-protocol-version, \
     connect-timeout-ms, grpc-timeout, x-grpc-web, x-user-agent, x-request-id, traceparent, \
     tracestate, last-event-id",
);
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "x-request-id, retry-after, grpc-status, grpc-message, grpc-status-details-bin",
);
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("7200");

/// The origins of the settings.
#[derive(Debug)]
pub(crate) struct Origins(HashSet<String>);

/// Where a request comes from.
#[derive(Debug)]
enum From {
    Nowhere,
    /// A page that the gateway itself has served.
    Own,
    Allowed(HeaderValue),
    Foreign,
}

impl Origins {
    pub(crate) fn new(allowed: &[String]) -> Self {
        Self(allowed.iter().cloned().collect())
    }

    pub(crate) fn contains(&self, origin: &str) -> bool {
        self.0.contains(origin)
    }

    fn judge(&self, headers: &HeaderMap) -> From {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else { return From::Nowhere };
        let text = origin.to_str().ok().filter(|_| origins.next().is_none());
        match text {
            Some(text) if self.contains(text) => From::Allowed(origin.clone()),
            Some(text) if is_own(text, headers) => From::Own,
            _ => From::Foreign,
        }
    }
}

/// The host that the request was sent to; the scheme is the load balancer's.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    authority.is_some() && authority == host
}

/// `https://shop.example`, with a port if need be, as browsers write it.
pub(crate) fn is_well_formed(origin: &str) -> bool {
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let allowed = |byte: u8| plain(byte) || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    host.is_some_and(|host| host.len() <= 260 && !host.is_empty() && host.bytes().all(allowed))
}

/// Around everything here: the origin, the request id, the counting.
pub(crate) async fn guard(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = request_id::taken_or_new(request.headers());
    let id = HeaderValue::from_str(&id).ok();
    if let Some(id) = &id {
        request.headers_mut().insert(request_id::HEADER, id.clone());
    }
    let from = api.origins.judge(request.headers());
    let mut response = match &from {
        From::Foreign => failure::response(&Refusal::Origin.into()),
        _ if is_preflight(&request) => preflight(),
        From::Nowhere => next.run(request).await,
        From::Own | From::Allowed(_) => {
            let origin = request.headers().get(header::ORIGIN).cloned();
            match api.check_bound(token(&request), origin).await {
                Ok(()) => next.run(request).await,
                Err(status) => failure::response(&status),
            }
        }
    };
    api.metrics.answered(response.status());
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(id) = id {
        headers.insert(request_id::HEADER, id);
    }
    if let From::Allowed(origin) = from {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    }
    response
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Wherever it stands.
fn token(request: &Request) -> Option<String> {
    let in_header = call::bearer(request.headers()).map(str::to_owned);
    in_header.or_else(|| watch::access_token(request.uri()))
}

fn preflight() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
    response
}

impl Api {
    /// A token for browsers may be bound to origins. One that is not valid is left to the
    /// service, which refuses it.
    async fn check_bound(
        &self,
        token: Option<String>,
        origin: Option<HeaderValue>,
    ) -> Result<(), Status> {
        let Ok(principal) = self.verifier.verify(&token.unwrap_or_default()).await else {
            return Ok(());
        };
        let Some(browser) = &principal.browser else { return Ok(()) };
        let is_bound_here = |bound: &String| origin.as_ref().is_some_and(|origin| origin == bound);
        if browser.origins.is_empty() || browser.origins.iter().any(is_bound_here) {
            return Ok(());
        }
        Err(Refusal::Origin.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_as_they_are() {
        let origins = Origins::new(&["https://shop.example".to_owned()]);
        let from = |origin: &str| {
            let headers = [(header::ORIGIN, origin), (header::HOST, "api.example:7480")];
            let headers = headers.map(|(name, value)| (name, value.parse().unwrap()));
            origins.judge(&HeaderMap::from_iter(headers))
        };
        assert!(matches!(from("https://shop.example"), From::Allowed(_)));
        assert!(matches!(from("http://api.example:7480"), From::Own));
        for hostile in [
            "https://shop.example.evil.com",
            "https://evil.com/https://shop.example",
            "http://shop.example",
            "https://shop.example:8443",
            "https://Shop.example",
            "https://shopxexample",
            "https://api.example",
            "null",
            "",
        ] {
            assert!(matches!(from(hostile), From::Foreign), "{hostile}");
        }
    }

    #[test]
    fn what_a_setting_may_name() {
        for good in ["https://shop.example", "http://localhost:5173", "http://[::1]:80"] {
            assert!(is_well_formed(good), "{good}");
        }
        for bad in
            ["*", "null", "shop.example", "https://", "https://a.b/", "https://*.a.b", "HTTPS://a"]
        {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }
}
