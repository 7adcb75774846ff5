//! `POST /v1/batch`: who sends, what is sent, is it durable.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use server::token::Verifier;
use server::{Peer, Principal};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tracing::Instrument;

use crate::Config;
use crate::answer::{Refusal, Rejected, success};
use crate::forward::{Batch, Caller, aside, forward};
use crate::metrics::Metrics;
use crate::segment::{Envelope, Reception};
use crate::{body, write_key};

/// What requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) verifier: Verifier,
    pub(crate) profile: Peer,
    pub(crate) metrics: Metrics,
    /// The places for batches in memory.
    pub(crate) places: Semaphore,
    /// The places of those that may have a key in the body: who has none takes no other.
    pub(crate) unproven: Semaphore,
}

impl Shared {
    fn place(&self, is_proven: bool) -> Result<SemaphorePermit<'_>, Refusal> {
        let places = if is_proven { &self.places } else { &self.unproven };
        places.try_acquire().map_err(|_| Refusal::Busy { retry_after_seconds: 1 })
    }
}

/// Serves one batch.
pub(crate) async fn batch(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let span = tracing::info_span!("POST /v1/batch", otel.kind = "server");
    let response = match take(&shared, request).instrument(span).await {
        Ok(rejected) => success(rejected),
        Err(refusal) => refusal.into_response(),
    };
    shared.metrics.answered(response.status().as_u16());
    response
}

async fn take(shared: &Shared, request: Request) -> Result<Vec<Rejected>, Refusal> {
    let received = jiff::Timestamp::now();
    let config = &shared.config;
    let (parts, sent) = request.into_parts();
    // A key in the header is judged before anything is read.
    let holder = match write_key::in_headers(&parts.headers) {
        Some(key) => Some((write_key::holder(&shared.verifier, &key).await?, key)),
        None => None,
    };
    let place = shared.place(holder.is_some())?;
    let (limit, time) = (config.max_body_bytes, config.body_timeout());
    let sent = body::read(&parts.headers, sent, limit, time).await?;
    let (max_inflated, max_events) = (config.max_inflated_bytes, config.max_events);
    let work = move || open(sent, max_inflated, max_events);
    // Compressed bodies are small but take long.
    let (body, envelope) = aside(usize::MAX, work).await??;

    let (principal, key, place) = match (holder, envelope.write_key) {
        (Some((principal, key)), other) => {
            if other.is_some_and(|other| other != key) {
                shared.metrics.key_mismatch();
            }
            (principal, key, place)
        }
        (None, in_body) => {
            let key = in_body.or_else(|| write_key::in_query(&parts)).ok_or(Refusal::UnknownKey)?;
            let principal = write_key::holder(&shared.verifier, &key).await?;
            drop(place);
            (principal, key, shared.place(true)?)
        }
    };
    let batch = Batch {
        body,
        events: envelope.events,
        reception: reception(&principal, received, envelope.sent_us),
        max_event_bytes: config.max_event_bytes,
    };
    let deadline = Instant::now() + config.deadline();
    let caller = Caller { tenant: principal.tenant, token: key.into(), deadline };
    let answer = forward(&shared.profile, &caller, batch, &shared.metrics).await;
    drop(place);
    answer
}

fn open(
    sent: bytes::Bytes,
    max_inflated: usize,
    max_events: usize,
) -> Result<(bytes::Bytes, Envelope), Refusal> {
    let body = body::inflate(sent, max_inflated)?;
    let envelope = Envelope::read(body::text(&body)?, max_events).map_err(Refusal::Malformed)?;
    Ok((body, envelope))
}

fn reception(principal: &Principal, received: jiff::Timestamp, sent_us: Option<i64>) -> Reception {
    let source = principal.subject.clone();
    Reception { received_us: received.as_microsecond(), sent_us, source }
}
