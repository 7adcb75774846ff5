//! Takes fields out of an event and notes what is wrong with them.

use contracts::profile::v1::Event;
use kernel::Violations;
use prost_types::Timestamp;
use prost_types::value::Kind;

use super::json::{self, Fields, Object, Unreadable};
use super::{Draft, clock};

/// The fields of one event.
pub(super) struct Reader {
    pub(super) fields: Fields,
    pub(super) violations: Violations,
}

impl Reader {
    /// Reads the named fields, or all if none is named.
    pub(super) fn open(text: &str, names: &'static [&'static str]) -> Result<Self, Unreadable> {
        let fields = json::read(text, names)?;
        let mut violations = Violations::new();
        for field in &fields.too_deep {
            violations.add(field, "must not be nested deeper than 16 levels");
        }
        Ok(Self { fields, violations })
    }

    /// Text, or a whole number as text: ids are sometimes numbers. Empty is absent.
    pub(super) fn text(&mut self, field: &str) -> Option<String> {
        let text = json::text(&self.fields.take(field)?);
        if text.is_none() {
            self.violations.add(field, "must be text");
        }
        text.filter(|text| !text.is_empty())
    }

    /// An object; absent is empty.
    pub(super) fn object(&mut self, field: &str) -> Object {
        match self.fields.take(field).and_then(|value| value.kind) {
            None => Object::new(),
            Some(Kind::StructValue(object)) => object.fields,
            Some(_) => {
                self.violations.add(field, "must be an object");
                Object::new()
            }
        }
    }

    /// Microseconds since 1970. Empty is absent.
    pub(super) fn time(&mut self, field: &str) -> Option<i64> {
        let time = match self.fields.take(field)?.kind? {
            Kind::StringValue(text) if text.is_empty() => return None,
            Kind::StringValue(text) => clock::parse(&text),
            _ => None,
        };
        if time.is_none() {
            self.violations.add(field, "must be a time as in RFC 3339");
        }
        time
    }

    /// Moves a field that ours has no place for into an object, unless that has it already.
    pub(super) fn keep(&mut self, field: &str, object: &mut Object) {
        if let Some(value) = self.fields.take(field) {
            object.entry(field.to_owned()).or_insert(value);
        }
    }

    pub(super) fn finish(self, message_id: Option<String>, event: Event) -> Draft {
        let cost = self.fields.cost + size_of::<Event>();
        Draft { message_id, event, violations: self.violations, cost }
    }
}

pub(super) fn timestamp(us: i64) -> Timestamp {
    let nanos = us.rem_euclid(1_000_000) as i32 * 1_000; // below a thousand million
    Timestamp { seconds: us.div_euclid(1_000_000), nanos }
}

/// Adds what an object does not say for itself.
pub(super) fn complete(object: &mut Object, defaults: &Object) {
    for (name, value) in defaults {
        if !object.contains_key(name) {
            object.insert(name.clone(), value.clone());
        }
    }
}
