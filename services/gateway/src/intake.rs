//! A body of events: who sends, what is sent, is it durable.

use std::sync::Arc;
use std::time::Instant as Moment;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use server::Peer;
use server::token::Verifier;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::Config;
use crate::answer::{Refusal, Rejected, success};
use crate::budget::{Budget, Share, of_body};
use crate::forward::{Batch, Caller, Chunk, aside, chunk, forward};
use crate::metrics::Metrics;
use crate::reading::{Envelope, Form, Limits, Reception, cloudevents};
use crate::{body, write_key};

/// What requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) verifier: Verifier,
    pub(crate) profile: Peer,
    pub(crate) metrics: Metrics,
    /// Owns the work on bodies.
    pub(crate) tracker: TaskTracker,
    /// The memory for all bodies.
    pub(crate) memory: Budget,
    /// The memory of those that may have a key in the body: who has none takes no other.
    pub(crate) unproven: Budget,
}

/// A path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Door {
    /// In metrics and traces: its longest form.
    pub(crate) name: &'static str,
    pub(crate) form: Form,
}

/// Serves one body. The work is the tracker's, not the connection's: it cannot be broken off
/// by a client that leaves, so the memory that it has stays counted until it is free, and what
/// threads aside still do is waited for.
pub(crate) async fn serve(shared: &Arc<Shared>, door: Door, request: Request) -> Response {
    let span = tracing::info_span!("POST", otel.name = door.name, otel.kind = "server");
    let begin = Moment::now();
    let work = {
        let shared = Arc::clone(shared);
        async move { take(&shared, door.form, request).await }
    };
    let taken = shared.tracker.spawn(work.instrument(span)).await.unwrap_or_else(|error| {
        tracing::error!(event = "batch_failed", %error);
        Err(Refusal::Away { retry_after_seconds: 1 })
    });
    let response = match taken {
        Ok(rejected) => success(rejected),
        Err(refusal) => refusal.into_response(),
    };
    shared.metrics.answered(door.name, response.status().as_u16(), begin.elapsed());
    response
}

async fn take(shared: &Shared, form: Form, request: Request) -> Result<Vec<Rejected>, Refusal> {
    let received = jiff::Timestamp::now();
    let config = &shared.config;
    let (parts, sent) = request.into_parts();
    // A key in the header is judged before anything is read.
    let holder = match write_key::in_headers(&parts.headers) {
        Some(key) => Some((write_key::holder(&shared.verifier, &parts.headers, &key).await?, key)),
        None => None,
    };
    let budget = if holder.is_some() { &shared.memory } else { &shared.unproven };
    let mut share = budget.begin()?;
    let (limit, time) = (config.max_body_bytes, config.body_timeout());
    let sent = body::read(&parts.headers, sent, limit, time, &mut share).await?;
    let opening = Opening {
        form,
        received_us: received.as_microsecond(),
        limits: Limits { events: config.max_events, event: config.max_event_bytes },
        headers: binary(form, &parts),
        // Nothing but the place of the key is read for somebody unknown.
        is_proven: holder.is_some(),
    };
    let Opened { batch, first, write_key: in_body } =
        open(config, sent, opening, &mut share).await?;

    let (principal, key) = match (holder, in_body) {
        (Some(holder), other) => {
            if other.is_some_and(|other| other != holder.1) {
                shared.metrics.key_mismatch();
            }
            holder
        }
        (None, in_body) => {
            let key = in_body.or_else(|| write_key::in_query(&parts)).ok_or(Refusal::UnknownKey)?;
            let principal = write_key::holder(&shared.verifier, &parts.headers, &key).await?;
            share = share.moved(&shared.memory)?;
            (principal, key)
        }
    };
    let deadline = Instant::now() + config.deadline();
    let source = principal.subject.clone();
    let caller = Caller { tenant: principal.tenant, token: key.into(), source, deadline };
    forward(&shared.profile, &caller, (batch, first), &mut share, &shared.metrics).await
}

/// How a body is opened.
#[derive(Debug, Clone)]
struct Opening {
    form: Form,
    received_us: i64,
    limits: Limits,
    /// Those of a CloudEvent in binary mode.
    headers: Option<HeaderMap>,
    is_proven: bool,
}

#[derive(Debug)]
struct Opened {
    batch: Batch,
    /// The first events of it, if the sender is known.
    first: Option<Chunk>,
    write_key: Option<String>,
}

/// The headers of a CloudEvent whose attributes are headers.
fn binary(form: Form, parts: &Parts) -> Option<HeaderMap> {
    let is_binary = form == Form::CloudEvents && parts.headers.contains_key("ce-specversion");
    is_binary.then(|| parts.headers.clone())
}

/// Undoes gzip, finds the events and reads the first of them, all in one go where it holds
/// nobody up.
async fn open(
    config: &Config,
    sent: Bytes,
    opening: Opening,
    share: &mut Share<'_>,
) -> Result<Opened, Refusal> {
    let max = config.max_inflated_bytes;
    let Some(announced) = body::announced(&sent) else {
        if sent.len() > max {
            return Err(body::Unfit::Larger.refusal(max));
        }
        return aside(sent.len(), move || opening.read(sent)).await?;
    };
    // What it says is usually right. If not, once more with all that it may have.
    for limit in [announced.min(max), max] {
        share.cover(of_body(sent.len()) + of_body(limit))?;
        let (sent, opening) = (sent.clone(), opening.clone());
        let work = move || {
            let body = body::inflate(&sent, limit)?;
            drop(sent);
            Ok(opening.read(body))
        };
        match aside(limit, work).await? {
            Ok(opened) => return opened,
            Err(body::Unfit::Larger) if limit < max => {}
            Err(unfit) => return Err(unfit.refusal(max)),
        }
    }
    Err(body::Unfit::Larger.refusal(max))
}

impl Opening {
    fn read(self, body: Bytes) -> Result<Opened, Refusal> {
        let body = match &self.headers {
            Some(headers) => structured(headers, &body)?,
            None => body,
        };
        let envelope = Envelope::read(self.form, body::text(&body)?, self.limits)
            .map_err(Refusal::Malformed)?;
        let reception = Reception {
            received_us: self.received_us,
            sent_us: envelope.sent_us,
            defaults: envelope.defaults,
        };
        let batch = Batch {
            body,
            form: self.form,
            events: envelope.events,
            reception,
            max_event_bytes: self.limits.event,
        };
        let first = if self.is_proven { Some(chunk(&batch, 0)?) } else { None };
        Ok(Opened { batch, first, write_key: envelope.write_key })
    }
}

fn structured(headers: &HeaderMap, body: &Bytes) -> Result<Bytes, Refusal> {
    let attributes = headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().strip_prefix("ce-")?, value.to_str().ok()?))
    });
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let text = body::text(body)?;
    let text = cloudevents::structured(attributes, media, text).map_err(Refusal::Malformed)?;
    Ok(text.into())
}
