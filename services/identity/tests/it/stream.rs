//! The identifier stream (`tests/data/identifier_stream/README.md`) through BatchResolve.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use linkage::metrics;

use crate::world::{Client, World};

struct Event {
    person: String,
    set: Vec<(String, String)>,
}

fn read(name: &str) -> String {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/identifier_stream");
    std::fs::read_to_string(data.join(name)).unwrap()
}

fn events() -> Vec<Event> {
    let truth = read("truth.csv");
    let persons: BTreeMap<&str, &str> =
        truth.lines().skip(1).map(|line| line.split_once(',').unwrap()).collect();
    let event = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let pair = |one: &serde_json::Value| {
            let namespace = match one["type"].as_str().unwrap() {
                "cookie" => "anonymous_id",
                "loyalty_card" => "member_no",
                other => other,
            };
            (namespace.to_owned(), one["value"].as_str().unwrap().to_owned())
        };
        let set = event["identifiers"].as_array().unwrap().iter().map(pair).collect();
        Event { person: persons[event["event_id"].as_str().unwrap()].to_owned(), set }
    };
    read("events.jsonl").lines().map(event).collect()
}

/// The customer of each event, and whether its set names somebody.
async fn replay(client: &mut Client, events: &[Event]) -> Vec<Option<(String, bool)>> {
    let mut found = Vec::with_capacity(events.len());
    for chunk in events.chunks(500) {
        let sets: Vec<Vec<(&str, &str)>> = chunk
            .iter()
            .map(|event| event.set.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect())
            .collect();
        let answers = client.batch(&sets).await;
        let answer = |one: Result<contracts::identity::v1::Resolution, String>| {
            one.ok().map(|one| (one.customer_id, !one.shared_only))
        };
        found.extend(answers.into_iter().map(answer));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_through_the_service_agrees_with_the_truth() {
    let world = World::new().await;
    let mut client = world.tenant();
    let events = events();
    let started = Instant::now();
    replay(&mut client, &events).await;
    let first = started.elapsed();
    let started = Instant::now();
    let found = replay(&mut client, &events).await;
    let again = started.elapsed();
    let rate = |elapsed: std::time::Duration| events.len() as f64 / elapsed.as_secs_f64();
    println!("{:.0} sets/s as they arrive, {:.0} sets/s known", rate(first), rate(again));

    // Events that name nobody count alone, each for itself.
    let alone: Vec<String> = (0..events.len()).map(|place| format!("alone {place}")).collect();
    let label = |(place, event): (usize, &'_ Event)| {
        let named = found[place].as_ref().filter(|(_, names_somebody)| *names_somebody);
        let cluster = named.map_or(alone[place].clone(), |(customer, _)| customer.clone());
        (event.person.clone(), cluster)
    };
    let labels: Vec<(String, String)> = events.iter().enumerate().map(label).collect();
    let borrowed: Vec<(&str, &str)> =
        labels.iter().map(|(person, cluster)| (person.as_str(), cluster.as_str())).collect();
    let pairs = metrics::pairwise(&borrowed);
    println!("P {:.3} R {:.3} F1 {:.3}", pairs.precision, pairs.recall, pairs.f1());
    assert!(pairs.f1() > 0.80 && pairs.precision > 0.90, "{pairs:?}");
}
