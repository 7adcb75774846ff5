use super::*;

/// The object in field `o`, or none if it is nested too deeply.
fn convert(text: &str) -> Option<Object> {
    let mut fields = read(&format!("{{\"o\":{text}}}"), &["o"]).unwrap();
    match fields.take("o").and_then(|value| value.kind) {
        Some(Kind::StructValue(object)) if fields.too_deep.is_empty() => Some(object.fields),
        _ => None,
    }
}

#[test]
fn numbers_keep_their_digits_and_nulls_are_absent() {
    let object =
        convert(r#"{"a": 1.5, "b": -3, "c": 12345678901234567, "d": null, "e": 1, "e": null}"#);
    let object = object.unwrap();
    let kind = |name: &str| object.get(name).and_then(|value| value.kind.clone());
    assert_eq!(kind("a"), Some(Kind::NumberValue(1.5)));
    assert_eq!(kind("b"), Some(Kind::NumberValue(-3.0)));
    assert_eq!(kind("c"), Some(Kind::StringValue("12345678901234567".to_owned())));
    assert_eq!((kind("d"), kind("e")), (None, None), "the last of two counts");
}

#[test]
fn half_pairs_are_replaced_and_nothing_else() {
    for (given, expected) in [
        (r#"{"a":"caf\ud83d"}"#, "caf\u{fffd}"),
        (r#"{"a":"\uDE00x"}"#, "\u{fffd}x"),
        (r#"{"a":"\ud83d\ud83d\ude00"}"#, "\u{fffd}😀"),
        (r#"{"a":"\ud83d\n\\ud83d"}"#, "\u{fffd}\n\\ud83d"),
        (r#"{"a":"\ud83d\u00e9é"}"#, "\u{fffd}éé"),
    ] {
        let value = read(given, &["a"]).unwrap().take("a").unwrap();
        assert_eq!(text(&value).as_deref(), Some(expected), "{given}");
    }
    for broken in [r#"{"a":"\u12é4"}"#, r#"{"a":"\ud83"}"#, "\\", r"\ud83d", "{\"a\":\"\\é\"}"] {
        assert!(matches!(read(broken, &["a"]), Err(Unreadable::Syntax(_))), "{broken}");
    }
}

#[test]
fn what_is_let_through_can_be_decoded() {
    use prost::Message;
    let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let deepest = message(convert(&nested(MAX_DEPTH)).unwrap());
    let event = contracts::profile::v1::Event { context: deepest, ..Default::default() };
    let request = contracts::profile::v1::IngestEventsRequest { events: vec![event] };
    let bytes = request.encode_to_vec();
    assert_eq!(contracts::profile::v1::IngestEventsRequest::decode(&bytes[..]), Ok(request));
    assert_eq!(convert(&nested(MAX_DEPTH + 1)), None);
    let arrays = format!("{{\"a\":{}{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert_eq!(convert(&arrays), None);
}

#[test]
fn ten_thousand_levels_are_skipped_and_the_field_is_named() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let text = format!("{{\"x\":{}1{},\"y\":2}}", open.repeat(10_000), close.repeat(10_000));
        let mut fields = read(&text, &["x", "y"]).unwrap();
        assert_eq!(fields.too_deep, ["x"]);
        assert!(fields.take("y").is_some());
        let mut fields = read(&text, &["y"]).unwrap();
        assert!(fields.too_deep.is_empty() && fields.take("y").is_some(), "not wanted, not read");
    }
}

#[test]
fn small_objects_are_known_to_be_dear() {
    let small = format!("{{\"o\":[{}]}}", vec![r#"{"a":1}"#; 1_000].join(","));
    let fields = read(&small, &["o"]).unwrap();
    assert!(fields.cost > 600_000, "{}", fields.cost);
    let large = format!("{{\"o\":\"{}\"}}", "x".repeat(8_000));
    assert!(read(&large, &["o"]).unwrap().cost < 10_000);
}
