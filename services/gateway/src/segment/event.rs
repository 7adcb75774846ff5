//! One event of Segment's as one of ours.
//!
//! What can be expressed is handed on even if it lacks something, so that profile refuses it
//! with all reasons and keeps it among the rejected events. Only what cannot be expressed is
//! refused here: no object, wrong types, times that are none, too deep.

use contracts::common::v1::Identifier;
use contracts::profile::v1::{Event, EventType};
use kernel::Violations;
use prost_types::Timestamp;
use serde_json::{Map, Value as Json};

use super::{clock, json};

type Object = Map<String, Json>;

/// How a batch came in.
#[derive(Debug, Clone)]
pub(crate) struct Reception {
    /// Microseconds since 1970.
    pub(crate) received_us: i64,
    /// Of the batch, if it says so.
    pub(crate) sent_us: Option<i64>,
    /// Who holds the write key.
    pub(crate) source: String,
}

/// The longest source that profile takes.
const MAX_SOURCE: usize = 64;

/// Reads an event. `new_id` is called if it has no id of its own.
///
/// # Errors
/// All that is wrong with it, and its id if it has one.
pub(crate) fn event(
    text: &str,
    reception: &Reception,
    new_id: impl FnOnce() -> String,
) -> Result<Event, (Option<String>, Violations)> {
    let object = json::read(text).map_err(|error| (json::message_id(text), error.violations()))?;
    let mut reader = Reader { object, violations: Violations::new() };
    let message_id = reader.text("messageId");
    let event = reader.event(reception);
    if !reader.violations.is_empty() {
        return Err((message_id, reader.violations));
    }
    Ok(Event { message_id: message_id.unwrap_or_else(new_id), ..event })
}

/// Takes fields out of an event and notes what is wrong with them.
struct Reader {
    object: Object,
    violations: Violations,
}

impl Reader {
    /// A present field: nulls are absent.
    fn take(&mut self, field: &str) -> Option<Json> {
        self.object.remove(field).filter(|value| !value.is_null())
    }

    /// Text, or a whole number as text: ids are sometimes numbers. Empty is absent.
    fn text(&mut self, field: &str) -> Option<String> {
        let text = json::text(&self.take(field)?);
        if text.is_none() {
            self.violations.add(field, "must be text");
        }
        text.filter(|text| !text.is_empty())
    }

    fn object(&mut self, field: &str) -> Object {
        match self.take(field) {
            None => Object::new(),
            Some(Json::Object(object)) => object,
            Some(_) => {
                self.violations.add(field, "must be an object");
                Object::new()
            }
        }
    }

    fn time(&mut self, field: &str) -> Option<i64> {
        let time = match self.take(field)? {
            Json::String(text) if text.is_empty() => return None,
            Json::String(text) => clock::parse(&text),
            _ => None,
        };
        if time.is_none() {
            self.violations.add(field, "must be a time as in RFC 3339");
        }
        time
    }

    fn message(&mut self, field: &str, object: Object) -> Option<prost_types::Struct> {
        if object.is_empty() {
            return None;
        }
        self.violations.check(field, json::object(object))
    }

    fn event(&mut self, reception: &Reception) -> Event {
        let kind = self.text("type").unwrap_or_default();
        let mut context = self.object("context");
        let mut traits = self.object("traits");
        let mut properties = self.object("properties");
        // A group's traits are not the person's.
        if kind == "group" {
            if !traits.is_empty() {
                properties.insert("traits".to_owned(), std::mem::take(&mut traits).into());
            }
            self.keep("groupId", &mut properties);
        }
        // Some SDKs put the person's traits only there.
        if let Some(Json::Object(below)) = context.get("traits")
            && traits.is_empty()
        {
            traits = below.clone();
            context.remove("traits");
        }
        let identifiers = self.identifiers(&kind, &traits, &context);
        let name = self.name(&kind, &mut properties);
        for field in ["channel", "integrations", "_metadata"] {
            self.keep(field, &mut context);
        }
        let original = self.time("timestamp");
        let original = self.time("originalTimestamp").or(original);
        let sent = self.time("sentAt").or(reception.sent_us);
        let occurred = original.map(|at| clock::occurred(at, sent, reception.received_us));
        Event {
            message_id: String::new(),
            r#type: event_type(&kind).into(),
            name,
            identifiers,
            event_time: occurred.map(timestamp),
            sent_time: sent.map(timestamp),
            properties: self.message("properties", properties),
            traits: self.message("traits", traits),
            context: self.message("context", context),
            source: cut(&reception.source, MAX_SOURCE).to_owned(),
            ledger_entry: None,
        }
    }

    /// Moves a field that ours has no place for into one of the objects.
    fn keep(&mut self, field: &str, object: &mut Object) {
        if let Some(value) = self.take(field) {
            object.entry(field).or_insert(value);
        }
    }

    fn name(&mut self, kind: &str, properties: &mut Object) -> String {
        match kind {
            "track" => self.text("event").unwrap_or_default(),
            "page" | "screen" => {
                self.keep("category", properties);
                let below = properties.get("name").and_then(Json::as_str).map(str::to_owned);
                self.text("name").or(below).unwrap_or_default()
            }
            _ => String::new(),
        }
    }

    fn identifiers(&mut self, kind: &str, traits: &Object, context: &Object) -> Vec<Identifier> {
        let mut found = Identifiers::default();
        let user = self.text("userId");
        found.add("user_id", user.clone());
        found.add("anonymous_id", self.text("anonymousId"));
        // A browser sends its user id again as the previous one (measured): that says nothing.
        let previous = self.text("previousId").filter(|_| kind == "alias");
        found.add("anonymous_id", previous.filter(|previous| Some(previous) != user.as_ref()));
        let text = |object: &Object, field: &str| json::text(object.get(field)?);
        found.add("email", text(traits, "email"));
        found.add("phone", text(traits, "phone"));
        let device = context.get("device").and_then(Json::as_object);
        found.add("device_id", device.and_then(|device| text(device, "id")));
        for external in context.get("externalIds").and_then(Json::as_array).into_iter().flatten() {
            found.add_external(external);
        }
        found.0
    }
}

/// Distinct identifiers in the order they were found.
#[derive(Default)]
struct Identifiers(Vec<Identifier>);

impl Identifiers {
    fn add(&mut self, namespace: &str, value: Option<String>) {
        let Some(value) = value.filter(|value| !value.trim().is_empty()) else { return };
        let identifier = Identifier { namespace: namespace.to_owned(), value };
        if !self.0.contains(&identifier) {
            self.0.push(identifier);
        }
    }

    /// `{id, type, collection, encoding}`; `ios.idfa` becomes namespace `ios_idfa`.
    fn add_external(&mut self, external: &Json) {
        let field = |name: &str| external.get(name).and_then(Json::as_str);
        let of_a_person = field("collection").is_none_or(|collection| collection == "users");
        if let (Some(kind), true) = (field("type"), of_a_person) {
            let namespace = kind.to_lowercase().replace(['.', '-', ' '], "_");
            self.add(&namespace, external.get("id").and_then(json::text));
        }
    }
}

fn event_type(kind: &str) -> EventType {
    match kind {
        "track" => EventType::Track,
        "identify" => EventType::Identify,
        "page" => EventType::Page,
        "screen" => EventType::Screen,
        "group" => EventType::Group,
        "alias" => EventType::Alias,
        _ => EventType::Unspecified,
    }
}

fn timestamp(us: i64) -> Timestamp {
    let nanos = us.rem_euclid(1_000_000) as i32 * 1_000;
    Timestamp { seconds: us.div_euclid(1_000_000), nanos }
}

/// The longest beginning of at most so many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests;
