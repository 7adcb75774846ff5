//! Bodies of calls, within their bounds. Small ones are bounded by the connections; who sends
//! a large one shows a good token first and takes its share of a budget until its call is over.

use std::io::Read;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::Status;

use super::Api;
use super::failure::Refusal;

/// As large as the message that it becomes may be.
const LIMIT: usize = server::server::MAX_REQUEST_BYTES;
const SMALL: usize = 64 * 1024;
/// What the budget is counted in.
const UNIT: usize = 1024;

/// The bytes of large bodies that may be in memory at the same time.
#[derive(Debug)]
pub(crate) struct Budget(Semaphore);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS)))
    }

    fn take(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Refusal> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        self.0.try_acquire_many(units).map_err(|_| Refusal::Full)
    }
}

/// A body and its share of the budget.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    pub(crate) bytes: Bytes,
    share: Option<SemaphorePermit<'a>>,
}

impl Api {
    /// Reads a body to its end and undoes gzip.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        token: &str,
    ) -> Result<Held<'_>, Status> {
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let announced: Option<usize> = announced.and_then(|length| length.parse().ok());
        if announced.is_some_and(|length| length > LIMIT) {
            return Err(Refusal::TooLarge(LIMIT).into());
        }
        let is_gzip = is_gzip(headers)?;
        let receive = self.receive(body, announced, token);
        let received = tokio::time::timeout(self.config.body_timeout(), receive).await;
        let held = received.unwrap_or(Err(Refusal::Slow))?;
        if !is_gzip {
            return Ok(held);
        }
        // How large it becomes is known at its end.
        let share = match held.share {
            Some(share) => share,
            None => self.share(LIMIT, token).await?,
        };
        let bytes = inflate(held.bytes).await?;
        let share = Some(share).filter(|_| bytes.len() > SMALL);
        Ok(Held { bytes, share })
    }

    async fn receive(
        &self,
        mut body: Body,
        announced: Option<usize>,
        token: &str,
    ) -> Result<Held<'_>, Refusal> {
        if announced.is_some_and(|length| length <= SMALL) {
            let bytes = body.collect().await.map_err(|_| Refusal::Slow)?.to_bytes();
            return Ok(Held { bytes, share: None });
        }
        let mut whole = BytesMut::new();
        let mut share = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Refusal::Slow)?.into_data() else { continue };
            if whole.len() + data.len() > LIMIT {
                return Err(Refusal::TooLarge(LIMIT));
            }
            if whole.len() + data.len() > SMALL && share.is_none() {
                share = Some(self.share(announced.unwrap_or(LIMIT), token).await?);
            }
            whole.extend_from_slice(&data);
        }
        Ok(Held { bytes: whole.freeze(), share })
    }

    async fn share(&self, bytes: usize, token: &str) -> Result<SemaphorePermit<'_>, Refusal> {
        self.verifier.verify(token).await.map_err(|_| Refusal::Token)?;
        self.budget.take(bytes)
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Refusal> {
    match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(_) => Err(Refusal::malformed("content-encoding", "must be gzip, identity or absent")),
    }
}

/// Some milliseconds of work for a few kilobytes.
async fn inflate(sent: Bytes) -> Result<Bytes, Refusal> {
    let work = move || {
        let mut inflated = Vec::new();
        let bound = u64::try_from(LIMIT).unwrap_or(u64::MAX).saturating_add(1);
        let read = MultiGzDecoder::new(&sent[..]).take(bound).read_to_end(&mut inflated);
        match read {
            Err(_) => Err(Refusal::malformed("", "the body is not valid gzip")),
            Ok(_) if inflated.len() > LIMIT => Err(Refusal::TooLarge(LIMIT)),
            Ok(_) => Ok(Bytes::from(inflated)),
        }
    };
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Refusal::Slow))
}
