//! `GET /v1/projects/{key}/settings`: what a browser SDK asks before it sends anything.
//!
//! Every key gets the same answer, also an unknown one: a key is judged when events come, with a
//! message; a 404 here would only stop the page's script without a word, and would tell strangers
//! which keys exist. The answer sends the SDK back to the host that it asked.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// The answer depends on the host that was asked, which not every shared cache keeps apart.
const CACHE: HeaderValue = HeaderValue::from_static("private, max-age=300");

/// Serves the settings of a project.
pub(crate) async fn settings(Path(key): Path<String>, headers: HeaderMap) -> Response {
    let mut segment = json!({ "apiKey": key });
    if let Some(host) = host(&headers) {
        segment["apiHost"] = format!("{host}/v1").into();
        segment["protocol"] = protocol(&headers).into();
    }
    let body = Json(json!({
        "integrations": { "Segment.io": segment },
        "plan": { "track": { "__default": { "enabled": true, "integrations": {} } } },
        "edgeFunction": {},
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": { "sampleRate": 0 },
        "legacyVideoPluginsEnabled": false,
        "remotePlugins": [],
    }));
    ([(header::CACHE_CONTROL, CACHE)], body).into_response()
}

fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_plain)).then_some(host)
}

/// The load balancer ends TLS, and says so.
fn protocol(headers: &HeaderMap) -> &'static str {
    let forwarded = headers.get("x-forwarded-proto").and_then(|proto| proto.to_str().ok());
    let first = forwarded.and_then(|protos| protos.split(',').next());
    if first.is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https")) {
        "https"
    } else {
        "http"
    }
}
