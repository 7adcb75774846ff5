use prost_types::value::Kind;

use super::*;
use crate::reading::{Envelope, Form, Limits, Wrong};

/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600_000_000;

fn reception() -> Reception {
    Reception { received_us: NOW, ..Reception::default() }
}

fn read(text: &str, reception: &Reception) -> Result<Event, Wrong> {
    let new_id = || "made".to_owned();
    crate::reading::event(Form::Batch, text, reception, new_id).map(|read| read.event)
}

fn map(text: &str) -> Event {
    read(text, &reception()).unwrap()
}

fn refused(text: &str) -> Vec<String> {
    let wrong = read(text, &reception()).unwrap_err();
    wrong.violations.iter().map(|violation| violation.field.clone()).collect()
}

fn identifiers(event: &Event) -> Vec<(&str, &str)> {
    event.identifiers.iter().map(|one| (one.namespace.as_str(), one.value.as_str())).collect()
}

fn text<'e>(object: &'e Option<prost_types::Struct>, field: &str) -> Option<&'e str> {
    match object.as_ref()?.fields.get(field)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

#[test]
fn an_identify_of_analytics_node_is_mapped_whole() {
    let event = map(r#"{"type":"identify","messageId":"m1","userId":"u1","anonymousId":"a1",
        "traits":{"email":"Ann@x.io","phone":"+86 138 0000 0000","plan":"pro"},
        "context":{"device":{"id":"d1"},"library":{"name":"n"},
            "externalIds":[{"id":"i1","type":"ios.idfa","collection":"users","encoding":"none"},
                {"id":"g1","type":"org","collection":"accounts"}]},
        "timestamp":"2025-12-31T23:59:00.000Z","integrations":{"All":true}}"#);
    assert_eq!((event.message_id.as_str(), event.r#type()), ("m1", EventType::Identify));
    assert_eq!(
        identifiers(&event),
        [
            ("user_id", "u1"),
            ("anonymous_id", "a1"),
            ("email", "Ann@x.io"),
            ("phone", "+86 138 0000 0000"),
            ("device_id", "d1"),
            ("ios_idfa", "i1"),
        ]
    );
    assert_eq!(text(&event.traits, "plan"), Some("pro"));
    assert!(event.context.unwrap().fields.contains_key("integrations"));
    assert_eq!(event.event_time.unwrap().seconds, NOW / 1_000_000 - 60);
}

#[test]
fn python_sends_nulls_and_rudder_has_its_own_places() {
    let event = map(r#"{"type":"track","event":"Viewed","userId":null,"anonymousId":"a1",
        "category":null,"traits":null,"properties":{"sku":"s"},
        "context":{"traits":{"email":"a@x.io"}},"originalTimestamp":"2025-12-31T23:00:00Z",
        "sentAt":"2025-12-31T23:00:05Z","channel":"server"}"#);
    assert_eq!((event.name.as_str(), event.message_id.as_str()), ("Viewed", "made"));
    assert_eq!(identifiers(&event), [("anonymous_id", "a1"), ("email", "a@x.io")]);
    assert_eq!(text(&event.traits, "email"), Some("a@x.io"));
    assert_eq!(text(&event.context, "channel"), Some("server"));
    assert!(!event.context.unwrap().fields.contains_key("traits"), "kept once");
    assert_eq!(event.event_time.unwrap().seconds, NOW / 1_000_000 - 3_600);
}

#[test]
fn a_clock_that_runs_ahead_is_set_right_by_the_batch() {
    let reception = Reception { sent_us: Some(NOW + 3_610_000_000), ..reception() };
    let ahead = r#"{"type":"track","userId":"u","timestamp":"2026-01-01T01:00:00Z"}"#;
    let event = read(ahead, &reception).unwrap();
    assert_eq!(event.event_time.unwrap().seconds, NOW / 1_000_000 - 10);
    assert_eq!(event.sent_time.unwrap().seconds, NOW / 1_000_000 + 3_610);
}

#[test]
fn the_traits_of_a_group_are_not_the_persons() {
    let event =
        map(r#"{"type":"group","userId":"u","groupId":"g","traits":{"email":"info@firm.io"}}"#);
    assert_eq!(identifiers(&event), [("user_id", "u")]);
    assert_eq!(event.traits, None);
    assert_eq!(text(&event.properties, "groupId"), Some("g"));
    assert!(event.properties.unwrap().fields.contains_key("traits"));
}

#[test]
fn an_alias_joins_two_ids_unless_they_are_one() {
    let event = map(r#"{"type":"alias","userId":"u","previousId":"a"}"#);
    assert_eq!(identifiers(&event), [("user_id", "u"), ("anonymous_id", "a")]);
    let same = map(r#"{"type":"alias","userId":"u","previousId":"u"}"#);
    assert_eq!(identifiers(&same), [("user_id", "u")]);
}

#[test]
fn pages_keep_name_and_category() {
    let event = map(r#"{"type":"page","userId":7,"properties":{"name":"Home"},"category":"Shop"}"#);
    assert_eq!(event.name, "Home");
    assert_eq!(identifiers(&event), [("user_id", "7")]);
    assert_eq!(text(&event.properties, "category"), Some("Shop"));
}

#[test]
fn a_page_says_where_its_reader_came_from() {
    let from = |page: &str, campaign: &str| {
        let event = map(&format!(
            r#"{{"type":"page","anonymousId":"a","context":{{"page":{page},"campaign":{campaign}}}}}"#
        ));
        let context = event.context.unwrap();
        let said = json::object_of(&context.fields, "acquisition").unwrap();
        let said = |field| json::str_of(said, field).map(str::to_owned);
        (said("channel").unwrap(), said("source"))
    };
    let page = r#"{"url":"https://shop.example/a","referrer":"https://www.baidu.com/"}"#;
    assert_eq!(from(page, "{}"), ("organic_search".to_owned(), Some("Baidu".to_owned())));
    let campaign = r#"{"source":"newsletter","medium":"email"}"#;
    assert_eq!(from(page, campaign), ("email".to_owned(), Some("newsletter".to_owned())));
    assert_eq!(from("{}", "null"), ("direct".to_owned(), None));
    // Only pages, and only if they say which.
    let event = map(r#"{"type":"page","anonymousId":"a"}"#);
    assert_eq!(event.context, None);
    let event =
        map(r#"{"type":"track","anonymousId":"a","event":"E","context":{"page":{"url":"x"}}}"#);
    assert!(!event.context.unwrap().fields.contains_key("acquisition"));
}

#[test]
fn what_profile_can_refuse_with_its_reason_is_handed_on() {
    let event = map(r#"{"type":"stroll","userId":"","anonymousId":null}"#);
    assert_eq!(event.r#type(), EventType::Unspecified);
    assert!(event.identifiers.is_empty());
}

#[test]
fn what_cannot_be_expressed_is_refused_with_all_reasons() {
    assert_eq!(refused("7"), [""]);
    let wrong = r#"{"type":["track"],"userId":{},"traits":[],"timestamp":"yesterday","context":1}"#;
    assert_eq!(refused(wrong), ["type", "context", "traits", "userId", "timestamp"]);
    let deep = format!("{{\"properties\":{{\"a\":{}1{}}}}}", "[".repeat(40), "]".repeat(40));
    assert_eq!(refused(&deep), ["properties"]);
    let deeper = format!("{{\"properties\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(refused(&deeper), ["properties"]);
}

#[test]
fn a_refused_event_is_named_by_its_id() {
    let wrong = r#"{"messageId":"m9","type":"track","traits":[]}"#;
    assert_eq!(read(wrong, &reception()).unwrap_err().message_id.as_deref(), Some("m9"));
}

#[test]
fn numbers_are_ids_as_long_as_they_keep_their_digits() {
    let event = map(r#"{"type":"identify","userId":18446744073709551615,
        "traits":{"phone":13812348000},"context":{"device":{"id":7},
            "externalIds":[{"id":9,"type":"crm_id"},{"id":1.5,"type":"other"}]}}"#);
    let expected = [
        ("user_id", "18446744073709551615"),
        ("phone", "13812348000"),
        ("device_id", "7"),
        ("crm_id", "9"),
    ];
    assert_eq!(identifiers(&event), expected);
    for lossy in ["12345678901234567890123", "12345678901234567890124", "1.5", "1e30"] {
        let text = format!(r#"{{"type":"track","anonymousId":"a","userId":{lossy}}}"#);
        assert_eq!(refused(&text), ["userId"], "{lossy}");
    }
}

#[test]
fn text_that_was_cut_inside_an_emoji_is_taken() {
    let event = map(r#"{"type":"page","userId":"u","properties":{"title":"caf\ud83d"}}"#);
    assert_eq!(text(&event.properties, "title"), Some("caf\u{fffd}"));
}

#[test]
fn what_the_parser_refuses_is_named_with_place_reason_and_id() {
    let why = |text: &str| {
        let wrong = read(text, &reception()).unwrap_err();
        (wrong.message_id, wrong.violations.to_string())
    };
    let (id, reason) = why(r#"{"properties":{"secret":1e400},"messageId":"m1"}"#);
    assert_eq!(id.as_deref(), Some("m1"));
    assert_eq!(reason, ": cannot be read: number out of range at line 1 column 29");
    let deep = format!(r#"{{"traits":{}{},"messageId":7}}"#, "[".repeat(200), "]".repeat(200));
    let (id, reason) = why(&deep);
    assert_eq!(id.as_deref(), Some("7"));
    assert_eq!(reason, "traits: must not be nested deeper than 16 levels");
    assert_eq!(why("\"secret\""), (None, ": must be a JSON object".to_owned()));
}

#[test]
fn the_path_says_the_kind_of_a_single_event() {
    let text = r#"{"type":"track","userId":"u","traits":{"plan":"pro"},"event":"e"}"#;
    let form = Form::Single(EventType::Identify);
    let event = crate::reading::event(form, text, &reception(), String::new).unwrap().event;
    assert_eq!((event.r#type(), event.name.as_str()), (EventType::Identify, ""));
    assert_eq!(self::text(&event.traits, "plan"), Some("pro"));
}

#[test]
fn a_batch_says_what_its_events_do_not_say_themselves() {
    let batch = r#"{"batch":[{"context":{"ip":"1","app":null}}],"context":{"ip":"2","app":{"name":"a"}},
        "integrations":{"All":true}}"#;
    let limits = Limits { events: 1, event: 1_000 };
    let envelope = Envelope::read(Form::Batch, batch, limits).unwrap();
    let reception = Reception { defaults: envelope.defaults, ..reception() };
    let event = read(&batch[envelope.events[0].clone()], &reception).unwrap();
    assert_eq!(text(&event.context, "ip"), Some("1"));
    let context = event.context.unwrap().fields;
    assert!(context.contains_key("app") && context.contains_key("integrations"));
}

/// What is sent; kind and identifiers of the event.
type Case = (&'static str, EventType, &'static [(&'static str, &'static str)]);

/// As captured on the wire. Each names its person, keeps its id, and has a time where the SDK
/// sends one.
#[test]
fn events_of_the_captured_sdks_are_mapped() {
    let cases: [Case; 6] = [
        (
            // analytics-node 6.2.0 (legacy)
            r#"{"userId":"u","event":"e","type":"track","context":{"library":{"name":"analytics-node","version":"6.2.0"}},"_metadata":{"nodeVersion":"20"},"timestamp":"2025-12-31T23:59:00.000Z","messageId":"node-1"}"#,
            EventType::Track,
            &[("user_id", "u")],
        ),
        (
            // segment-analytics-python 2.4.0
            r#"{"integrations":{},"anonymousId":null,"timestamp":"2025-12-31T23:59:00.123456+00:00","context":{"library":{"name":"analytics-python"}},"userId":"u","type":"page","category":null,"name":"Home","properties":{},"messageId":"1"}"#,
            EventType::Page,
            &[("user_id", "u")],
        ),
        (
            // rudder-sdk-python 2.1.9
            r#"{"integrations":{"All":true},"anonymousId":null,"timestamp":"2025-12-31T23:59:00+00:00","context":{"library":{"name":"rudder-analytics-python"},"traits":{"email":"a@x.io"}},"type":"identify","channel":"server","userId":"u","messageId":"1"}"#,
            EventType::Identify,
            &[("user_id", "u"), ("email", "a@x.io")],
        ),
        (
            // rudder-sdk-node 3.0.13
            r#"{"type":"screen","name":"Home","anonymousId":"a","originalTimestamp":"2025-12-31T23:59:00.000Z","sentAt":"2025-12-31T23:59:01.000Z","channel":"server","_metadata":{"nodeVersion":"20"},"messageId":"1"}"#,
            EventType::Screen,
            &[("anonymous_id", "a")],
        ),
        (
            // analytics-next 1.84.3: an alias
            r#"{"timestamp":"2025-12-31T23:59:00.000Z","integrations":{},"userId":"u","previousId":"u","anonymousId":"a","type":"alias","context":{"page":{"path":"/"},"userAgent":"x","campaign":{"source":"s"}},"messageId":"ajs-next-1","writeKey":"k","sentAt":"2026-01-01T00:00:00Z","_metadata":{"bundled":["Segment.io"]}}"#,
            EventType::Alias,
            &[("user_id", "u"), ("anonymous_id", "a")],
        ),
        (
            // Dittofeed 0.1.2: no time
            r#"{"messageId":"1","type":"identify","userId":"u","traits":{"phone":"1"}}"#,
            EventType::Identify,
            &[("user_id", "u"), ("phone", "1")],
        ),
    ];
    for (given, kind, expected) in cases {
        let event = map(given);
        assert_eq!((event.r#type(), identifiers(&event).as_slice()), (kind, expected), "{given}");
        assert_ne!(event.message_id, "made");
        let second = event.event_time.map(|time| time.seconds);
        let expected = given.contains("imestamp\":").then_some(NOW / 1_000_000 - 60);
        assert_eq!(second, expected, "{given}");
    }
}
