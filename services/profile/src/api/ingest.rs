//! IngestEvents and StreamEvents.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use contracts::profile::v1 as wire;
use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use kernel::Violations;
use server::{Call, Drain, status};
use tonic::{Status, Streaming};

use super::event::Reader;
use crate::app::App;
use crate::app::ingest::{Outcome, Patience, Place, give_way};
use crate::domain::event::limit;
use crate::error::Error;

pub(super) async fn batch(
    app: &App,
    call: &Call,
    request: wire::IngestEventsRequest,
) -> Result<wire::IngestEventsResponse, Error> {
    let outcomes = take(app, call, request.events, Patience::None).await?;
    Ok(wire::IngestEventsResponse { results: outcomes.into_iter().map(result).collect() })
}

async fn take(
    app: &App,
    call: &Call,
    events: Vec<wire::Event>,
    patience: Patience,
) -> Result<Vec<Outcome>, Error> {
    if events.is_empty() || events.len() > limit::EVENTS {
        return Err(Violations::of("events", "must be 1 to 500 events").into());
    }
    let received_us = Timestamp::now().as_microsecond();
    let schema = app.shared.schema(call.tenant()).await?;
    let rules = app.rules.of(call).await?;
    let reader = Reader { schema: &schema, rules: &rules, received_us };
    let mut read = Vec::with_capacity(events.len());
    for (at, event) in events.into_iter().enumerate() {
        read.push(reader.read(event));
        give_way(at).await;
    }
    app.ingest.take(call, read, received_us, patience).await
}

fn result(outcome: Outcome) -> wire::EventResult {
    let placed = |status: wire::EventStatus, place: Place| wire::EventResult {
        status: status as i32,
        customer_id: place.customer.to_string(),
        evidence_id: place.evidence.to_string(),
        profile_version: place.version,
        violations: Vec::new(),
    };
    match outcome {
        Outcome::Accepted(place) => placed(wire::EventStatus::Accepted, place),
        Outcome::Duplicate(place) => placed(wire::EventStatus::Duplicate, place),
        Outcome::Rejected(violations) => wire::EventResult {
            status: wire::EventStatus::Rejected as i32,
            violations: fields(violations),
            ..wire::EventResult::default()
        },
    }
}

fn fields(violations: Violations) -> Vec<wire::FieldViolation> {
    let field = |violation: kernel::Violation| wire::FieldViolation {
        field: violation.field,
        description: violation.description,
    };
    violations.into_iter().map(field).collect()
}

/// Several chunks are at work at the same time; the answers come in order. Nothing is read
/// while they are too many, or wait for the queue; nothing more is read in a drain, and what
/// was read is answered first.
pub(super) fn stream(
    app: App,
    call: &Call,
    drain: &Drain,
    chunks: Streaming<wire::StreamEventsRequest>,
    at_work: usize,
) -> BoxStream<'static, Result<wire::StreamEventsResponse, Status>> {
    let (stop, ending) = (drain.token(), call.ending());
    let was_stopped = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&was_stopped);
    let until = async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = ending.cancelled() => {}
        }
        noted.store(true, Ordering::Release);
    };
    let (call, tracker) = (call.clone(), drain.tracker());
    let answers =
        chunks.take_until(Box::pin(until)).map(move |chunk| {
            let (app, call) = (app.clone(), call.clone());
            // A task of its own: chunks are prepared side by side, and one that was begun is
            // finished also if its caller leaves.
            let work = tracker.spawn(async move { answer(&app, &call, chunk?).await });
            async move {
                work.await.unwrap_or_else(|_| Err(Status::internal("the chunk was not finished")))
            }
        });
    let last = stream::once(async move {
        let stopped = was_stopped.load(Ordering::Acquire);
        let resume = "the server is shutting down or rebalancing: send what was not answered";
        stopped.then(|| Err(server::status::ended(resume, "")))
    });
    let all = answers.buffered(at_work).chain(last.filter_map(async |end| end));
    // Nothing follows an error.
    let mut has_failed = false;
    all.take_while(move |answer| {
        let goes_on = !has_failed;
        has_failed = answer.is_err();
        futures::future::ready(goes_on)
    })
    .boxed()
}

async fn answer(
    app: &App,
    call: &Call,
    chunk: wire::StreamEventsRequest,
) -> Result<wire::StreamEventsResponse, Status> {
    let taken = take(app, call, chunk.events, Patience::Waits).await;
    let outcomes = taken.map_err(|error| status(&error))?;
    let mut response =
        wire::StreamEventsResponse { chunk_id: chunk.chunk_id, ..Default::default() };
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Outcome::Accepted(_) => response.accepted += 1,
            Outcome::Duplicate(_) => response.duplicates += 1,
            Outcome::Rejected(violations) => response.rejected.push(wire::RejectedInChunk {
                index: index as i32, // below 500
                violations: fields(violations),
            }),
        }
    }
    Ok(response)
}
