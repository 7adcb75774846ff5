//! The bytes of a body, within their bounds. Content-Type is ignored: SDKs send JSON as
//! `text/plain` and gzipped JSON as `application/x-www-form-urlencoded` (measured). Gzip is
//! known by its magic, which no JSON begins with, so it does not matter whether the header
//! says so.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;

use crate::answer::Refusal;
use crate::budget::{Share, of_body};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
/// What is set aside for a body before any of it has arrived.
const FIRST_BUFFER: usize = 128 * 1024;

fn too_large(what: &str, limit: usize) -> Refusal {
    Refusal::Malformed(format!("the body is larger than {limit} bytes{what}"))
}

/// Reads a body as it was sent.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    time: Duration,
    share: &mut Share<'_>,
) -> Result<Bytes, Refusal> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced: usize = announced.and_then(|length| length.parse().ok()).unwrap_or_default();
    if announced > limit {
        return Err(too_large("", limit));
    }
    let collected = tokio::time::timeout(time, collect(body, announced, limit, share)).await;
    collected.unwrap_or(Err(Refusal::SlowBody))
}

async fn collect(
    mut body: Body,
    announced: usize,
    limit: usize,
    share: &mut Share<'_>,
) -> Result<Bytes, Refusal> {
    let first = announced.min(FIRST_BUFFER);
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // The connection broke: nobody hears the answer.
        let frame = frame.map_err(|_| Refusal::Malformed("the body is incomplete".to_owned()))?;
        let Ok(data) = frame.into_data() else { continue };
        let bytes = whole.len() + data.len();
        if bytes > limit {
            return Err(too_large("", limit));
        }
        share.cover(of_body(bytes.max(first)))?;
        if whole.is_empty() {
            whole.reserve(first);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// How large a body is after gzip is undone, if it says so; nothing if it is not compressed.
/// A lie is found out by [`inflate`].
pub(crate) fn announced(body: &[u8]) -> Option<usize> {
    let length = body.starts_with(&GZIP_MAGIC).then(|| body.last_chunk())?;
    // RFC 1952: the size of the last member, modulo 2³².
    Some(length.map_or(0, |length| u32::from_le_bytes(*length) as usize))
}

/// Why a body cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is larger than it may be.
    Larger,
    Broken,
}

/// Undoes gzip. Blocks for some milliseconds when large.
pub(crate) fn inflate(body: &[u8], limit: usize) -> Result<Bytes, Unfit> {
    let mut inflated = Vec::with_capacity(body.len().saturating_mul(4).min(limit));
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(body).take(bound).read_to_end(&mut inflated).map_err(|_| Unfit::Broken)?;
    if inflated.len() > limit {
        return Err(Unfit::Larger);
    }
    Ok(inflated.into())
}

impl Unfit {
    pub(crate) fn refusal(&self, limit: usize) -> Refusal {
        match self {
            Self::Larger => too_large(" after gzip", limit),
            Self::Broken => Refusal::Malformed("the body is not valid gzip".to_owned()),
        }
    }
}

/// The text of a body, without a byte order mark.
pub(crate) fn text(body: &Bytes) -> Result<&str, Refusal> {
    let body = body.strip_prefix(&BYTE_ORDER_MARK).unwrap_or(body);
    std::str::from_utf8(body).map_err(|_| {
        Refusal::Malformed("the body is not UTF-8 (gzip is the one compression read)".to_owned())
    })
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
        assert_eq!(inflate(&gzip(b"{}"), 10).unwrap(), "{}");
        let bomb = gzip(&vec![b' '; 1_000_000]);
        assert!(bomb.len() < 2_000);
        assert_eq!(announced(&bomb), Some(1_000_000));
        assert_eq!(inflate(&bomb, 100_000), Err(Unfit::Larger));
        assert_eq!(announced(b"{\"batch\":[]}"), None);
        let mut broken = gzip(b"{\"batch\":[]}").to_vec();
        broken.truncate(15);
        assert_eq!(inflate(&broken, 100), Err(Unfit::Broken));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(text(&Bytes::from_static(b"\xef\xbb\xbf{}")).unwrap(), "{}");
        assert!(text(&Bytes::from_static(b"\xff{}")).is_err());
    }
}
