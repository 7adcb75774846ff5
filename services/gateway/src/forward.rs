//! Events to profile, in chunks: each is durable when it is answered.
//!
//! A chunk is bounded in events and in encoded bytes, because a kilobyte of JSON may become
//! six of protobuf. Chunks go one after the other: a batch keeps its order. When one fails,
//! the whole batch is to be sent again; message ids make the repeat harmless.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use contracts::profile::v1::{Event, EventResult, EventStatus, IngestEventsRequest};
use kernel::{TenantId, Violations};
use prost::Message;
use server::{Call, Peer};
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::answer::{Refusal, Rejected};
use crate::body;
use crate::budget::{Share, of_body};
use crate::metrics::Metrics;
use crate::reading::{self, Form, Read, Reception, Wrong};

/// What profile takes in one call.
const MAX_EVENTS: usize = 500;
/// Well below the 4 MiB of a message.
const MAX_BYTES: usize = 1024 * 1024;
/// Small objects take ninety times the memory of their JSON.
pub(crate) const MAX_COST: usize = 8 * 1024 * 1024;
/// Work on fewer bytes than this is not worth another thread.
const SMALL: usize = 16 * 1024;

/// The caller, and what it may still cost.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: TenantId,
    pub(crate) token: Arc<str>,
    /// Who holds the write key.
    pub(crate) source: String,
    pub(crate) deadline: Instant,
}

/// A batch whose events are located but not read.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) body: Bytes,
    pub(crate) form: Form,
    pub(crate) events: Vec<Range<usize>>,
    pub(crate) reception: Reception,
    pub(crate) max_event_bytes: usize,
}

/// The next events of a batch.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// With their places in the batch.
    places: Vec<usize>,
    events: Vec<Event>,
    rejected: Vec<Rejected>,
    /// Where the next chunk begins.
    next: usize,
    /// About the bytes of its events in memory, and encoded.
    cost: usize,
}

/// After so long gateway and profile agree again about a key.
const DISAGREEMENT_SECONDS: u64 = 5;
/// The longest source that profile takes.
const MAX_SOURCE: usize = 64;

/// Runs work that may take milliseconds where it holds nobody up.
pub(crate) async fn aside<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    if bytes < SMALL {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(event = "batch_failed", %error);
        Refusal::Away { retry_after_seconds: 1 }
    })
}

/// Makes a batch durable, of which the first chunk may have been read; answers the events that
/// were refused.
pub(crate) async fn forward(
    profile: &Peer,
    caller: &Caller,
    (batch, mut first): (Batch, Option<Chunk>),
    share: &mut Share<'_>,
    metrics: &Metrics,
) -> Result<Vec<Rejected>, Refusal> {
    let batch = Arc::new(batch);
    let mut rejected = Vec::new();
    let mut next = 0;
    while next < batch.events.len() {
        let chunk = match first.take() {
            Some(first) => first,
            None => {
                let work = {
                    let batch = Arc::clone(&batch);
                    move || chunk(&batch, next)
                };
                aside(batch.body.len(), work).await??
            }
        };
        share.cover(of_body(batch.body.len()) + chunk.cost)?;
        next = chunk.next;
        rejected.extend(chunk.rejected);
        if chunk.events.is_empty() {
            continue;
        }
        let ids: Vec<String> = chunk.events.iter().map(|event| event.message_id.clone()).collect();
        let results = ingest(profile, caller, chunk.events).await?;
        for ((index, id), result) in chunk.places.into_iter().zip(ids).zip(&results) {
            match result.status() {
                EventStatus::Accepted => metrics.events("accepted", 1),
                EventStatus::Duplicate => metrics.events("duplicate", 1),
                EventStatus::Rejected | EventStatus::Unspecified => {
                    let reason = reason(result);
                    rejected.push(Rejected { index, message_id: Some(id), reason });
                }
            }
        }
    }
    metrics.events("rejected", rejected.len());
    rejected.sort_unstable_by_key(|rejected| rejected.index);
    Ok(rejected)
}

fn reason(result: &EventResult) -> String {
    let mut violations = Violations::new();
    for violation in &result.violations {
        violations.add(&violation.field, &violation.description);
    }
    violations.to_string()
}

/// Reads events from a place on until a chunk is full.
pub(crate) fn chunk(batch: &Batch, from: usize) -> Result<Chunk, Refusal> {
    let text = body::text(&batch.body)?;
    let mut chunk = Chunk { next: from, ..Chunk::default() };
    let (mut bytes, mut cost) = (0, 0);
    for (index, place) in batch.events.iter().enumerate().skip(from) {
        let raw = text.get(place.clone()).unwrap_or_default();
        match read(raw, batch) {
            Err((message_id, reason)) => {
                chunk.rejected.push(Rejected { index, message_id, reason });
            }
            Ok(read) => {
                let size = read.event.encoded_len();
                let is_full = bytes + size > MAX_BYTES || cost + read.cost > MAX_COST;
                if is_full && !chunk.events.is_empty() {
                    break; // and is read again as the first of the next chunk
                }
                bytes += size;
                cost += read.cost;
                chunk.events.push(read.event);
                chunk.places.push(index);
            }
        }
        chunk.next = index + 1;
        if chunk.events.len() == MAX_EVENTS {
            break;
        }
    }
    chunk.cost = cost + 2 * bytes;
    Ok(chunk)
}

fn read(raw: &str, batch: &Batch) -> Result<Read, (Option<String>, String)> {
    if raw.len() > batch.max_event_bytes {
        let reason = format!("the event is larger than {} bytes", batch.max_event_bytes);
        return Err((reading::message_id(batch.form, raw), reason));
    }
    let new_id = || uuid::Uuid::now_v7().to_string();
    reading::event(batch.form, raw, &batch.reception, new_id)
        .map_err(|Wrong { message_id, violations }| (message_id, violations.to_string()))
}

async fn ingest(
    profile: &Peer,
    caller: &Caller,
    mut events: Vec<Event>,
) -> Result<Vec<EventResult>, Refusal> {
    let source = &caller.source[..caller.source.floor_char_boundary(MAX_SOURCE)];
    for event in &mut events {
        source.clone_into(&mut event.source);
    }
    let left = caller.deadline.saturating_duration_since(Instant::now());
    let call = Call::background(caller.tenant).within(left);
    let peer = profile.during(&call).bearing(Arc::clone(&caller.token)).idempotent();
    let count = events.len();
    let answer =
        ProfileServiceClient::new(peer).ingest_events(IngestEventsRequest { events }).await;
    let results = match answer {
        Ok(answer) => answer.into_inner().results,
        Err(status) => return refusal_or_rejection(&status, count),
    };
    if results.len() != count {
        tracing::error!(event = "wrong_answer", expected = count, found = results.len());
        return Err(Refusal::Away { retry_after_seconds: 1 });
    }
    Ok(results)
}

/// What a failed call means for the batch. An argument that profile refuses as a whole will
/// not be better next time, so its events are rejected rather than sent for ever.
fn refusal_or_rejection(status: &Status, count: usize) -> Result<Vec<EventResult>, Refusal> {
    let hint = status.get_error_details().retry_info().and_then(|retry| retry.retry_delay);
    let retry_after_seconds = hint.unwrap_or(Duration::ZERO).as_millis().div_ceil(1_000).max(1);
    let retry_after_seconds = u64::try_from(retry_after_seconds).unwrap_or(u64::MAX);
    match status.code() {
        Code::InvalidArgument => {
            tracing::error!(event = "chunk_refused", message = status.message());
            let violation = contracts::profile::v1::FieldViolation {
                field: String::new(),
                description: "was refused together with its chunk".to_owned(),
            };
            let result = EventResult {
                status: EventStatus::Rejected.into(),
                violations: vec![violation],
                ..Default::default()
            };
            Ok(vec![result; count])
        }
        // The gateway has just found the key good: one of the two does not know yet what the
        // other knows (keys, revocations). A 4xx would make SDKs drop the events for good.
        code @ (Code::Unauthenticated | Code::PermissionDenied) => {
            tracing::warn!(event = "profile_refused_the_key", %code);
            Err(Refusal::Away { retry_after_seconds: DISAGREEMENT_SECONDS })
        }
        Code::ResourceExhausted => Err(Refusal::Busy { retry_after_seconds }),
        code => {
            tracing::warn!(event = "profile_failed", %code);
            Err(Refusal::Away { retry_after_seconds })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{Envelope, Limits};

    fn batch(text: String, max_event_bytes: usize) -> Batch {
        let limits = Limits { events: 2_500, event: max_event_bytes };
        let envelope = Envelope::read(Form::Batch, &text, limits).unwrap();
        let reception = Reception { defaults: envelope.defaults, ..Reception::default() };
        let (body, form) = (text.into(), Form::Batch);
        Batch { body, form, events: envelope.events, reception, max_event_bytes }
    }

    /// The places of each chunk.
    fn chunks(batch: &Batch) -> Vec<Vec<usize>> {
        let mut all = Vec::new();
        let mut next = 0;
        while next < batch.events.len() {
            let chunk = chunk(batch, next).unwrap();
            let size: usize = chunk.events.iter().map(Message::encoded_len).sum();
            assert!(chunk.events.len() <= MAX_EVENTS && size <= MAX_BYTES);
            assert!(chunk.next > next);
            next = chunk.next;
            all.push(chunk.places);
        }
        all
    }

    #[test]
    fn every_event_is_in_one_chunk_in_order() {
        let events = vec![r#"{"type":"track","userId":"u"}"#; 1_201].join(",");
        let chunks = chunks(&batch(format!(r#"{{"batch":[{events}]}}"#), 1_000));
        assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [500, 500, 201]);
        assert_eq!(chunks.concat(), (0..1_201).collect::<Vec<_>>());
    }

    #[test]
    fn chunks_are_bounded_by_their_encoded_size() {
        let event =
            format!(r#"{{"type":"track","properties":{{"a":[{}]}}}}"#, vec!["1"; 15_000].join(","));
        let events = vec![event.as_str(); 30].join(",");
        let chunks = chunks(&batch(format!(r#"{{"batch":[{events}]}}"#), 32_768));
        assert!(chunks.len() > 3, "{}", chunks.len());
        assert_eq!(chunks.concat(), (0..30).collect::<Vec<_>>());
    }

    #[test]
    fn chunks_are_bounded_by_their_memory() {
        let small = vec![r#"{"a":1}"#; 3_000].join(",");
        let event = format!(r#"{{"type":"track","properties":{{"a":[{small}]}}}}"#);
        let events = vec![event.as_str(); 20].join(",");
        let batch = batch(format!(r#"{{"batch":[{events}]}}"#), 32_768);
        let chunks = chunks(&batch);
        assert!(chunks.len() > 3, "{}", chunks.len());
        assert!(chunk(&batch, 0).unwrap().cost <= MAX_COST + 2 * MAX_BYTES);
        assert_eq!(chunks.concat(), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_batch_says_for_all_is_paid_for_each() {
        let small = vec![r#"{"a":1}"#; 900].join(",");
        let events = vec![r#"{"type":"track","userId":"u"}"#; 500].join(",");
        let text = format!(r#"{{"batch":[{events}],"context":{{"a":[{small}]}}}}"#);
        assert!(chunks(&batch(text, 32_768)).len() > 30);
    }

    #[test]
    fn a_bad_event_is_rejected_alone() {
        let large = format!(r#"{{"type":"track","userId":"{}"}}"#, "u".repeat(200));
        let text = format!(r#"{{"batch":[{{"userId":"a"}},{large},5,{{"userId":"b"}}]}}"#);
        let chunk = chunk(&batch(text, 100), 0).unwrap();
        assert_eq!(chunk.places, [0, 3]);
        let rejected: Vec<usize> = chunk.rejected.iter().map(|rejected| rejected.index).collect();
        assert_eq!(rejected, [1, 2]);
    }

    #[test]
    fn only_what_never_passes_is_not_repeated() {
        let refusal = |code| refusal_or_rejection(&Status::new(code, ""), 2);
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Internal, Code::Unknown] {
            assert_eq!(refusal(code), Err(Refusal::Away { retry_after_seconds: 1 }), "{code}");
        }
        let busy = Err(Refusal::Busy { retry_after_seconds: 1 });
        assert_eq!(refusal(Code::ResourceExhausted), busy);
        let disagreement = Err(Refusal::Away { retry_after_seconds: 5 });
        assert_eq!(refusal(Code::Unauthenticated), disagreement, "the gateway found it good");
        assert_eq!(refusal(Code::PermissionDenied), disagreement);
        assert_eq!(refusal(Code::InvalidArgument).unwrap().len(), 2);
    }
}
