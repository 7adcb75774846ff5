//! The identifier stream: 22,073 events of 3,000 persons with hotlines, kiosks, placeholders,
//! shared tablets and recycled numbers (`tests/data/identifier_stream/README.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use kernel::EvidenceId;
use linkage::graph::{self, Decisions, Evidence, Ledger, Value, ValueKey};
use linkage::{EvidenceSet, Rules, metrics};

use crate::world::World;

const KEY: [u8; 32] = [7; 32];

struct Event {
    person: String,
    /// None if no identifier identifies anybody.
    evidence: Option<Evidence>,
}

fn read(name: &str) -> String {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/identifier_stream");
    std::fs::read_to_string(data.join(name)).unwrap()
}

fn events(rules: &Rules) -> Vec<Event> {
    let truth = read("truth.csv");
    let persons: BTreeMap<&str, &str> =
        truth.lines().skip(1).map(|line| line.split_once(',').unwrap()).collect();
    read("events.jsonl").lines().map(|line| event(line, &persons, rules)).collect()
}

fn event(line: &str, persons: &BTreeMap<&str, &str>, rules: &Rules) -> Event {
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let namespace = |name: String| match name.as_str() {
        "cookie" => "anonymous_id".to_owned(),
        "loyalty_card" => "member_no".to_owned(),
        _ => name,
    };
    let identifiers = event["identifiers"].as_array().unwrap().iter();
    let raw: Vec<(String, String)> =
        identifiers.map(|one| (namespace(text(&one["type"])), text(&one["value"]))).collect();
    let set = EvidenceSet::from_raw(&raw, rules).ok();
    let evidence = set.map(|(set, _)| {
        let value = |one: &linkage::Identifier| Value {
            namespace: one.namespace().clone(),
            key: one.value_key(&KEY),
        };
        Evidence {
            id: set.evidence_id(&KEY),
            values: set.identifiers().iter().map(value).collect(),
        }
    });
    Event { person: persons[text(&event["event_id"]).as_str()].to_owned(), evidence }
}

fn different(events: &[Event]) -> Vec<Evidence> {
    let mut seen = BTreeSet::new();
    let evidence = events.iter().filter_map(|event| event.evidence.clone());
    evidence.filter(|evidence| seen.insert(evidence.id)).collect()
}

/// Labels of (person, cluster), one per event. Evidence without linking values is one customer
/// however many events carry it, because equal sets have one id; `apart` counts each of its
/// events alone, as a list of events (not of evidence) would have them.
fn labels<'a>(
    events: &'a [Event],
    clusters: &[Vec<EvidenceId>],
    apart: impl Fn(&Evidence) -> bool,
) -> Vec<(&'a str, usize)> {
    let mut cluster_of: BTreeMap<EvidenceId, usize> = BTreeMap::new();
    for (number, cluster) in clusters.iter().enumerate() {
        cluster_of.extend(cluster.iter().map(|id| (*id, number)));
    }
    let label = |(place, event): (usize, &'a Event)| {
        let found = event.evidence.as_ref().filter(|evidence| !apart(evidence));
        let alone = clusters.len() + place;
        (event.person.as_str(), found.map_or(alone, |evidence| cluster_of[&evidence.id]))
    };
    events.iter().enumerate().map(label).collect()
}

#[test]
fn the_stream_is_resolved_better_than_by_streaming_peers() {
    let rules = Rules::default();
    let events = events(&rules);
    let evidence = different(&events);
    let mut ledger = Ledger::default();
    for one in &evidence {
        ledger.observe(&one.values, &rules);
    }
    let shared = |key: &ValueKey| ledger.is_shared(key);
    let partition = graph::partition(&evidence, shared, &Decisions::default());
    let by_customer = labels(&events, partition.clusters(), |_| false);
    let by_event = labels(&events, partition.clusters(), |one| !one.is_anchored(shared));
    for (name, labels) in [("customers", &by_customer), ("events", &by_event)] {
        let (pairs, items) = (metrics::pairwise(labels), metrics::b_cubed(labels));
        let (precision, recall) = (pairs.precision, pairs.recall);
        println!(
            "{name}: pairs P {precision:.4} R {recall:.4} F1 {:.4}; B-cubed F1 {:.4}",
            pairs.f1(),
            items.f1()
        );
    }
    println!("{} evidence, {} shared values", evidence.len(), ledger.turned().len());
    // A streaming peer with limits per type reaches .678 (P .628, R .737), B-cubed .803 here; the
    // offline rule that drops hubs .827. What is left of the difference between the two
    // readings are events that carry nothing but a store's hotline: 416 in two customers.
    let (customers, events) = (metrics::pairwise(&by_customer), metrics::pairwise(&by_event));
    assert!(customers.f1() > 0.68, "{customers:?}");
    assert!(events.f1() > 0.80 && events.precision > 0.90, "{events:?}");
    assert!(metrics::b_cubed(&by_customer).f1() > 0.80);
}

#[test]
fn the_stream_online_is_the_stream_in_bulk() {
    let mut evidence = different(&events(&Rules::default()));
    let mut worlds = [World::default(), World::default()];
    for batch in evidence.chunks(500) {
        worlds[0].arrive(batch.to_vec());
    }
    evidence.sort_by_key(|one| one.id);
    for batch in evidence.chunks(37) {
        worlds[1].arrive(batch.to_vec());
    }
    let [forwards, by_id] = &worlds;
    assert_eq!(forwards.shared, by_id.shared);
    assert_eq!(forwards.clusters(), by_id.clusters());
    assert_eq!(forwards.clusters(), forwards.batch());
}
