//! One CloudEvent (1.0, JSON format) as one of ours, a `track` event.
//!
//! `source` and `id`, with a space between them, are the message id: together they are unique by
//! the specification, and no source holds a space. `type` is the name, `time` the time, `data` the
//! properties (under `data` if it is no object). Who: extension attributes named after an
//! identifier without its underscores (`userid`, `wechatopenid`: the specification allows small
//! letters and digits only), and a `subject` of the form `namespace:value` with one of the
//! suite's own namespaces. Every other subject may be a file or an order: it identifies nobody.
//! All attributes but the data are kept in the context, under `cloudevent`.

use contracts::profile::v1::{Event, EventType};
use prost_types::value::Kind;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::Draft;
use super::identifiers::{Identifiers, KNOWN};
use super::json::{self, Object, Unreadable};
use super::reader::{Reader, timestamp};

const VERSION: &str = "1.0";

pub(super) fn event(text: &str) -> Result<Draft, Unreadable> {
    let mut reader = Reader::open(text, &[])?;
    if reader.text("specversion").is_none_or(|version| version != VERSION) {
        reader.violations.add("specversion", "must be 1.0");
    }
    let mut attributes = Object::new();
    let mut required = |reader: &mut Reader, name: &str| {
        let text = reader.text(name).unwrap_or_default();
        if text.is_empty() {
            reader.violations.add(name, "must be set");
        }
        attributes.insert(name.to_owned(), json::of_text(text.clone()));
        text
    };
    let source = required(&mut reader, "source");
    let id = required(&mut reader, "id");
    let name = required(&mut reader, "type");
    let time = reader.time("time");
    let properties = properties(&mut reader);
    let subject = reader.text("subject");

    let mut found = Identifiers::default();
    for namespace in KNOWN {
        // Only those that are there: most are not.
        let extension = namespace.replace('_', "");
        found.add(namespace, reader.text(&extension));
    }
    if let Some((namespace, value)) = subject.as_deref().and_then(|text| text.split_once(':'))
        && KNOWN.contains(&namespace)
    {
        found.add(namespace, Some(value.to_owned()));
    }
    if let Some(subject) = subject {
        attributes.insert("subject".to_owned(), json::of_text(subject));
    }
    let Reader { fields, violations } = reader;
    let cost = fields.cost + size_of::<Event>();
    attributes.extend(fields.rest());
    let context = Object::from([("cloudevent".to_owned(), json::of_object(attributes))]);
    let event = Event {
        r#type: EventType::Track.into(),
        name,
        identifiers: found.found(),
        event_time: time.map(timestamp),
        properties: json::message(properties),
        context: json::message(context),
        ..Event::default()
    };
    Ok(Draft { message_id: Some(format!("{source} {id}")), event, violations, cost })
}

fn properties(reader: &mut Reader) -> Object {
    let mut properties = Object::new();
    match reader.fields.take("data") {
        None => {}
        Some(prost_types::Value { kind: Some(Kind::StructValue(object)) }) => {
            properties = object.fields;
        }
        Some(data) => {
            properties.insert("data".to_owned(), data);
        }
    }
    reader.keep("data_base64", &mut properties);
    properties
}

/// A CloudEvent of the binary mode, whose attributes are headers and whose data is the body, as
/// one in the JSON format.
///
/// # Errors
/// One sentence.
pub(crate) fn structured<'h>(
    attributes: impl Iterator<Item = (&'h str, &'h str)>,
    content_type: Option<&str>,
    body: &str,
) -> Result<String, String> {
    let mut event = serde_json::Map::new();
    for (name, value) in attributes {
        event.insert(name.to_owned(), Json::String(decoded(value)));
    }
    if body.is_empty() {
        return Ok(Json::Object(event).to_string());
    }
    let media = content_type.unwrap_or("application/json").split(';').next().unwrap_or_default();
    let media = media.trim().to_ascii_lowercase();
    event.insert("datacontenttype".to_owned(), Json::String(media.clone()));
    let is_json = media == "application/json" || media.ends_with("+json");
    let data = if is_json {
        let raw: &RawValue = serde_json::from_str(body).map_err(|error| {
            format!("the data is not JSON (line {} column {})", error.line(), error.column())
        })?;
        raw.get().to_owned()
    } else if media.starts_with("text/") {
        Json::String(body.to_owned()).to_string()
    } else {
        return Err("the data must be JSON or text: say so in content-type".to_owned());
    };
    // As it stands: a number keeps its digits, and levels are judged where events are read.
    let head = Json::Object(event).to_string();
    let head = head.strip_suffix('}').unwrap_or(&head);
    Ok(format!("{head},\"data\":{data}}}"))
}

/// Header values are percent-encoded where they are no printable ASCII.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, below @ ..] = rest {
        let pair = below.get(..2).filter(|_| *first == b'%');
        let byte = pair
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &below[2..] } else { below };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identifiers(event: &Event) -> Vec<(&str, &str)> {
        event.identifiers.iter().map(|one| (one.namespace.as_str(), one.value.as_str())).collect()
    }

    const WHOLE: &str = r#"{"specversion":"1.0","id":"A-1","source":"/shop","type":"com.shop.paid",
        "time":"2026-01-01T00:00:00Z","subject":"user_id:u1","email":"a@x.io","wechatopenid":"o",
        "region":"cn","datacontenttype":"application/json","data":{"total":5}}"#;

    #[test]
    fn a_cloud_event_is_a_track_event() {
        let draft = event(WHOLE).unwrap();
        assert!(draft.violations.is_empty(), "{}", draft.violations);
        assert_eq!(draft.message_id.as_deref(), Some("/shop A-1"));
        let event = draft.event;
        assert_eq!((event.r#type(), event.name.as_str()), (EventType::Track, "com.shop.paid"));
        let expected = [("email", "a@x.io"), ("wechat_openid", "o"), ("user_id", "u1")];
        assert_eq!(identifiers(&event), expected);
        assert_eq!(event.event_time.unwrap().seconds, 1_767_225_600);
        assert!(event.properties.unwrap().fields.contains_key("total"));
        let context = event.context.unwrap().fields;
        let kept = json::object_of(&context, "cloudevent").unwrap();
        let names: Vec<&str> = kept.keys().map(String::as_str).collect();
        let expected = ["datacontenttype", "id", "region", "source", "subject", "type"];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_subject_that_is_no_identifier_is_only_kept() {
        for subject in ["order-5", "https://shop.example/5", "urn:isbn:1", "user_id"] {
            let text = format!(
                r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"{subject}","data":[1]}}"#
            );
            let event = event(&text).unwrap().event;
            assert!(event.identifiers.is_empty(), "{subject}");
            assert!(event.properties.unwrap().fields.contains_key("data"));
        }
    }

    #[test]
    fn what_the_specification_demands_is_named() {
        let draft = event(r#"{"specversion":"0.3","id":"","time":"noon","data":{}}"#).unwrap();
        let fields: Vec<_> = draft.violations.iter().map(|one| one.field.clone()).collect();
        assert_eq!(fields, ["specversion", "source", "id", "type", "time"]);
    }

    #[test]
    fn the_binary_mode_says_the_same() {
        let headers =
            [("specversion", "1.0"), ("id", "A%201"), ("source", "/shop"), ("type", "t%zz")];
        let json =
            structured(headers.into_iter(), Some("Application/JSON; charset=utf-8"), "{\"n\":1}");
        let draft = event(&json.unwrap()).unwrap();
        assert!(draft.violations.is_empty());
        assert_eq!(draft.message_id.as_deref(), Some("/shop A 1"));
        assert_eq!(draft.event.name, "t%zz");
        assert!(draft.event.properties.unwrap().fields.contains_key("n"));
        let text = structured(headers.into_iter(), Some("text/plain"), "say \"hi\"").unwrap();
        assert!(event(&text).unwrap().event.properties.unwrap().fields.contains_key("data"));
        let none = structured(headers.into_iter(), None, "").unwrap();
        assert_eq!(event(&none).unwrap().event.properties, None);
        assert!(structured(headers.into_iter(), Some("image/png"), "x").is_err());
        assert!(structured(headers.into_iter(), None, "{\"n\":").unwrap_err().contains("line 1"));
    }
}
