//! Browsers of every origin may send events: a write key is public, stands in the page, and
//! gives the right to send events and nothing else. So the origin is echoed, and cookies are
//! neither asked for nor read.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, OPTIONS");
/// What the SDKs send, and what tracing adds in a browser.
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, content-encoding, x-write-key, x-retry-count, x-request-id, \
     anonymousid, traceparent, tracestate, baggage",
);
const EXPOSED: HeaderValue = HeaderValue::from_static("retry-after");
/// A day; browsers cut it to what they like.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");
/// A sender of CloudEvents that asks first whether it is welcome (CloudEvents, HTTP webhooks 4).
const WEBHOOK_ORIGIN: &str = "webhook-request-origin";

/// A layer around the paths of events.
pub(crate) async fn allow(request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        asked(request.headers())
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    response
}

/// The answer to a question beforehand.
fn asked(asking: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, METHODS);
    if asking.contains_key(header::ORIGIN) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    if let Some(origin) = asking.get(WEBHOOK_ORIGIN) {
        headers.insert("webhook-allowed-origin", origin.clone());
        headers.insert("webhook-allowed-rate", HeaderValue::from_static("*"));
    }
    response
}
