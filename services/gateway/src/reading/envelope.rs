//! The body around the events. Events are only located here, so that one of them that is
//! broken in itself does not fail the others, and so that no more than a chunk of them is in
//! memory in parsed form.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{AnObject, Object, of_object};
use super::{Form, clock};

/// A default is copied into each of 2,500 events, so it must be small.
const MAX_DEFAULTS: usize = 8 * 1024;

/// What a body may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) events: usize,
    /// Bytes of one event.
    pub(crate) event: usize,
}

/// `context` and `integrations` of a batch hold for events that have none of their own.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Defaults {
    pub(super) context: Object,
    /// Empty, or `integrations` as a field of the context.
    pub(super) integrations: Object,
    /// About the bytes that each event takes more for them.
    pub(super) cost: usize,
}

/// A body.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Envelope {
    /// Where the events are in the text.
    pub(crate) events: Vec<Range<usize>>,
    /// The batch's key, or the first event's.
    pub(crate) write_key: Option<String>,
    /// When the client sent it, by the client's clock.
    pub(crate) sent_us: Option<i64>,
    pub(crate) defaults: Defaults,
}

impl Envelope {
    /// Reads the envelope.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn read(form: Form, text: &str, limits: Limits) -> Result<Self, String> {
        match form {
            Form::Batch | Form::PostHog => batch(text, limits.events),
            Form::Single(_) => single(text, limits.event),
            Form::CloudEvents if text.trim_start().starts_with('[') => array(text, limits.events),
            Form::CloudEvents => single(text, limits.event),
        }
    }
}

fn place(text: &str, event: &str) -> Range<usize> {
    let begin = event.as_ptr() as usize - text.as_ptr() as usize;
    begin..begin + event.len()
}

#[derive(Deserialize)]
struct Keyed<'a> {
    #[serde(rename = "writeKey", borrow, default)]
    write_key: Option<&'a RawValue>,
}

/// A key that is text; SDKs of Jitsu put `:***` behind it.
fn key(raw: &RawValue) -> Option<String> {
    let text: String = serde_json::from_str(raw.get()).ok()?;
    let key = text.split(':').next().unwrap_or_default().trim();
    (!key.is_empty()).then(|| key.to_owned())
}

/// The parser's own words may quote the body.
fn no_json(what: &str, error: &serde_json::Error) -> String {
    format!("the body is not {what} (line {} column {})", error.line(), error.column())
}

fn single(text: &str, max_bytes: usize) -> Result<Envelope, String> {
    let text_of_event = text.trim();
    if text_of_event.len() > max_bytes {
        return Err(format!("the event is larger than {max_bytes} bytes"));
    }
    // An array would be taken for the fields in their order.
    if !text_of_event.starts_with('{') {
        return Err("the body is not a JSON object".to_owned());
    }
    let event: Keyed<'_> =
        serde_json::from_str(text).map_err(|error| no_json("a JSON object", &error))?;
    Ok(Envelope {
        events: vec![place(text, text_of_event)],
        write_key: event.write_key.and_then(key),
        ..Envelope::default()
    })
}

fn array(text: &str, max_events: usize) -> Result<Envelope, String> {
    let too_many = Cell::new(false);
    let mut parser = serde_json::Deserializer::from_str(text);
    let events = Events { max: max_events, too_many: &too_many };
    let read = events.deserialize(&mut parser).and_then(|events| parser.end().map(|()| events));
    let events = read.map_err(|error| {
        if too_many.get() { many(max_events) } else { no_json("a JSON array", &error) }
    })?;
    let events = events.unwrap_or_default().into_iter();
    let events = events.map(|event| place(text, event.get())).collect();
    Ok(Envelope { events, ..Envelope::default() })
}

fn many(max_events: usize) -> String {
    format!("the body has more than {max_events} events: send them in several")
}

fn batch(text: &str, max_events: usize) -> Result<Envelope, String> {
    let too_many = Cell::new(false);
    let mut parser = serde_json::Deserializer::from_str(text);
    let events = Events { max: max_events, too_many: &too_many };
    let read = Whole(events).deserialize(&mut parser);
    let wire = read.and_then(|wire| parser.end().map(|()| wire)).map_err(|error| {
        if too_many.get() {
            return many(max_events);
        }
        no_json("a JSON object with an array `batch`", &error)
    })?;
    let events = wire.events.ok_or("`batch` must be an array of events")?;
    let first = || {
        let event: Keyed<'_> = serde_json::from_str(events.first()?.get()).ok()?;
        event.write_key.and_then(key)
    };
    let sent = wire.sent_at.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    Ok(Envelope {
        write_key: wire.write_key.and_then(key).or_else(first),
        sent_us: sent.as_deref().and_then(clock::parse),
        defaults: defaults(wire.context, wire.integrations)?,
        events: events.into_iter().map(|event| place(text, event.get())).collect(),
    })
}

fn defaults(
    context: Option<&RawValue>,
    integrations: Option<&RawValue>,
) -> Result<Defaults, String> {
    let mut defaults = Defaults::default();
    if let Some(raw) = context {
        (defaults.context, defaults.cost) = default_of("context", raw)?;
    }
    if let Some(raw) = integrations {
        let (below, cost) = default_of("integrations", raw)?;
        defaults.integrations.insert("integrations".to_owned(), of_object(below));
        defaults.cost += cost;
    }
    Ok(defaults)
}

fn default_of(field: &str, raw: &RawValue) -> Result<(Object, usize), String> {
    if raw.get().len() > MAX_DEFAULTS {
        return Err(format!(
            "`{field}` of the batch is larger than {MAX_DEFAULTS} bytes: put it into the events"
        ));
    }
    let mut parser = serde_json::Deserializer::from_str(raw.get());
    AnObject.deserialize(&mut parser).map_err(|_| {
        format!(
            "`{field}` of the batch must be an object of at most 16 levels, numbers below 1e309"
        )
    })
}

/// The fields of a batch, of Segment's or of PostHog's.
#[derive(Deserialize)]
#[serde(field_identifier)]
enum Field {
    #[serde(rename = "batch")]
    Batch,
    #[serde(rename = "writeKey", alias = "api_key", alias = "token")]
    WriteKey,
    #[serde(rename = "sentAt", alias = "sent_at")]
    SentAt,
    #[serde(rename = "context")]
    Context,
    #[serde(rename = "integrations")]
    Integrations,
    #[serde(other)]
    Other,
}

#[derive(Default)]
struct Wire<'a> {
    events: Option<Vec<&'a RawValue>>,
    write_key: Option<&'a RawValue>,
    sent_at: Option<&'a RawValue>,
    context: Option<&'a RawValue>,
    integrations: Option<&'a RawValue>,
}

struct Whole<'c>(Events<'c>);

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = Wire<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, parser: D) -> Result<Wire<'de>, D::Error> {
        parser.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = Wire<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Wire<'de>, A::Error> {
        let mut wire = Wire::default();
        while let Some(field) = map.next_key::<Field>()? {
            let place = match field {
                Field::Batch => {
                    wire.events = map.next_value_seed(self.0)?;
                    continue;
                }
                Field::WriteKey => &mut wire.write_key,
                Field::SentAt => &mut wire.sent_at,
                Field::Context => &mut wire.context,
                Field::Integrations => &mut wire.integrations,
                Field::Other => {
                    map.next_value::<serde::de::IgnoredAny>()?;
                    continue;
                }
            };
            *place = Some(map.next_value()?);
        }
        Ok(wire)
    }
}

/// Locates the events of an array; null is none.
#[derive(Clone, Copy)]
struct Events<'c> {
    max: usize,
    too_many: &'c Cell<bool>,
}

impl<'de> DeserializeSeed<'de> for Events<'_> {
    type Value = Option<Vec<&'de RawValue>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Events<'_> {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an array")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut events = Vec::new();
        while let Some(event) = items.next_element()? {
            // What follows is not even looked at.
            if events.len() == self.max {
                self.too_many.set(true);
                return Err(A::Error::custom("too many"));
            }
            events.push(event);
        }
        Ok(Some(events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: Form, text: &str, events: usize) -> Result<Envelope, String> {
        Envelope::read(form, text, Limits { events, event: 40 })
    }

    fn found<'t>(envelope: &Envelope, text: &'t str) -> Vec<&'t str> {
        envelope.events.iter().map(|place| &text[place.clone()]).collect()
    }

    #[test]
    fn events_are_located_also_broken_ones() {
        let text = r#" {"batch": [{"a":1}, 7 , {"b":[{}]}], "writeKey": null, "sentAt": "2026-01-01T00:00:00Z", "context": {}}"#;
        let envelope = read(Form::Batch, text, 3).unwrap();
        assert_eq!(found(&envelope, text), [r#"{"a":1}"#, "7", r#"{"b":[{}]}"#]);
        assert_eq!(envelope.sent_us, Some(1_767_225_600_000_000));
        assert_eq!(envelope.write_key, None);
    }

    #[test]
    fn one_event_is_a_batch_of_itself() {
        let text = " {\"writeKey\": \"k:***\", \"a\": 1}\n";
        let envelope = read(Form::CloudEvents, text, 1).unwrap();
        assert_eq!(found(&envelope, text), [text.trim()]);
        assert_eq!(envelope.write_key.as_deref(), Some("k"));
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(40));
        let single = Form::Single(contracts::profile::v1::EventType::Track);
        for bad in ["", "[{}]", "[\"secret\"]", "{\"secret\":", "secret", "{} {}", &long] {
            let message = read(single, bad, 1).unwrap_err();
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn cloud_events_come_in_an_array_too() {
        let text = r#" [{"id":"1"},5]"#;
        assert_eq!(found(&read(Form::CloudEvents, text, 2).unwrap(), text), [r#"{"id":"1"}"#, "5"]);
        assert!(read(Form::CloudEvents, text, 1).unwrap_err().contains("more than 1"));
        assert!(read(Form::CloudEvents, "[{}", 1).unwrap_err().contains("line 1"));
        assert!(read(Form::CloudEvents, "[", 1).is_err());
    }

    #[test]
    fn a_key_stands_at_the_batch_or_at_its_events() {
        for (text, expected) in [
            (r#"{"writeKey": "k", "batch": [{"writeKey": "l"}]}"#, Some("k")),
            (r#"{"batch": [{"writeKey": "l"}]}"#, Some("l")),
            (r#"{"api_key": "p", "batch": []}"#, Some("p")),
            (r#"{"writeKey": 7, "batch": []}"#, None),
        ] {
            let envelope = read(Form::Batch, text, 9).unwrap();
            assert_eq!(envelope.write_key.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_batch_is_refused_without_quoting_it() {
        let large = format!(r#"{{"batch": [], "context": {{"secret":"{}"}}}}"#, "x".repeat(9_000));
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"batch": null}"#,
            r#"{"batch": "secret"}"#,
            "{\"batch\": [",
            "secret",
            r#"{"batch": [], "context": "secret"}"#,
            r#"{"batch": []} secret"#,
            &large,
        ] {
            let message = read(Form::Batch, bad, 9).unwrap_err();
            assert!(!message.contains("secret"), "{message}");
        }
        let endless = format!("{{\"batch\": [{}", "1,".repeat(1_000));
        assert!(read(Form::Batch, &endless, 9).unwrap_err().contains("more than 9"));
    }

    #[test]
    fn a_batch_may_say_what_holds_for_its_events() {
        let text = r#"{"batch": [], "context": {"app": {"name": "a"}, "ip": null}, "integrations": {"All": true}}"#;
        let defaults = read(Form::Batch, text, 9).unwrap().defaults;
        assert_eq!(defaults.context.keys().collect::<Vec<_>>(), ["app"]);
        assert!(defaults.integrations.contains_key("integrations"));
        let none = r#"{"batch": [], "context": null, "integrations": null}"#;
        assert_eq!(read(Form::Batch, none, 9).unwrap().defaults.context, Object::new());
    }
}
