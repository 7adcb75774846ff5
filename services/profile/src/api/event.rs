//! One event of the contract: checked as a whole, every violation named.

use aggregate::{EventKind, TraitValue};
use contracts::profile::v1 as wire;
use jiff::Timestamp;
use kernel::Violations;
use linkage::evidence::MAX_IDENTIFIERS;
use linkage::{EvidenceSet, Rules};
use prost::Message;
use prost_types::Struct;
use prost_types::value::Kind;

use super::{ledger, time};
use crate::app::ingest::{Incoming, Refused};
use crate::domain::event::{Event, Given, limit};
use crate::domain::schema::{Schema, Type};

/// How events are read.
pub(super) struct Reader<'a> {
    pub(super) schema: &'a Schema,
    pub(super) rules: &'a Rules,
    pub(super) received_us: i64,
}

impl Reader<'_> {
    /// Checks an event.
    pub(super) fn read(&self, mut event: wire::Event) -> Result<Incoming, Refused> {
        let payload = event.encode_to_vec();
        let mut violations = Violations::new();
        let kind = kind(&mut violations, event.r#type);
        texts(&mut violations, &event);
        sizes(&mut violations, &event, payload.len());
        let occurred_us = self.occurred(&mut violations, event.event_time.as_ref());
        let sent = event.sent_time.as_ref();
        let sent_us = sent.and_then(|sent| time::micros(&mut violations, "sent_time", sent));
        let ledger = match &event.ledger_entry {
            Some(entry) => ledger::explicit(&mut violations, entry),
            None if kind == EventKind::Track => {
                ledger::of_track(&mut violations, &event.name, event.properties.as_ref())
            }
            None => None,
        };
        let traits = self.traits(&mut violations, event.traits.take());
        let identifiers: Vec<(String, String)> =
            event.identifiers.into_iter().map(|one| (one.namespace, one.value)).collect();
        let set = match EvidenceSet::from_raw(&identifiers, self.rules) {
            Ok((set, _ignored)) => Some(set),
            Err(wrong) => {
                for violation in wrong {
                    violations.add(violation.field, violation.description);
                }
                None
            }
        };
        let set = match set {
            Some(set) if violations.is_empty() => set,
            set => {
                return Err(Refused { payload: bounded(payload), set, occurred_us, violations });
            }
        };
        let event = Event {
            message_id: event.message_id,
            kind,
            kind_number: event.r#type as i16, // one of the known kinds
            name: event.name,
            source: event.source,
            occurred_us: occurred_us.unwrap_or(self.received_us),
            sent_us,
            traits,
            ledger,
        };
        Ok(Incoming { event, identifiers, set, payload })
    }

    fn occurred(
        &self,
        violations: &mut Violations,
        event_time: Option<&prost_types::Timestamp>,
    ) -> Option<i64> {
        let us = time::micros(violations, "event_time", event_time?)?;
        if us > self.received_us.saturating_add(limit::AHEAD_US) {
            violations.add("event_time", "must be at most 24 hours ahead of the server's clock");
        }
        if us < limit::OLDEST_US {
            violations.add("event_time", "must not be before the year 1900");
        }
        Some(us)
    }

    /// Values of declared attributes; null is no value, undeclared ones stay in the payload.
    fn traits(&self, violations: &mut Violations, traits: Option<Struct>) -> Vec<Given> {
        let mut given = Vec::new();
        let Some(traits) = traits else { return given };
        for (name, value) in traits.fields {
            let Some(declaration) = self.schema.get(&name) else { continue };
            if ledger::is_null(&value) {
                continue;
            }
            match value_of(declaration.r#type, value.kind) {
                Ok(value) => given.push(Given { name, value, personal: declaration.personal }),
                Err(expected) => violations.add(format!("traits.{name}"), expected),
            }
        }
        given
    }
}

fn kind(violations: &mut Violations, number: i32) -> EventKind {
    match wire::EventType::try_from(number) {
        Ok(wire::EventType::Track) => EventKind::Track,
        Ok(wire::EventType::Identify) => EventKind::Identify,
        Ok(wire::EventType::Page) => EventKind::Page,
        Ok(wire::EventType::Screen) => EventKind::Screen,
        Ok(wire::EventType::Group) => EventKind::Group,
        Ok(wire::EventType::Alias) => EventKind::Alias,
        Ok(wire::EventType::Unspecified) | Err(_) => {
            violations.add("type", "must be one of the event types");
            EventKind::Alias
        }
    }
}

fn texts(violations: &mut Violations, event: &wire::Event) {
    if event.message_id.is_empty() || event.message_id.len() > limit::MESSAGE_ID_BYTES {
        violations.add("message_id", "must be 1 to 255 bytes");
    }
    // Postgres keeps no zero bytes in texts.
    for (field, text) in [("message_id", &event.message_id), ("name", &event.name)] {
        if text.contains('\0') {
            violations.add(field, "must not contain a zero byte");
        }
    }
    if event.name.len() > aggregate::limit::NAME_BYTES {
        violations.add("name", "must be at most 128 bytes");
    }
    if event.name.is_empty() && event.r#type == wire::EventType::Track as i32 {
        violations.add("name", "must be set for a track event");
    }
    if event.source.len() > aggregate::limit::SOURCE_BYTES {
        violations.add("source", "must be at most 64 bytes");
    }
    if event.identifiers.is_empty() {
        return; // the set says so
    }
    // More than that many is told as one violation by the set.
    for (index, identifier) in event.identifiers.iter().take(MAX_IDENTIFIERS).enumerate() {
        let bytes = identifier.value.len();
        if bytes == 0 || bytes > linkage::normalise::MAX_VALUE_BYTES {
            violations.add(format!("identifiers[{index}].value"), "must be 1 to 512 bytes");
        }
    }
}

/// Free-form parts are bounded; an event that is small as a whole need not be measured.
fn sizes(violations: &mut Violations, event: &wire::Event, whole: usize) {
    if whole <= limit::STRUCT_BYTES {
        return;
    }
    let parts =
        [("properties", &event.properties), ("traits", &event.traits), ("context", &event.context)];
    for (field, part) in parts {
        if part.as_ref().is_some_and(|part| part.encoded_len() > limit::STRUCT_BYTES) {
            violations.add(field, "must be at most 32 KiB");
        }
    }
}

/// What is kept of a refused event: one that is far too large loses its free-form parts.
fn bounded(payload: Vec<u8>) -> Vec<u8> {
    if payload.len() <= 4 * limit::STRUCT_BYTES {
        return payload;
    }
    let Ok(event) = wire::Event::decode(&*payload) else { return Vec::new() };
    let short = |text: String| text.chars().take(limit::MESSAGE_ID_BYTES).collect::<String>();
    let event = wire::Event {
        message_id: short(event.message_id),
        name: short(event.name),
        source: short(event.source),
        identifiers: Vec::new(),
        properties: None,
        traits: None,
        context: None,
        ledger_entry: None,
        ..event
    };
    event.encode_to_vec()
}

/// A value of the declared type, or what was expected.
fn value_of(r#type: Type, kind: Option<Kind>) -> Result<TraitValue, String> {
    let value = match (r#type, kind) {
        (Type::String, Some(Kind::StringValue(text))) => TraitValue::text(text),
        (Type::Number, Some(Kind::NumberValue(number))) => TraitValue::number(number),
        (Type::Boolean, Some(Kind::BoolValue(value))) => Ok(TraitValue::bool(value)),
        (Type::Time, Some(Kind::StringValue(text))) => {
            let time: Result<Timestamp, _> = text.parse();
            return time.map(|time| TraitValue::time(time.as_microsecond())).map_err(|_| {
                "must be RFC 3339 text such as 2026-01-31T08:00:00Z, or seconds since 1970"
                    .to_owned()
            });
        }
        (Type::Time, Some(Kind::NumberValue(seconds))) if seconds.abs() < 2.5e11 => {
            Ok(TraitValue::time((seconds * 1e6) as i64)) // within range, see above
        }
        (Type::String, _) => return Err("must be text, as declared".to_owned()),
        (Type::Number, _) => return Err("must be a number, as declared".to_owned()),
        (Type::Boolean, _) => return Err("must be true or false, as declared".to_owned()),
        (Type::Time, _) => return Err("must be an instant, as declared".to_owned()),
    };
    value.map_err(|error| error.to_string())
}
