//! One event of PostHog's as one of ours: `{event, distinct_id, properties, timestamp, uuid}`.
//!
//! `distinct_id` is the user's, unless the event says that it makes no person
//! (`$process_person_profile: false`). `$set` are the person's traits; `$set_once` stays a property,
//! because a trait here is what was said last. `$identify`, `$create_alias`, `$groupidentify`,
//! `$pageview`, `$screen` and `$set` have their own kinds; everything else is `track`.

use contracts::profile::v1::{Event, EventType};
use prost_types::Value;
use prost_types::value::Kind;

use super::identifiers::Identifiers;
use super::json::{self, Object, Unreadable};
use super::reader::{Reader, timestamp};
use super::{Draft, Reception, clock};

const FIELDS: &[&str] = &["event", "distinct_id", "properties", "timestamp", "uuid", "$set"];

pub(super) fn event(text: &str, reception: &Reception) -> Result<Draft, Unreadable> {
    let mut reader = Reader::open(text, FIELDS)?;
    let message_id = reader.text("uuid");
    let name = reader.text("event").unwrap_or_default();
    let mut properties = reader.object("properties");
    let person = reader.text("distinct_id").or_else(|| text_of(&properties, "distinct_id"));
    let mut traits = json::take_object(&mut properties, "$set").unwrap_or_default();
    traits.extend(reader.object("$set"));

    let kind = kind(&name);
    let mut found = Identifiers::default();
    let nobody = kind == EventType::Group && person.as_ref() == group(&properties).as_ref();
    if !nobody {
        let is_anonymous = is_false(properties.get("$process_person_profile"));
        found.add(if is_anonymous { "anonymous_id" } else { "user_id" }, person.clone());
    }
    let other = match kind {
        EventType::Identify => text_of(&properties, "$anon_distinct_id"),
        EventType::Alias => text_of(&properties, "alias"),
        _ => None,
    };
    found.add("anonymous_id", other.filter(|other| Some(other) != person.as_ref()));
    found.add_traits(&traits);

    let original = reader.time("timestamp");
    let occurred = original.map(|at| clock::occurred(at, reception.sent_us, reception.received_us));
    let name = match kind {
        EventType::Track => name,
        EventType::Screen => text_of(&properties, "$screen_name").unwrap_or_default(),
        _ => String::new(),
    };
    let event = Event {
        r#type: kind.into(),
        name,
        identifiers: found.found(),
        event_time: occurred.map(timestamp),
        sent_time: reception.sent_us.map(timestamp),
        properties: json::message(properties),
        traits: json::message(traits),
        ..Event::default()
    };
    Ok(reader.finish(message_id, event))
}

fn kind(name: &str) -> EventType {
    match name {
        "$identify" | "$set" => EventType::Identify,
        "$create_alias" => EventType::Alias,
        "$groupidentify" => EventType::Group,
        "$pageview" => EventType::Page,
        "$screen" => EventType::Screen,
        _ => EventType::Track,
    }
}

/// The `distinct_id` that PostHog's SDKs make up for an event about a group and nobody.
fn group(properties: &Object) -> Option<String> {
    let (kind, key) = (text_of(properties, "$group_type")?, text_of(properties, "$group_key")?);
    Some(format!("${kind}_{key}"))
}

fn text_of(properties: &Object, name: &str) -> Option<String> {
    properties.get(name).and_then(json::text).filter(|text| !text.is_empty())
}

fn is_false(value: Option<&Value>) -> bool {
    matches!(value.and_then(|value| value.kind.as_ref()), Some(Kind::BoolValue(false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_767_225_600_000_000;

    fn map(text: &str) -> Event {
        let reception = Reception { received_us: NOW, ..Reception::default() };
        let draft = event(text, &reception).unwrap();
        assert!(draft.violations.is_empty(), "{}", draft.violations);
        Event { message_id: draft.message_id.unwrap_or_default(), ..draft.event }
    }

    fn identifiers(event: &Event) -> Vec<(&str, &str)> {
        event.identifiers.iter().map(|one| (one.namespace.as_str(), one.value.as_str())).collect()
    }

    #[test]
    fn a_capture_of_posthog_node_is_a_track_event() {
        let event = map(r#"{"event":"Viewed","distinct_id":"u1","uuid":"0192-a",
            "properties":{"sku":"s","$lib":"posthog-node","$set":{"email":"a@x.io","plan":"pro"},
                "$set_once":{"first":"1"},"$geoip_disable":true},
            "timestamp":"2025-12-31T23:59:00.000Z","type":"capture","library":"posthog-node"}"#);
        assert_eq!((event.r#type(), event.name.as_str()), (EventType::Track, "Viewed"));
        assert_eq!(event.message_id, "0192-a");
        assert_eq!(identifiers(&event), [("user_id", "u1"), ("email", "a@x.io")]);
        assert_eq!(event.event_time.unwrap().seconds, NOW / 1_000_000 - 60);
        assert!(event.traits.unwrap().fields.contains_key("plan"));
        let properties = event.properties.unwrap().fields;
        assert!(properties.contains_key("$set_once") && !properties.contains_key("$set"));
    }

    /// What is sent; kind, name and identifiers of the event.
    type Case = (&'static str, EventType, &'static str, &'static [(&'static str, &'static str)]);

    #[test]
    fn its_special_events_have_their_own_kinds() {
        let cases: [Case; 7] = [
            (
                r#"{"event":"$identify","distinct_id":"u","properties":{"$anon_distinct_id":"a"},"$set":{"phone":"1"}}"#,
                EventType::Identify,
                "",
                &[("user_id", "u"), ("anonymous_id", "a"), ("phone", "1")],
            ),
            (
                r#"{"event":"$create_alias","distinct_id":"u","properties":{"distinct_id":"u","alias":"b"}}"#,
                EventType::Alias,
                "",
                &[("user_id", "u"), ("anonymous_id", "b")],
            ),
            (
                r#"{"event":"$groupidentify","distinct_id":"$company_acme","properties":{"$group_type":"company","$group_key":"acme","$group_set":{"email":"info@acme.io"}}}"#,
                EventType::Group,
                "",
                &[],
            ),
            (
                r#"{"event":"$groupidentify","distinct_id":"u","properties":{"$group_type":"company","$group_key":"acme"}}"#,
                EventType::Group,
                "",
                &[("user_id", "u")],
            ),
            (
                r#"{"event":"$pageview","distinct_id":"d","properties":{"$process_person_profile":false}}"#,
                EventType::Page,
                "",
                &[("anonymous_id", "d")],
            ),
            (
                r#"{"event":"$screen","distinct_id":7,"properties":{"$screen_name":"Home"}}"#,
                EventType::Screen,
                "Home",
                &[("user_id", "7")],
            ),
            (r#"{"event":"x","distinct_id":null}"#, EventType::Track, "x", &[]),
        ];
        for (text, kind, name, expected) in cases {
            let event = map(text);
            assert_eq!((event.r#type(), event.name.as_str()), (kind, name), "{text}");
            assert_eq!(identifiers(&event), expected, "{text}");
        }
    }
}
