//! Drivers that ingest events with known ids until each is acknowledged.
//!
//! A person acts under three sets of identifiers, of which one joins the other two: customers
//! merge, and evidence moves, while the suite is being killed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use contracts::common::v1::Identifier;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use contracts::profile::v1::{
    Event, EventResult, EventStatus, EventType, IngestEventsRequest, StreamEventsRequest,
};
use rapport::client::Client;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ledger::Ledger;

/// How many people act.
pub const PEOPLE: usize = 60;
const DRIVERS: usize = 4;
const BATCH: usize = 8;
/// Every so many batches one that was acknowledged is sent once more.
const REPLAY_EVERY: u64 = 20;
/// Between two tries of a call that was not acknowledged.
const PAUSE: Duration = Duration::from_millis(20);
const CALL_LIMIT: Duration = Duration::from_secs(6);

/// Starts the drivers: some with single calls, one with a stream.
pub fn spawn(client: &Client, ledger: &Arc<Ledger>, stop: &CancellationToken, tasks: &TaskTracker) {
    for driver in 0..DRIVERS {
        let (client, ledger, stop) = (client.clone(), Arc::clone(ledger), stop.clone());
        tasks.spawn(async move {
            let mut number = 0;
            while !stop.is_cancelled() {
                if driver == 0 {
                    stream(&client, &ledger, number).await;
                } else {
                    batch(&client, &ledger, driver, number).await;
                }
                number += 1;
            }
        });
    }
}

/// One last event for everybody that joins all their identifiers.
///
/// # Errors
/// When one is not accepted.
pub async fn tie(client: &Client, ledger: &Ledger) -> anyhow::Result<()> {
    let messages: Vec<Message> = (0..PEOPLE)
        .map(|person| Message { person, id: format!("tie-{person}"), kind: 0 })
        .collect();
    let events: Vec<Event> = messages.iter().map(Message::event).collect();
    for (message, result) in messages.iter().zip(acknowledged(client, ledger, &events).await) {
        // Repeated because its answer was lost, it is a duplicate.
        ensure!(result.status() != EventStatus::Rejected, "{}: {result:?}", message.id);
        ledger.events(message.person, &result.customer_id, std::slice::from_ref(&message.id));
    }
    Ok(())
}

/// An event by what is known of it beforehand.
struct Message {
    person: usize,
    id: String,
    kind: usize,
}

impl Message {
    /// The same for the same numbers.
    fn of(driver: usize, number: u64, position: usize) -> Self {
        let spread = number.wrapping_mul(31).wrapping_add(position as u64 * 17 + driver as u64);
        let person = usize::try_from(spread % PEOPLE as u64).unwrap_or_default();
        let kind = usize::try_from((spread / 7) % 3).unwrap_or_default();
        Self { person, id: format!("d{driver}-{number}-{position}"), kind }
    }

    fn event(&self) -> Event {
        let known = identifier("user_id", format!("person-{}", self.person));
        let browser = identifier("anonymous_id", format!("browser-{}", self.person));
        let identifiers = match self.kind {
            0 => vec![known, browser],
            1 => vec![known],
            _ => vec![browser],
        };
        Event {
            message_id: self.id.clone(),
            r#type: EventType::Track.into(),
            name: "Seen".to_owned(),
            identifiers,
            source: "faults".to_owned(),
            ..Default::default()
        }
    }
}

/// Who a person is known as.
#[must_use]
pub fn user_id(person: usize) -> Identifier {
    identifier("user_id", format!("person-{person}"))
}

fn identifier(namespace: &str, value: String) -> Identifier {
    Identifier { namespace: namespace.to_owned(), value }
}

/// Ingests a batch until it is acknowledged; sometimes sends it once more.
async fn batch(client: &Client, ledger: &Ledger, driver: usize, number: u64) {
    let messages: Vec<Message> =
        (0..BATCH).map(|position| Message::of(driver, number, position)).collect();
    let events: Vec<Event> = messages.iter().map(Message::event).collect();
    let results = acknowledged(client, ledger, &events).await;
    for (message, result) in messages.iter().zip(&results) {
        if result.status() == EventStatus::Rejected {
            ledger.wrong(format!("{} was rejected: {:?}", message.id, result.violations));
            continue;
        }
        ledger.events(message.person, &result.customer_id, std::slice::from_ref(&message.id));
    }
    ledger.batch();
    if number.is_multiple_of(REPLAY_EVERY) {
        for (message, result) in messages.iter().zip(acknowledged(client, ledger, &events).await) {
            if result.status() != EventStatus::Duplicate {
                ledger.wrong(format!(
                    "{} was acknowledged, then {:?}",
                    message.id,
                    result.status()
                ));
            }
        }
    }
}

/// Repeats the call until it is answered.
async fn acknowledged(client: &Client, ledger: &Ledger, events: &[Event]) -> Vec<EventResult> {
    let mut service = ProfileServiceClient::new(client.service());
    loop {
        let request = IngestEventsRequest { events: events.to_vec() };
        let call = tokio::time::timeout(CALL_LIMIT, service.ingest_events(request));
        if let Ok(Ok(answer)) = call.await {
            let results = answer.into_inner().results;
            if results.len() != events.len() {
                ledger.wrong(format!("{} results for {} events", results.len(), events.len()));
            }
            return results;
        }
        ledger.repeat();
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sends one chunk on a stream of its own until it is acknowledged.
async fn stream(client: &Client, ledger: &Ledger, number: u64) {
    let messages: Vec<Message> =
        (0..BATCH * 4).map(|position| Message::of(0, number, position)).collect();
    let events: Vec<Event> = messages.iter().map(Message::event).collect();
    loop {
        let sent = tokio::time::timeout(CALL_LIMIT, chunk(client, events.clone())).await;
        if let Ok(Ok(())) = sent {
            break;
        }
        ledger.repeat();
        tokio::time::sleep(PAUSE).await;
    }
    for message in &messages {
        // A chunk's answer names no customers: whoever was known stays.
        let customer_id = ledger.customer_of(message.person).unwrap_or_default();
        ledger.events(message.person, &customer_id, std::slice::from_ref(&message.id));
    }
    ledger.batch();
}

async fn chunk(client: &Client, events: Vec<Event>) -> anyhow::Result<()> {
    let mut service = ProfileServiceClient::new(client.service());
    let count = events.len();
    let chunks = tokio_stream::once(StreamEventsRequest { chunk_id: 1, events });
    let mut answers = service.stream_events(chunks).await?.into_inner();
    let answer = answers.message().await?.context("an answer")?;
    let total = usize::try_from(answer.accepted + answer.duplicates)?;
    ensure!(answer.rejected.is_empty() && total == count, "{answer:?}");
    Ok(())
}
