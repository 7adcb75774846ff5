//! Bodies of calls, within their bounds. Small ones are bounded by the connections; who sends
//! a large one takes its share of a budget until its call is over. What JSON becomes when it is
//! read is paid for, too: `[1,1,…]` takes hundreds of times its text. A share goes with its bytes to
//! whatever works on them, so it is free when they are, not when the client has left.

use std::io::Read;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use server::auth::Rule;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::Api;
use super::failure::Refusal;
use super::methods::Rpc;

/// As large as the message that it becomes may be.
const LIMIT: usize = server::server::MAX_REQUEST_BYTES;
const SMALL: usize = 64 * 1024;
/// What the budget is counted in.
const UNIT: usize = 1024;

/// What a value takes at most when JSON is read, beside its text: measured were 750 bytes.
const VALUE: usize = 1024;

/// What large bodies may have in memory at the same time.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    free: Arc<Semaphore>,
    units: usize,
}

/// Of a budget; given back when dropped. None for what is small.
pub(crate) type Share = Option<OwnedSemaphorePermit>;

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(units)), units }
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let units = bytes.div_ceil(UNIT);
        if units > self.units {
            return Err(Refusal::TooManyValues);
        }
        let units = u32::try_from(units).map_err(|_| Refusal::Full)?;
        Arc::clone(&self.free).try_acquire_many_owned(units).map_err(|_| Refusal::Full)
    }

    /// For what a JSON text becomes. Looks at every byte: milliseconds for megabytes.
    ///
    /// # Errors
    /// `Full` for now, or `TooManyValues` for good.
    pub(crate) fn for_json(&self, text: &[u8]) -> Result<Share, Refusal> {
        self.unless_small(values(text).saturating_mul(VALUE))
    }

    /// For what an encoded message becomes: the least value has two bytes.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn for_message(&self, message: &[u8]) -> Result<Share, Refusal> {
        self.unless_small(message.len().saturating_mul(VALUE / 2))
    }

    fn unless_small(&self, bytes: usize) -> Result<Share, Refusal> {
        if bytes <= SMALL { Ok(None) } else { self.take(bytes).map(Some) }
    }
}

/// How many values a JSON text has at most: each but the first follows one of these bytes, which
/// within texts say nothing.
fn values(text: &[u8]) -> usize {
    let (mut values, mut is_text, mut is_escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            b',' | b'{' | b'[' if !is_text => values += 1,
            _ => {}
        }
    }
    values
}

/// A body and its share of the budget.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    share: Share,
}

impl Held {
    /// What has become of the body, with what it still takes.
    ///
    /// # Errors
    /// When it has become larger than a message may be.
    pub(crate) fn becomes(self, bytes: Bytes, mut made: Share) -> Result<Self, Refusal> {
        if bytes.len() > LIMIT {
            return Err(Refusal::TooLarge(LIMIT));
        }
        let needed = bytes.len().div_ceil(UNIT);
        let share = self.share.filter(|share| share.num_permits() >= needed);
        if share.is_some() || bytes.len() <= SMALL {
            return Ok(Self { bytes, share });
        }
        let excess = made.as_ref().map_or(0, |made| made.num_permits().saturating_sub(needed));
        drop(made.as_mut().and_then(|made| made.split(excess)));
        Ok(Self { bytes, share: made })
    }
}

impl Api {
    /// Reads a body to its end and undoes gzip. Only for callers that have been let in.
    pub(crate) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Held, Status> {
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let announced: Option<usize> = announced.and_then(|length| length.parse().ok());
        if announced.is_some_and(|length| length > LIMIT) {
            return Err(Refusal::TooLarge(LIMIT).into());
        }
        let is_gzip = is_gzip(headers)?;
        let receive = self.receive(body, announced);
        let received = tokio::time::timeout(self.config.body_timeout(), receive).await;
        let held = received.unwrap_or(Err(Refusal::Slow))?;
        if !is_gzip {
            return Ok(held);
        }
        // How large it becomes is known at its end.
        let share = Some(self.budget.take(LIMIT)?);
        let held = inflate(held, share).await?;
        Ok(Held { share: held.share.filter(|_| held.bytes.len() > SMALL), ..held })
    }

    async fn receive(&self, mut body: Body, announced: Option<usize>) -> Result<Held, Refusal> {
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
                share = Some(self.budget.take(announced.unwrap_or(LIMIT))?);
            }
            whole.extend_from_slice(&data);
        }
        Ok(Held { bytes: whole.freeze(), share })
    }

    /// Lets a caller in before anything of its body is read or worked on. Whether its scopes
    /// suffice is the service's to say.
    pub(crate) async fn admit(&self, rpc: &Rpc, token: &str) -> Result<(), Status> {
        if rpc.rule != Rule::Public {
            self.verifier.verify(token).await.map_err(|_| Refusal::Token)?;
        }
        Ok(())
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
async fn inflate(sent: Held, share: Share) -> Result<Held, Refusal> {
    let work = move || {
        let mut inflated = Vec::new();
        let bound = u64::try_from(LIMIT).unwrap_or(u64::MAX).saturating_add(1);
        let read = MultiGzDecoder::new(&sent.bytes[..]).take(bound).read_to_end(&mut inflated);
        match read {
            Err(_) => Err(Refusal::malformed("", "the body is not valid gzip")),
            Ok(_) if inflated.len() > LIMIT => Err(Refusal::TooLarge(LIMIT)),
            Ok(_) => Ok(Held { bytes: inflated.into(), share }),
        }
    };
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Refusal::Slow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_becomes_is_paid_for() {
        let budget = Budget::new(64 * VALUE + 4 * 1024 * 1024);
        let ones = format!("[{}1]", "1,".repeat(4_095));
        assert_eq!(values(ones.as_bytes()), 1 + 4_096);
        let share = budget.for_json(ones.as_bytes()).unwrap();
        assert_eq!(share.as_ref().unwrap().num_permits(), 4_097, "8 KiB become 4 MiB");
        let second = budget.for_json(ones.as_bytes());
        assert!(matches!(second, Err(Refusal::Full)), "until the first is done");
        drop(share);
        assert!(budget.for_json(ones.as_bytes()).unwrap().is_some());
        let never = ones.repeat(3);
        assert!(matches!(budget.for_json(never.as_bytes()), Err(Refusal::TooManyValues)));
        let text = format!(r#"{{"a":"{}\\"{{"}}"#, "[,".repeat(9_000));
        assert!(budget.for_json(text.as_bytes()).unwrap().is_none(), "a text is one value");
        assert!(budget.for_message(&[0; 100]).unwrap().is_none());
        assert!(budget.for_message(&[0; 8_000]).unwrap().is_some());
    }

    #[test]
    fn a_share_shrinks_to_what_is_left_of_the_work() {
        let budget = Budget::new(1024 * UNIT);
        let made = || budget.unless_small(1000 * UNIT).unwrap();
        let small = Held { bytes: Bytes::new(), share: None };
        let left = small.becomes(vec![0; 100 * UNIT].into(), made()).unwrap();
        assert_eq!(budget.free.available_permits(), 924);
        let left = left.becomes(Bytes::from_static(b"x"), None).unwrap();
        drop(left);
        assert_eq!(budget.free.available_permits(), 1024);
    }
}
