//! Who the events are about, and what they say: a population of customers of Zipf popularity
//! with one or two sets of identifiers each, and events of about 400 bytes.
//!
//! Everything is made from a seed and encoded beforehand: a chunk is put together by copying.

use contracts::common::v1::Identifier;
use contracts::google::r#type::Money;
use contracts::profile::v1::{Event, EventType, LedgerEntry, LedgerEntryType};
use prost::Message as _;
use prost::bytes::{BufMut, Bytes, BytesMut};
use prost_types::value::Kind;
use prost_types::{Struct, Timestamp, Value};
use serde_json::json;
use uuid::Uuid;

/// Events in a chunk.
pub(crate) const CHUNK: usize = 500;
const VARIANTS: usize = 64;
const NAMES: [&str; 8] = [
    "Product Viewed",
    "Product List Viewed",
    "Pricing Viewed",
    "Cart Viewed",
    "Product Added",
    "Search Performed",
    "Article Read",
    "Video Played",
];
/// Of the event that the bench's scorecard gives points for.
pub(crate) const INTEREST: &str = "Callback Requested";

/// SplitMix64 (Steele, Lea, Flood 2014): good enough to choose with, and repeatable.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn uuid(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(
            ((u128::from(self.next()) << 64) | u128::from(self.next())).to_be_bytes(),
        )
        .into_uuid()
    }
}

/// Ranks 0, 1, 2 … with probability proportional to 1 ÷ (rank + 1).
#[derive(Debug)]
pub(crate) struct Zipf(Vec<f64>);

impl Zipf {
    pub(crate) fn new(ranks: usize) -> Self {
        let mut sum = 0.0;
        Self(
            (1..=ranks)
                .map(|rank| {
                    sum += 1.0 / rank as f64;
                    sum
                })
                .collect(),
        )
    }

    /// O(log ranks).
    pub(crate) fn sample(&self, random: &mut Random) -> usize {
        let total = self.0.last().copied().unwrap_or(0.0);
        let wanted = random.unit() * total;
        self.0.partition_point(|sum| *sum < wanted).min(self.0.len().saturating_sub(1))
    }
}

/// The customers.
#[derive(Debug)]
pub(crate) struct Population {
    people: usize,
    popularity: Zipf,
    /// The identifiers of each set of identifiers, by number.
    evidence: Vec<Vec<Identifier>>,
    /// The same, as field 4 of an event.
    encoded: Vec<Vec<u8>>,
    /// Events without identifiers and message id.
    variants: Vec<Vec<u8>>,
    /// The sets of identifiers and the events as Segment's clients write them.
    segment: Segment,
}

/// Pieces of JSON: an event is `{"messageId":"…",` + who + what.
#[derive(Debug, Clone)]
struct Segment {
    who: Vec<String>,
    what: Vec<String>,
}

impl Population {
    /// `people` customers; every second one has two sets of identifiers.
    pub(crate) fn new(people: usize) -> Self {
        // First everybody's first set, then the second sets of the even ones.
        let first = (0..people).map(|person| vec![cookie(person)]);
        let second = (0..people).step_by(2).map(|person| vec![cookie(person), email(person)]);
        let evidence: Vec<_> = first.chain(second).collect();
        let encode = |identifiers: &Vec<Identifier>| {
            Event { identifiers: identifiers.clone(), ..Event::default() }.encode_to_vec()
        };
        let mut random = Random::new(7);
        let events: Vec<_> = (0..VARIANTS).map(|n| variant(n, &mut random)).collect();
        let plain = events.iter().filter(|event| event.ledger_entry.is_none());
        Self {
            people,
            popularity: Zipf::new(people),
            encoded: evidence.iter().map(encode).collect(),
            segment: Segment {
                who: evidence.iter().map(|set| segment_who(set)).collect(),
                what: plain.map(segment_what).collect(),
            },
            evidence,
            variants: events.iter().map(Event::encode_to_vec).collect(),
        }
    }

    /// The same people, whose events carry no ledger entries.
    pub(crate) fn without_ledger(&self) -> Self {
        let has_none = |bytes: &&Vec<u8>| {
            Event::decode(bytes.as_slice()).is_ok_and(|event| event.ledger_entry.is_none())
        };
        Self {
            people: self.people,
            popularity: Zipf::new(self.people),
            evidence: self.evidence.clone(),
            encoded: self.encoded.clone(),
            variants: self.variants.iter().filter(has_none).cloned().collect(),
            segment: self.segment.clone(),
        }
    }

    /// A body for Segment's paths: a batch, or the event itself if it is one.
    pub(crate) fn segment_body(&self, events: usize, random: &mut Random) -> Bytes {
        let mut body = String::with_capacity(events * 800 + 16);
        if events > 1 {
            body.push_str(r#"{"batch":["#);
        }
        for number in 0..events {
            if number > 0 {
                body.push(',');
            }
            let mut id = [0_u8; uuid::fmt::Hyphenated::LENGTH];
            body.push_str(r#"{"messageId":""#);
            body.push_str(random.uuid().hyphenated().encode_lower(&mut id));
            body.push_str(r#"","#);
            body.push_str(&self.segment.who[self.pick(random)]);
            body.push_str(&self.segment.what[random.below(self.segment.what.len())]);
        }
        if events > 1 {
            body.push_str("]}");
        }
        body.into()
    }

    /// How many customers.
    pub(crate) const fn people(&self) -> usize {
        self.people
    }

    /// How many sets of identifiers.
    pub(crate) fn evidence(&self) -> usize {
        self.evidence.len()
    }

    /// Whose set it is.
    pub(crate) const fn owner(&self, evidence: usize) -> usize {
        if evidence < self.people { evidence } else { (evidence - self.people) * 2 }
    }

    /// An event as a message.
    pub(crate) fn event(&self, evidence: usize, name: &str, random: &mut Random) -> Event {
        let number = random.below(VARIANTS);
        Event {
            message_id: random.uuid().to_string(),
            r#type: EventType::Track.into(),
            name: name.to_owned(),
            identifiers: self.evidence[evidence].clone(),
            ..variant(number, random)
        }
    }

    /// Any event of anybody.
    pub(crate) fn any_event(&self, random: &mut Random) -> Event {
        let evidence = self.pick(random);
        self.event(evidence, NAMES[random.below(NAMES.len())], random)
    }

    /// A set of identifiers of somebody, popular ones more often.
    fn pick(&self, random: &mut Random) -> usize {
        let person = self.popularity.sample(random);
        let has_second = person.is_multiple_of(2);
        if has_second && random.below(2) == 1 { self.people + person / 2 } else { person }
    }

    /// A `StreamEventsRequest` of [`CHUNK`] events, encoded.
    pub(crate) fn chunk(&self, chunk_id: u64, random: &mut Random) -> Bytes {
        let mut bytes = BytesMut::with_capacity(CHUNK * 640);
        bytes.put_u8(0x08);
        prost::encoding::encode_varint(chunk_id, &mut bytes);
        for _ in 0..CHUNK {
            let identifiers = &self.encoded[self.pick(random)];
            let rest = &self.variants[random.below(self.variants.len())];
            let mut message_id = [0_u8; uuid::fmt::Hyphenated::LENGTH];
            random.uuid().hyphenated().encode_lower(&mut message_id);
            let length = 2 + message_id.len() + identifiers.len() + rest.len();
            bytes.put_u8(0x12);
            prost::encoding::encode_varint(length as u64, &mut bytes);
            bytes.put_slice(&[0x0a, message_id.len() as u8]);
            bytes.put_slice(&message_id);
            bytes.put_slice(identifiers);
            bytes.put_slice(rest);
        }
        bytes.freeze()
    }
}

fn cookie(person: usize) -> Identifier {
    let value = format!("c{:016x}", Random::new(person as u64).next());
    Identifier { namespace: "anonymous_id".to_owned(), value }
}

fn email(person: usize) -> Identifier {
    Identifier { namespace: "email".to_owned(), value: format!("person{person}@example.org") }
}

/// Events differ in name and details; one in sixteen is an order, one in sixteen brings a trait.
fn variant(number: usize, random: &mut Random) -> Event {
    let is_order = number.is_multiple_of(16);
    let has_trait = number % 16 == 1;
    let order = LedgerEntry {
        r#type: LedgerEntryType::OrderCompleted.into(),
        entry_id: random.uuid().to_string(),
        amount: Some(Money { currency_code: "EUR".to_owned(), units: 49, nanos: 900_000_000 }),
        points: 0,
    };
    let name = if is_order { "Order Completed" } else { NAMES[number % NAMES.len()] };
    Event {
        r#type: EventType::Track.into(),
        name: name.to_owned(),
        event_time: Some(Timestamp::from(std::time::SystemTime::now())),
        properties: Some(details(&[
            ("product_id", &random.uuid().to_string()),
            ("category", "outdoor/tents"),
            ("title", "Two-person tent, 1.9 kg, green"),
            ("list", &random.uuid().to_string()),
        ])),
        traits: has_trait.then(|| details(&[("plan", ["basic", "gold"][number / 16 % 2])])),
        context: Some(details(&[
            ("page", "https://shop.example.org/outdoor/tents/two-person"),
            ("agent", "Mozilla/5.0 (X11; Linux x86_64; rv:141.0)"),
        ])),
        source: "web".to_owned(),
        ledger_entry: is_order.then_some(order),
        ..Event::default()
    }
}

/// `anonymousId`; what else is known goes into `context.externalIds`, where it is no trait.
fn segment_who(set: &[Identifier]) -> String {
    let mut who = String::new();
    let mut others = Vec::new();
    for Identifier { namespace, value } in set {
        if namespace == "anonymous_id" {
            who = format!(r#""anonymousId":"{value}","#);
        } else {
            others.push(json!({"type": namespace, "id": value, "collection": "users"}));
        }
    }
    // Not closed: the context goes on with what is seen.
    match others.as_slice() {
        [] => who + r#""context":{"#,
        others => format!(r#"{who}"context":{{"externalIds":{},"#, json!(others)),
    }
}

/// The rest of the context, then everything else.
fn segment_what(event: &Event) -> String {
    let texts = |details: &Option<Struct>| -> serde_json::Map<String, serde_json::Value> {
        let fields = details.iter().flat_map(|details| &details.fields);
        let text = |value: &Value| match &value.kind {
            Some(Kind::StringValue(text)) => json!(text),
            _ => json!(null),
        };
        fields.map(|(key, value)| (key.clone(), text(value))).collect()
    };
    let mut context = texts(&event.context);
    if event.traits.is_some() {
        context.insert("traits".to_owned(), texts(&event.traits).into());
    }
    let context = serde_json::Value::from(context).to_string();
    let rest = json!({
        "type": "track",
        "event": event.name,
        "properties": texts(&event.properties),
        "timestamp": jiff::Timestamp::now().to_string(),
    })
    .to_string();
    // `"page":…,"agent":…},"type":…}`
    format!("{},{}", &context[1..], &rest[1..])
}

fn details(pairs: &[(&str, &str)]) -> Struct {
    let text = |value: &str| Value { kind: Some(Kind::StringValue(value.to_owned())) };
    Struct { fields: pairs.iter().map(|(key, value)| ((*key).to_owned(), text(value))).collect() }
}

#[cfg(test)]
mod tests {
    use contracts::profile::v1::StreamEventsRequest;

    use super::*;

    #[test]
    fn a_chunk_decodes_to_whole_events_of_about_400_bytes() {
        let population = Population::new(100);
        assert_eq!(population.evidence(), 150);
        let bytes = population.chunk(300, &mut Random::new(1));
        let size = bytes.len() / CHUNK;
        assert!((350..650).contains(&size), "{size}");
        let chunk = StreamEventsRequest::decode(bytes).unwrap();
        assert_eq!((chunk.chunk_id, chunk.events.len()), (300, CHUNK));
        for event in &chunk.events {
            assert_eq!(event.message_id.len(), 36);
            assert!((1..=2).contains(&event.identifiers.len()));
            assert!(event.properties.is_some() && !event.name.is_empty());
        }
    }

    #[test]
    fn a_body_for_segment_is_json_with_the_same_people() {
        let population = Population::new(100);
        let mut random = Random::new(2);
        let body = population.segment_body(100, &mut random);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let events = body["batch"].as_array().unwrap();
        assert_eq!(events.len(), 100);
        for event in events {
            assert!(event["anonymousId"].as_str().unwrap().starts_with('c'));
            assert_eq!(
                (event["type"].as_str(), event["messageId"].as_str().unwrap().len()),
                (Some("track"), 36)
            );
            assert_ne!(event["event"], "Order Completed");
            assert!(
                event["context"]["agent"].is_string() && event["properties"]["list"].is_string()
            );
        }
        assert!(events.iter().any(|event| event["context"]["externalIds"][0]["type"] == "email"));
        let single = population.segment_body(1, &mut random);
        assert!(serde_json::from_slice::<serde_json::Value>(&single).unwrap()["event"].is_string());
        assert_eq!(population.without_ledger().variants.len(), VARIANTS - VARIANTS / 16);
    }

    #[test]
    fn popular_ranks_are_chosen_in_proportion() {
        let (zipf, mut random) = (Zipf::new(1_000), Random::new(3));
        let mut counts = vec![0_u32; 1_000];
        for _ in 0..100_000 {
            counts[zipf.sample(&mut random)] += 1;
        }
        let ratio = f64::from(counts[0]) / f64::from(counts[9]);
        assert!((8.0..12.5).contains(&ratio), "{ratio}");
        assert!(counts[500..].iter().sum::<u32>() > 5_000);
    }

    #[test]
    fn second_sets_belong_to_even_people() {
        let population = Population::new(10);
        assert_eq!(population.owner(3), 3);
        assert_eq!(population.owner(10), 0);
        assert_eq!(population.owner(14), 8);
    }
}
