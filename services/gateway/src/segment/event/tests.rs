use prost_types::value::Kind;

use super::*;

/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600_000_000;

fn reception() -> Reception {
    Reception { received_us: NOW, sent_us: None, source: "web".to_owned() }
}

fn map(text: &str) -> Event {
    event(text, &reception(), || "made".to_owned()).unwrap()
}

fn refused(text: &str) -> Vec<String> {
    let (_, violations) = event(text, &reception(), || "made".to_owned()).unwrap_err();
    violations.iter().map(|violation| violation.field.clone()).collect()
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
    assert_eq!(event.source, "web");
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
    let event = event(ahead, &reception, String::new).unwrap();
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
    let deeper = format!("{{\"properties\":{}1{}}}", "[".repeat(400), "]".repeat(400));
    assert_eq!(refused(&deeper), [""], "the parser's own bound");
}

#[test]
fn a_refused_event_is_named_by_its_id() {
    let wrong = r#"{"messageId":"m9","type":"track","traits":[]}"#;
    let (id, _) = event(wrong, &reception(), String::new).unwrap_err();
    assert_eq!(id.as_deref(), Some("m9"));
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
    for lossy in ["12345678901234567890123", "12345678901234567890124", "1.5", "1e3"] {
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
        let (id, violations) = event(text, &reception(), String::new).unwrap_err();
        (id, violations.to_string())
    };
    let (id, reason) = why(r#"{"properties":{"secret":1e400},"messageId":"m1"}"#);
    assert_eq!(id.as_deref(), Some("m1"));
    assert_eq!(reason, ": cannot be read: number out of range at line 1 column 29");
    let deep = format!(r#"{{"a":{}{},"messageId":7}}"#, "[".repeat(200), "]".repeat(200));
    let (id, reason) = why(&deep);
    assert_eq!(id.as_deref(), Some("7"));
    assert!(reason.contains("recursion limit exceeded at line 1 column"), "{reason}");
    assert_eq!(why("\"secret\""), (None, ": must be a JSON object".to_owned()));
}
