//! DESIGN 6.4 over the real services: whatever the order, the batching, the duplication and
//! the merges and splits in between, profiles are the fold of the distinct events.

use std::collections::{BTreeMap, HashMap};

use aggregate::{
    Amount, Behaviour, EventFacts, EventKind, LedgerFact, Personal, TraitFact, TraitValue,
};
use contracts::profile::v1 as wire;
use kernel::EvidenceId;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use crate::world::{BASE_US, Client, World, record, text, text_of, time, track};

const PERSONS: usize = 4;
const NAMES: [&str; 3] = ["Page Viewed", "Order Completed", "Signed In"];
const DAY_US: i64 = 86_400_000_000;

#[derive(Debug, Clone)]
struct Happening {
    person: usize,
    name: usize,
    age_hours: i64,
    trait_no: usize,
}

#[derive(Debug, Clone)]
enum Step {
    /// Events by number; repeated ones are duplicates.
    Ingest(Vec<prop::sample::Index>),
    Merge(usize, usize),
    Split(usize),
}

impl Happening {
    fn event_us(&self) -> i64 {
        BASE_US - self.age_hours * DAY_US / 24
    }

    fn event(&self, number: usize) -> wire::Event {
        let mut event =
            track(self.person, &format!("m-{number}"), NAMES[self.name], self.event_us());
        match self.trait_no {
            1 => event.traits = Some(record(&[("city", text(&format!("City {number}")))])),
            2 => event.traits = Some(record(&[("name", text(&format!("Name {number}")))])),
            _ => {}
        }
        if self.name == 1 {
            let revenue = prost_types::value::Kind::NumberValue(1.5 + number as f64);
            event.properties = Some(record(&[("revenue", revenue), ("currency", text("CNY"))]));
        }
        event
    }

    fn fold(&self, number: usize, evidence: Uuid, both: &mut (Behaviour, Personal)) {
        let (name, value) = match self.trait_no {
            1 => ("city", TraitValue::text(format!("City {number}")).unwrap()),
            _ => ("name", TraitValue::text(format!("Name {number}")).unwrap()),
        };
        let given = [TraitFact { name, value: &value, personal: self.trait_no == 2 }];
        let micros = 1_500_000 + number as u64 * 1_000_000;
        let amount = Amount { currency: aggregate::Currency::new("CNY").unwrap(), micros };
        let facts = EventFacts {
            name: NAMES[self.name],
            kind: EventKind::Track,
            event_us: self.event_us(),
            ledger: (self.name == 1).then_some(LedgerFact::OrderCompleted(Some(amount))),
            traits: if self.trait_no == 0 { &[] } else { &given },
            source: "web",
            evidence: EvidenceId::new(evidence),
            message_id: &format!("m-{number}"),
        };
        both.0.fold(&facts);
        both.1.fold(&facts);
    }
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = (0..PERSONS, 0..NAMES.len(), 0..900_i64, 0..3_usize).prop_map(
        |(person, name, age_hours, trait_no)| Happening { person, name, age_hours, trait_no },
    );
    prop::collection::vec(one, 8..30)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ingest = prop::collection::vec(any::<prop::sample::Index>(), 1..12).prop_map(Step::Ingest);
    let step = prop_oneof![
        3 => ingest,
        2 => (0..PERSONS, 0..PERSONS).prop_map(|(a, b)| Step::Merge(a, b)),
        1 => (0..PERSONS).prop_map(Step::Split),
    ];
    prop::collection::vec(step, 4..14)
}

#[test]
fn profiles_are_the_fold_of_distinct_events_whatever_happens_in_between() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let config =
        Config { cases: 12, max_shrink_iters: 30, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&(happenings(), steps()), |(happenings, steps)| {
        runtime.block_on(async { play(world.tenant(), &happenings, &steps).await });
        Ok(())
    });
    drop(runtime);
    result.unwrap();
}

async fn play(mut client: Client, happenings: &[Happening], steps: &[Step]) {
    for step in steps {
        match step {
            Step::Ingest(numbers) => {
                let numbers = numbers.iter().map(|index| index.index(happenings.len()));
                let events = numbers.map(|number| happenings[number].event(number)).collect();
                for result in client.ingest(events).await {
                    assert_ne!(result.status, wire::EventStatus::Rejected as i32, "{result:?}");
                }
            }
            Step::Merge(a, b) => {
                let (_, left) = client.who(*a).await;
                let (_, right) = client.who(*b).await;
                if left != right {
                    client.merge(&left, &right).await.unwrap();
                }
            }
            Step::Split(n) => {
                let (evidence, customer) = client.who(*n).await;
                // One that stands alone cannot be split.
                let _ = client.split(&customer, &evidence).await;
            }
        }
    }
    // Whatever was not sent is sent now, last to first.
    let all = (0..happenings.len()).rev().map(|number| happenings[number].event(number)).collect();
    client.ingest(all).await;
    check(&mut client, happenings).await;
}

/// Compares every customer with the fold in memory, byte for byte.
async fn check(client: &mut Client, happenings: &[Happening]) {
    let map = client.settled(PERSONS).await;
    let mut evidence_of = HashMap::new();
    for n in 0..PERSONS {
        let (evidence, _) = client.who(n).await;
        evidence_of.insert(n, evidence.parse::<Uuid>().unwrap());
    }
    let mut expected: BTreeMap<Uuid, (Behaviour, Personal)> = BTreeMap::new();
    for (number, happening) in happenings.iter().enumerate() {
        let evidence = evidence_of[&happening.person];
        happening.fold(number, evidence, expected.entry(map[&evidence]).or_default());
    }
    for (customer, (behaviour, personal)) in &expected {
        let stored = stored(client, *customer).await;
        assert_eq!(stored, behaviour.encode(), "customer {customer}");
        // A move is seen by readers a moment after its commit.
        let (id, version) = (customer.to_string(), version(client, *customer).await);
        let profile = client.until(&id, |profile| profile.version >= version).await;
        assert_eq!(profile.total_events, behaviour.total_events() as i64);
        assert_eq!(profile.engagement.to_bits(), behaviour.engagement(BASE_US).to_bits());
        assert_eq!(profile.ledger.as_ref().unwrap().orders, behaviour.ledger().orders() as i64);
        let last_us = behaviour.last_us().unwrap();
        assert_eq!(profile.last_event_time, Some(time(last_us)));
        for kept in behaviour.traits().chain(personal.traits()) {
            let shown = text_of(&profile, kept.name()).unwrap_or_default();
            assert_eq!(kept.value().get(), aggregate::Value::Text(&shown), "{}", kept.name());
        }
        let shown = behaviour.traits().count() + personal.traits().count();
        assert_eq!(profile.traits.len(), shown);
    }
}

/// The state in the customer's row, or in that of its only fragment.
pub(crate) async fn stored(client: &Client, customer: Uuid) -> Vec<u8> {
    let sql = "select coalesce(c.behaviour, f.behaviour) from customer c
        left join fragment f on f.tenant_id = c.tenant_id and f.customer_id = c.customer_id
            and f.version > 0
        where c.tenant_id = $1 and c.customer_id = $2 limit 1";
    let query = sqlx::query_scalar(sql).bind(client.tenant.uuid()).bind(customer);
    query.fetch_one(client.world.database.pool()).await.unwrap()
}

async fn version(client: &Client, customer: Uuid) -> i64 {
    let sql = "select version from customer where tenant_id = $1 and customer_id = $2";
    let query = sqlx::query_scalar(sql).bind(client.tenant.uuid()).bind(customer);
    query.fetch_one(client.world.database.pool()).await.unwrap()
}

#[tokio::test]
async fn a_split_restores_both_profiles_byte_for_byte() {
    let world = World::new().await;
    let mut client = world.tenant();
    for n in 0..2 {
        for day in 0..40 {
            let id = format!("{n}-{day}");
            let mut event = track(n, &id, "Page Viewed", BASE_US - day * DAY_US);
            event.traits = Some(record(&[("name", text(&id)), ("city", text(&id))]));
            client.take(event).await;
        }
    }
    let (_, first) = client.who(0).await;
    let (evidence, second) = client.who(1).await;
    let before = [client.get(&first).await.unwrap(), client.get(&second).await.unwrap()];
    let bytes = [
        stored(&client, first.parse().unwrap()).await,
        stored(&client, second.parse().unwrap()).await,
    ];

    client.merge(&second, &first).await.unwrap();
    client.settled(2).await;
    let merged = client.until(&first, |profile| profile.evidence_ids.len() == 2).await;
    assert_eq!(merged.total_events, 80);
    client.until(&second, |profile| profile.customer_id == first).await;

    client.split(&first, &evidence).await.unwrap();
    client.settled(2).await;
    let after = [
        client.until(&first, |profile| profile.evidence_ids.len() == 1).await,
        client.until(&second, |profile| profile.customer_id == second).await,
    ];
    for ((before, after), bytes) in before.iter().zip(&after).zip(&bytes) {
        assert!(after.version > before.version, "versions never go back");
        let without_version = wire::Profile { version: before.version, ..after.clone() };
        assert_eq!(&without_version, before);
        assert_eq!(&stored(&client, before.customer_id.parse().unwrap()).await, bytes);
    }
}
