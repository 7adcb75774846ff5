//! `GET /rapport.js`: the script that a page loads to tell what happens on it (`snippet/`).

use std::io::Write as _;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::write::GzEncoder;
use flate2::{Compression, Crc};

const SCRIPT: &str = include_str!("../snippet/rapport.js");
const TYPE: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");
/// An hour, then the browser asks whether there is another one.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=3600");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// As it is sent.
#[derive(Debug, Clone)]
struct Script {
    tag: HeaderValue,
    /// Absent if it could not be compressed.
    gzip: Option<Bytes>,
}

/// The route; pages of every origin may load it.
pub(crate) fn routes() -> Router {
    let mut sum = Crc::new();
    sum.update(SCRIPT.as_bytes());
    let tag = format!("\"{:08x}-{}\"", sum.sum(), SCRIPT.len());
    let script = Script {
        tag: HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"0\"")),
        gzip: gzip(SCRIPT.as_bytes()).ok(),
    };
    Router::new()
        .route("/rapport.js", get(|headers: HeaderMap| async move { script.answer(&headers) }))
}

impl Script {
    fn answer(self, asked: &HeaderMap) -> Response {
        let known = asked.get(header::IF_NONE_MATCH);
        let mut response = if known == Some(&self.tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            match self.gzip.filter(|_| takes_gzip(asked)) {
                Some(gzip) => {
                    ([(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))], gzip)
                        .into_response()
                }
                None => SCRIPT.into_response(),
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, TYPE);
        headers.insert(header::ETAG, self.tag);
        headers.insert(header::CACHE_CONTROL, CACHE);
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
        headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

fn takes_gzip(asked: &HeaderMap) -> bool {
    let accepted = asked.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.unwrap_or_default().split(',').any(|one| one.trim().starts_with("gzip"))
}

fn gzip(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_small() {
        let size = gzip(SCRIPT.as_bytes()).unwrap().len();
        assert!(size < 6 * 1024, "{size} bytes compressed");
    }
}
