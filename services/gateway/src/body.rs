//! The bytes of a body, within their bounds. Content-Type is ignored: SDKs send JSON as
//! `text/plain` and gzipped JSON as `application/x-www-form-urlencoded` (measured). Gzip is
//! known by its magic, which no JSON begins with, so it does not matter whether the header
//! says so.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::answer::Refusal;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

fn too_large(what: &str, limit: usize) -> Refusal {
    Refusal::Malformed(format!("the body is larger than {limit} bytes{what}"))
}

/// Reads a body as it was sent.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    time: Duration,
) -> Result<Bytes, Refusal> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if announced.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > limit)
    {
        return Err(too_large("", limit));
    }
    match tokio::time::timeout(time, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large("", limit)),
        // The connection broke: nobody hears the answer.
        Ok(Err(_)) => Err(Refusal::Malformed("the body is incomplete".to_owned())),
        Err(_) => Err(Refusal::SlowBody),
    }
}

/// Undoes gzip; plain bodies stay as they are. Blocks for some milliseconds when large.
pub(crate) fn inflate(body: Bytes, limit: usize) -> Result<Bytes, Refusal> {
    if !body.starts_with(&GZIP_MAGIC) {
        return if body.len() > limit { Err(too_large("", limit)) } else { Ok(body) };
    }
    let mut inflated = Vec::with_capacity(body.len().saturating_mul(4).min(limit));
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(&body[..])
        .take(bound)
        .read_to_end(&mut inflated)
        .map_err(|_| Refusal::Malformed("the body is not valid gzip".to_owned()))?;
    if inflated.len() > limit {
        return Err(too_large(" after gzip", limit));
    }
    Ok(inflated.into())
}

/// The text of a body, without a byte order mark.
pub(crate) fn text(body: &Bytes) -> Result<&str, Refusal> {
    let body = body.strip_prefix(&BYTE_ORDER_MARK).unwrap_or(body);
    std::str::from_utf8(body).map_err(|_| Refusal::Malformed("the body is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn gzip_is_undone_within_the_limit() {
        assert_eq!(inflate(gzip(b"{}"), 10).unwrap(), "{}");
        assert_eq!(inflate(Bytes::from_static(b"{}"), 10).unwrap(), "{}");
        let bomb = gzip(&vec![b' '; 1_000_000]);
        assert!(bomb.len() < 2_000);
        let refused = inflate(bomb, 100_000).unwrap_err().to_string();
        assert_eq!(refused, "the body is larger than 100000 bytes after gzip");
        let mut broken = gzip(b"{\"batch\":[]}").to_vec();
        broken.truncate(15);
        assert!(inflate(broken.into(), 100).is_err());
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(text(&Bytes::from_static(b"\xef\xbb\xbf{}")).unwrap(), "{}");
        assert!(text(&Bytes::from_static(b"\xff{}")).is_err());
    }
}
