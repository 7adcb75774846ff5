//! A row as events, by a mapping that is bound to the file's header. Pure.
//!
//! Natural keys make a second run harmless: the message id is a hash of the kind, the source
//! and the key columns. A *record* is a state, so its content is part of its key: what
//! changed is new, what did not is a duplicate. Events and ledger entries are facts: the
//! first one with a key stays, and a later row of the same file with the same key and other
//! content is refused and said.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};

use aws_lc_rs::digest;
use contracts::common::v1::Identifier;
use contracts::google::r#type::Money as WireMoney;
use contracts::profile::v1::{Event, EventType, LedgerEntry, LedgerEntryType};
use jiff::Timestamp;
use prost::Message as _;
use prost_types::value::Kind as Wire;

use super::convert::{Converted, Kind, when};
use super::mapping::{Condition, Ledger, Mapping, Negative, Output, OutputKind, Value};
use super::row::{Cell, Fault, Item};
use super::table::encoding::hex;

/// Keys that are remembered to find rows that contradict each other; about 140 MB.
const MOST_KEYS: usize = 4_000_000;
/// Larger ones would only be refused by the service, after a long way.
const MOST_EVENT_BYTES: usize = 128 << 10;
/// Whole numbers beyond that are not exact as JSON numbers.
const LARGEST_EXACT: i64 = 1 << 53;

/// Part of the key of an order that became a refund: the refund of an order is another fact
/// than the order, though both have its number.
const BECAME_REFUND: &str = "became/refund";

/// What became of a row.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// To be sent.
    pub(crate) events: Vec<Event>,
    /// Why the row is refused; then there are no events.
    pub(crate) faults: Vec<Fault>,
    /// Events that stand in an earlier row already.
    pub(crate) repeated: u64,
}

/// Turns rows into events.
#[derive(Debug)]
pub(crate) struct Converter {
    mapping: Mapping,
    source: String,
    header: Vec<String>,
    /// Hash of the natural key → hash of the content, line.
    seen: HashMap<u64, (u32, u32)>,
}

struct Made {
    event: Event,
    key: u64,
    content: u32,
}

impl Converter {
    /// Of a mapping that is bound to this header.
    pub(crate) fn new(mapping: Mapping, source: String, header: Vec<String>) -> Self {
        Self { mapping, source, header, seen: HashMap::new() }
    }

    /// The mapping.
    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Whether there were too many keys to remember.
    pub(crate) fn is_full(&self) -> bool {
        self.seen.len() >= MOST_KEYS
    }

    /// Judges one row.
    pub(crate) fn judge(&mut self, item: &Item) -> Judged {
        let mut judged = Judged::default();
        let cells = match &item.cells {
            Ok(cells) => cells,
            Err(fault) => {
                judged.faults.push(fault.clone());
                return judged;
            }
        };
        let mut all = Vec::new();
        for output in &self.mapping.outputs {
            match self.make(output, cells) {
                Ok(Some(made)) => all.push(made),
                Ok(None) => {}
                Err(faults) => {
                    let new = faults.into_iter().filter(|fault| !judged.faults.contains(fault));
                    let new: Vec<Fault> = new.collect();
                    judged.faults.extend(new);
                }
            }
        }
        for made in &all {
            if let Some((content, line)) = self.seen.get(&made.key)
                && *content != made.content
            {
                judged.faults.push(Fault::of_row(format!(
                    "line {line} has the same natural key and other content, and is the one that \
                     counts: if both are meant, `key` needs one more column"
                )));
            }
        }
        if !judged.faults.is_empty() {
            return judged;
        }
        for made in all {
            if self.seen.contains_key(&made.key) {
                judged.repeated += 1;
                continue;
            }
            if self.seen.len() < MOST_KEYS {
                let line = u32::try_from(item.line).unwrap_or(u32::MAX);
                self.seen.insert(made.key, (made.content, line));
            }
            judged.events.push(made.event);
        }
        judged
    }

    fn make(&self, output: &Output, cells: &[Cell]) -> Result<Option<Made>, Vec<Fault>> {
        if !self.is_meant(output, cells).map_err(|fault| vec![fault])? {
            return Ok(None);
        }
        let mut filling = Filling { cells, faults: Vec::new() };
        let mut event = Event {
            r#type: match &output.kind {
                OutputKind::Event(kind) => *kind,
                OutputKind::Record => EventType::Identify,
                OutputKind::Ledger(_) => EventType::Track,
            }
            .into(),
            name: filling.text(output.name.as_ref()).unwrap_or_default(),
            identifiers: filling.identifiers(&output.identifiers),
            event_time: filling.time(output.time.as_ref()).map(wire_time),
            properties: filling.fields(&output.properties),
            traits: filling.fields(&output.traits),
            context: filling.fields(&output.context),
            source: self.source.clone(),
            ..Event::default()
        };
        if let OutputKind::Ledger(ledger) = &output.kind {
            match filling.ledger(ledger) {
                Some((entry, name)) => {
                    event.ledger_entry = Some(entry);
                    event.name = name.map_or(event.name, str::to_owned);
                }
                None if filling.faults.is_empty() => return Ok(None), // skipped
                None => {}
            }
        }
        let key = self.key(output, &event, &mut filling);
        if !filling.faults.is_empty() {
            return Err(filling.faults);
        }
        let content = event.encode_to_vec();
        if content.len() > MOST_EVENT_BYTES {
            let reason = "is too large: properties, traits and context take 32 KiB each";
            return Err(vec![Fault::of_row(reason)]);
        }
        event.message_id = format!("import:{}", hex(&key[..16]));
        Ok(Some(Made { event, key: hash(&key), content: hash(&content) as u32 })) // half of it
    }

    /// Whether the conditions hold.
    fn is_meant(&self, output: &Output, cells: &[Cell]) -> Result<bool, Fault> {
        let holds = |condition: &Condition| -> Result<bool, Fault> {
            let text = condition.value.text(cells)?.unwrap_or_default();
            Ok(condition.texts.iter().any(|wanted| wanted.trim() == text))
        };
        for condition in &output.when {
            if !holds(condition)? {
                return Ok(false);
            }
        }
        let mut are_all = !output.unless.is_empty();
        for condition in &output.unless {
            are_all &= holds(condition)?;
        }
        Ok(!are_all)
    }

    /// Each part after its length, so that (`ab`, `c`) is not (`a`, `bc`).
    fn key(&self, output: &Output, event: &Event, filling: &mut Filling<'_>) -> Vec<u8> {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut part = |text: &str| {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        };
        part(&output.tag);
        part(&self.source);
        if output.key.is_empty() {
            for (name, cell) in self.header.iter().zip(filling.cells) {
                if !cell.is_blank() {
                    part(name);
                    part(&cell.text());
                }
            }
        }
        let mut is_empty = !output.key.is_empty();
        for value in &output.key {
            let text = filling.text(Some(value)).unwrap_or_default();
            is_empty &= text.is_empty();
            part(&text);
        }
        if let OutputKind::Ledger(ledger) = &output.kind
            && event.ledger_entry.as_ref().is_some_and(|entry| entry.r#type() != ledger.kind)
        {
            part(BECAME_REFUND); // the order itself keeps the key without it
        }
        if is_empty && filling.faults.is_empty() {
            let columns: Vec<String> = output.key.iter().map(Value::shown).collect();
            filling.faults.push(Fault {
                column: columns.join(" + "),
                value: String::new(),
                reason: "is empty, but it is the natural key".to_owned(),
            });
        }
        if matches!(output.kind, OutputKind::Record) {
            context.update(&event.encode_to_vec());
        }
        context.finish().as_ref().to_vec()
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Fills an event from the cells of a row and collects what is wrong.
struct Filling<'a> {
    cells: &'a [Cell],
    faults: Vec<Fault>,
}

impl Filling<'_> {
    fn value(&mut self, value: &Value, currency: Option<&str>) -> Option<Converted> {
        match value.of(self.cells, currency) {
            Ok(converted) => converted,
            Err(fault) => {
                if !self.faults.contains(&fault) {
                    self.faults.push(fault);
                }
                None
            }
        }
    }

    fn text(&mut self, value: Option<&Value>) -> Option<String> {
        Some(text_of(self.value(value?, None)?))
    }

    fn time(&mut self, value: Option<&Value>) -> Option<Timestamp> {
        let value = value?;
        match (self.value(value, None)?, &value.kind) {
            (Converted::Time(time), _) => Some(time),
            (Converted::Date(date), Kind::Date(reading)) => when::midnight(date, &reading.zone),
            _ => None,
        }
    }

    fn identifiers(&mut self, given: &[(String, Value)]) -> Vec<Identifier> {
        let before = self.faults.len();
        let mut identifiers = Vec::with_capacity(given.len());
        for (namespace, value) in given {
            if let Some(text) = self.text(Some(value)) {
                identifiers.push(Identifier { namespace: namespace.clone(), value: text });
            }
        }
        if identifiers.is_empty() && self.faults.len() == before {
            let columns: Vec<String> = given.iter().map(|(_, value)| value.shown()).collect();
            self.faults.push(Fault {
                column: columns.join(", "),
                value: String::new(),
                reason: "no identifier: nobody knows whose row this is".to_owned(),
            });
        }
        identifiers
    }

    fn fields(&mut self, given: &[(String, Value)]) -> Option<prost_types::Struct> {
        let mut fields = std::collections::BTreeMap::new();
        for (name, value) in given {
            let Some(converted) = self.value(value, None) else { continue };
            match wire_value(converted) {
                Ok(kind) => {
                    fields.insert(name.clone(), prost_types::Value { kind: Some(kind) });
                }
                Err((shown, reason)) => {
                    self.faults.push(Fault { column: value.shown(), value: shown, reason });
                }
            }
        }
        (!fields.is_empty()).then_some(prost_types::Struct { fields })
    }

    /// The entry, and the name of the event if it became another kind; `None` if the row is
    /// skipped or something is wrong.
    fn ledger(&mut self, ledger: &Ledger) -> Option<(LedgerEntry, Option<&'static str>)> {
        let entry_id = self.text(ledger.entry.as_ref()).unwrap_or_default();
        let currency = self.text(ledger.currency.as_ref()).map(|code| code.to_uppercase());
        let (mut kind, mut name) = (ledger.kind, None);
        let mut amount = None;
        if let Some(value) = &ledger.amount {
            let Some(converted) = self.value(value, currency.as_deref()) else {
                if self.faults.is_empty() {
                    let reason = "is empty: an order needs an amount (or `default: \"0\"`)";
                    let reason = reason.to_owned();
                    let (column, value) = (value.shown(), String::new());
                    self.faults.push(Fault { column, value, reason });
                }
                return None;
            };
            let Converted::Money(mut money) = converted else { return None };
            if kind == LedgerEntryType::OrderRefunded {
                money = money.absolute();
            } else if money.is_negative() {
                match ledger.negative {
                    Negative::Skip => return None,
                    Negative::Refund => {
                        (kind, name) = (LedgerEntryType::OrderRefunded, Some("Order Refunded"));
                        money = money.absolute();
                    }
                    Negative::Reject => {
                        let shown = money.number().to_string();
                        let reason = "is negative: `negative: refund` makes it a refund, `skip` \
                                      leaves it out"
                            .to_owned();
                        self.faults.push(Fault { column: value.shown(), value: shown, reason });
                        return None;
                    }
                }
            }
            amount = Some(WireMoney {
                currency_code: money.currency,
                units: money.units,
                nanos: money.nanos,
            });
        }
        let points = match ledger.points.as_ref().map(|value| (value, self.value(value, None))) {
            Some((_, Some(Converted::Integer(points)))) => points,
            Some((value, None)) if self.faults.is_empty() => {
                let reason = "is empty: how many points?".to_owned();
                self.faults.push(Fault { column: value.shown(), value: String::new(), reason });
                return None;
            }
            Some(_) => return None,
            None => 0,
        };
        Some((LedgerEntry { r#type: kind.into(), entry_id, amount, points }, name))
    }
}

fn text_of(converted: Converted) -> String {
    match converted {
        Converted::Text(text) => text,
        Converted::Integer(number) => number.to_string(),
        Converted::Decimal(number) => number.to_string(),
        Converted::Money(money) => money.number().to_string(),
        Converted::Boolean(value) => value.to_string(),
        Converted::Time(time) => time.to_string(),
        Converted::Date(date) => date.to_string(),
    }
}

fn wire_value(converted: Converted) -> Result<Wire, (String, String)> {
    Ok(match converted {
        Converted::Integer(number) if number.unsigned_abs() > LARGEST_EXACT.unsigned_abs() => {
            let reason = "is too long for a number: say `as: string`".to_owned();
            return Err((number.to_string(), reason));
        }
        Converted::Integer(number) => Wire::NumberValue(number as f64),
        Converted::Decimal(number) => Wire::NumberValue(number),
        Converted::Money(money) => Wire::NumberValue(money.number()),
        Converted::Boolean(value) => Wire::BoolValue(value),
        text => Wire::StringValue(text_of(text)),
    })
}

fn wire_time(time: Timestamp) -> prost_types::Timestamp {
    // The nanoseconds of protobuf count forward, also before 1970.
    let nanos = time.as_nanosecond().rem_euclid(1_000_000_000);
    let seconds = time.as_nanosecond().div_euclid(1_000_000_000);
    prost_types::Timestamp { seconds: seconds as i64, nanos: nanos as i32 } // years to 9999
}
