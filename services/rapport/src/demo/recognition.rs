//! First act: events of strangers become customers.

use std::collections::{BTreeMap, HashMap, HashSet};

use contracts::common::v1::Identifier;
use contracts::identity::v1 as identity;
use contracts::identity::v1::identity_service_client::IdentityServiceClient;
use contracts::profile::v1 as profile;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use futures::{StreamExt as _, TryStreamExt as _};
use prost_types::Timestamp;

use super::data::{IdentifierStream, StreamEvent};
use super::report::{self, count};
use crate::client::{Client, patiently};

const BATCH: usize = 500;
/// Stands for whoever was behind an event that does not say who.
const NOBODY: &str = "nobody-";

/// What the act found.
#[derive(Debug)]
pub struct Recognition {
    events: u64,
    values: u64,
    customers: u64,
    nobody: u64,
    persons: u64,
    pairwise: linkage::metrics::Agreement,
    bcubed: linkage::metrics::Agreement,
    shared: BTreeMap<String, Vec<String>>,
    path: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    time: String,
    channel: String,
    identifiers: Vec<String>,
}

/// Sends the events, then asks who they were.
///
/// # Errors
/// When a call fails.
pub async fn run(client: &Client, stream: &IdentifierStream) -> anyhow::Result<Recognition> {
    let unnamed = ingest(client, &stream.events).await?;
    let resolutions = resolve_again(client, &stream.events).await?;
    let customers: Vec<&str> = resolutions.iter().map(|found| found.customer_id.as_str()).collect();
    for (event, customer) in stream.events.iter().zip(&customers) {
        let is_lost = unnamed.contains(event.event_id.as_str()) && !is_nobody(customer);
        anyhow::ensure!(!is_lost, "event {} names somebody and was rejected", event.event_id);
    }
    let distinct: HashSet<&str> =
        customers.iter().copied().filter(|customer| !is_nobody(customer)).collect();
    let persons: HashSet<&str> = stream.persons.iter().map(String::as_str).collect();
    let values: HashSet<(&str, &str)> = stream
        .events
        .iter()
        .flat_map(|event| &event.identifiers)
        .map(|identifier| (identifier.r#type.as_str(), identifier.value.as_str()))
        .collect();
    let labels: Vec<(&str, &str)> =
        stream.persons.iter().map(String::as_str).zip(customers.iter().copied()).collect();
    let shared = shared_values(client, &distinct).await?;
    let path = path_to_known(client, stream, &customers).await?;
    Ok(Recognition {
        events: stream.events.len() as u64,
        values: values.len() as u64,
        customers: distinct.len() as u64,
        nobody: customers.iter().filter(|customer| is_nobody(customer)).count() as u64,
        persons: persons.len() as u64,
        pairwise: linkage::metrics::pairwise(&labels),
        bcubed: linkage::metrics::b_cubed(&labels),
        shared,
        path,
    })
}

fn identifiers(event: &StreamEvent) -> Vec<Identifier> {
    let identifier = |raw: &super::data::RawIdentifier| Identifier {
        namespace: raw.namespace().to_owned(),
        value: raw.value.clone(),
    };
    event.identifiers.iter().map(identifier).collect()
}

fn event_of(event: &StreamEvent) -> profile::Event {
    profile::Event {
        message_id: event.event_id.clone(),
        r#type: profile::EventType::Track.into(),
        name: format!("Seen: {}", event.channel),
        identifiers: identifiers(event),
        event_time: Some(timestamp(event.occurred_at)),
        source: event.channel.clone(),
        ..Default::default()
    }
}

pub(super) fn timestamp(time: jiff::Timestamp) -> Timestamp {
    Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

fn is_nobody(customer: &str) -> bool {
    customer.starts_with(NOBODY)
}

/// Sends the events; answers those that were rejected since nothing in them identifies anybody
/// (placeholders such as `unknown`).
async fn ingest<'a>(
    client: &Client,
    events: &'a [StreamEvent],
) -> anyhow::Result<HashSet<&'a str>> {
    let mut unnamed = HashSet::new();
    let bar = report::progress(events.len(), "events come in");
    let mut service = ProfileServiceClient::new(client.service());
    for chunk in events.chunks(BATCH) {
        let request = profile::IngestEventsRequest { events: chunk.iter().map(event_of).collect() };
        let answer = patiently(async || service.ingest_events(request.clone()).await).await?;
        for (event, result) in chunk.iter().zip(&answer.results) {
            let is_unnamed =
                result.violations.iter().any(|violation| violation.field == "identifiers");
            if is_unnamed {
                unnamed.insert(event.event_id.as_str());
            } else {
                super::all_accepted(std::slice::from_ref(result))?;
            }
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish();
    Ok(unnamed)
}

/// Resolving a known set again changes nothing and tells its customer of today.
async fn resolve_again(
    client: &Client,
    events: &[StreamEvent],
) -> anyhow::Result<Vec<identity::Resolution>> {
    let bar = report::progress(events.len(), "who was it?");
    let mut service = IdentityServiceClient::new(client.service());
    let mut resolutions = Vec::with_capacity(events.len());
    for chunk in events.chunks(BATCH) {
        let requests = chunk
            .iter()
            .map(|event| identity::ResolveRequest {
                identifiers: identifiers(event),
                ..Default::default()
            })
            .collect();
        let request = identity::BatchResolveRequest { requests };
        let answer = patiently(async || service.batch_resolve(request.clone()).await).await?;
        for (event, result) in chunk.iter().zip(answer.results) {
            resolutions.push(match result.result {
                Some(identity::batch_resolve_result::Result::Resolution(found))
                    if !found.shared_only =>
                {
                    found
                }
                // Nothing but placeholders, or a shop's phone alone: whoever it was, the event
                // says nothing about who. Each such event is counted as a person of its own.
                _ => identity::Resolution {
                    customer_id: format!("{NOBODY}{}", event.event_id),
                    ..Default::default()
                },
            });
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish();
    Ok(resolutions)
}

async fn shared_values(
    client: &Client,
    customers: &HashSet<&str>,
) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let bar = report::progress(customers.len(), "what is shared?");
    let lists = futures::stream::iter(customers.iter().map(|customer| {
        let mut service = IdentityServiceClient::new(client.service());
        let request = identity::ListIdentifiersRequest {
            customer_id: (*customer).to_owned(),
            page_size: 1_000,
            ..Default::default()
        };
        let bar = bar.clone();
        async move {
            let answer = patiently(async || service.list_identifiers(request.clone()).await).await;
            bar.inc(1);
            answer.map(|answer| answer.identifiers)
        }
    }))
    .buffer_unordered(16)
    .try_collect::<Vec<_>>()
    .await?;
    bar.finish();

    let mut shared: BTreeMap<String, HashSet<String>> = BTreeMap::new();
    for found in lists.into_iter().flatten().filter(|found| found.shared) {
        let Some(identifier) = found.identifier else { continue };
        shared.entry(identifier.namespace).or_default().insert(identifier.value);
    }
    let sorted = |values: HashSet<String>| {
        let mut values: Vec<String> = values.into_iter().collect();
        values.sort();
        values
    };
    Ok(shared.into_iter().map(|(namespace, values)| (namespace, sorted(values))).collect())
}

/// A customer who was anonymous first and is known by three kinds of identifiers now.
async fn path_to_known(
    client: &Client,
    stream: &IdentifierStream,
    customers: &[&str],
) -> anyhow::Result<Vec<Step>> {
    let mut of_customer: HashMap<&str, Vec<&StreamEvent>> = HashMap::new();
    for (event, customer) in stream.events.iter().zip(customers) {
        of_customer.entry(customer).or_default().push(event);
    }
    let interesting = |events: &Vec<&StreamEvent>| {
        let kinds: HashSet<&str> = events
            .iter()
            .flat_map(|event| &event.identifiers)
            .map(|identifier| identifier.r#type.as_str())
            .collect();
        let first_is_anonymous =
            events[0].identifiers.iter().all(|identifier| identifier.r#type == "cookie");
        first_is_anonymous && kinds.len() >= 4 && (5..=12).contains(&events.len())
    };
    let chosen = stream.events.iter().zip(customers).find_map(|(_, customer)| {
        of_customer.get(customer).filter(|events| interesting(events)).map(|_| *customer)
    });
    let Some(chosen) = chosen else { return Ok(Vec::new()) };

    let mut service = ProfileServiceClient::new(client.service());
    let request = profile::GetTimelineRequest {
        customer_id: chosen.to_owned(),
        page_size: 50,
        ..Default::default()
    };
    let mut events = patiently(async || service.get_timeline(request.clone()).await).await?.events;
    events.reverse();
    Ok(events.into_iter().filter_map(|event| event.event).map(|event| step(&event)).collect())
}

fn step(event: &profile::Event) -> Step {
    let time = event.event_time.unwrap_or_default();
    let time = jiff::Timestamp::from_second(time.seconds).unwrap_or_default();
    let named =
        |identifier: &Identifier| format!("{} {}", identifier.namespace, masked(&identifier.value));
    Step {
        time: time.strftime("%d %b %H:%M").to_string(),
        channel: event.source.clone(),
        identifiers: event.identifiers.iter().map(named).collect(),
    }
}

/// First and last letters only, as one would show it on a screen in an open office.
fn masked(value: &str) -> String {
    let letters: Vec<char> = value.chars().collect();
    if letters.len() <= 6 {
        return value.to_owned();
    }
    let head: String = letters[..4].iter().collect();
    let tail: String = letters[letters.len() - 2..].iter().collect();
    format!("{head}…{tail}")
}

impl Recognition {
    /// Says it to a manager.
    pub fn print(&self) {
        report::heading("1  Recognition: who is this?");
        report::say(&format!(
            "{} events carried {} different cookies, phones, e-mails, WeChat ids and cards.\n\
             Rapport made {} customers of them, where {} persons acted: visitors who never said\n\
             anything that joins them stay apart. {} events say nothing about who it was (a\n\
             shop's phone alone); each of these counts as a person of its own below.\n",
            count(self.events),
            count(self.values),
            count(self.customers),
            count(self.persons),
            count(self.nobody),
        ));
        let row = |name: &str, scores: &linkage::metrics::Agreement| {
            let cell = |value: f64| format!("{value:.3}");
            vec![name.to_owned(), cell(scores.precision), cell(scores.recall), cell(scores.f1())]
        };
        report::table(
            &["against the truth", "precision", "recall", "F1"],
            &[row("pairs of events", &self.pairwise), row("per event (B-cubed)", &self.bcubed)],
        );
        report::say(
            "Precision: of two events put together, how often it was one person. Recall: of two \n\
             events of one person, how often they were put together. Joining whatever shares a \n\
             value (plain union-find) reaches an F1 of .02 on these events.\n",
        );
        self.print_path();
        self.print_shared();
    }

    fn print_path(&self) {
        if self.path.is_empty() {
            return;
        }
        report::say("One customer's way from anonymous to known:");
        let rows: Vec<Vec<String>> = self
            .path
            .iter()
            .map(|step| vec![step.time.clone(), step.channel.clone(), step.identifiers.join(", ")])
            .collect();
        report::table(&["when", "where", "seen with"], &rows);
    }

    fn print_shared(&self) {
        report::say(
            "\nValues seen with too many different people to identify one; they link nothing:",
        );
        let rows: Vec<Vec<String>> = self
            .shared
            .iter()
            .map(|(namespace, values)| {
                let examples: Vec<String> =
                    values.iter().take(3).map(|value| masked(value)).collect();
                vec![namespace.clone(), count(values.len() as u64), examples.join(", ")]
            })
            .collect();
        report::table(&["namespace", "values", "for example"], &rows);
    }
}
