//! JSON of an event, and as `google.protobuf.Struct`.
//!
//! Half a surrogate pair (`\ud83d`, of JavaScript's text that was cut inside an emoji) is no
//! text in UTF-8: it is read as U+FFFD, the sign for what cannot be shown.
//!
//! Nulls in objects are left out: Segment's words say that they equal absence. A whole number
//! beyond ±2⁵³ would lose digits as a double and becomes text, as far as it has 64 bits. Depth is bounded because decoders of
//! protobuf stop at 100 nested messages, three per level, and refuse the whole chunk.

use std::borrow::Cow;

use kernel::Violations;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde::Deserialize;
use serde_json::error::Category;
use serde_json::{Map, Value as Json};

/// Levels of objects and arrays.
pub(super) const MAX_DEPTH: usize = 16;
const EXACT: u64 = 1 << 53;

/// The object is nested too deeply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must not be nested deeper than {MAX_DEPTH} levels")]
pub(super) struct TooDeep;

/// An event that the parser does not take.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("must be a JSON object")]
    NoObject,
    /// A number too large even for a double, levels beyond the parser's own bound.
    #[error("cannot be read: {0}")]
    Syntax(serde_json::Error),
}

impl Unreadable {
    pub(super) fn violations(&self) -> Violations {
        Violations::of("", self.to_string())
    }
}

/// Reads an event.
pub(super) fn read(text: &str) -> Result<Map<String, Json>, Unreadable> {
    let read = serde_json::from_str(text).or_else(|error| match whole_pairs(text) {
        Cow::Borrowed(_) => Err(error),
        Cow::Owned(text) => serde_json::from_str(&text),
    });
    read.map_err(|error| match error.classify() {
        // The parser's own words would quote the event.
        Category::Data => Unreadable::NoObject,
        Category::Syntax | Category::Eof | Category::Io => Unreadable::Syntax(error),
    })
}

/// The id of an event that cannot be read otherwise: the rest is only skipped.
pub(crate) fn message_id(event: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "messageId")]
        message_id: Json,
    }
    let named: Named = serde_json::from_str(event).ok()?;
    text(&named.message_id).filter(|text| !text.is_empty())
}

/// Text, or a whole number as text. What has no 64 bits has lost digits: two such ids may be
/// one double.
pub(super) fn text(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) if number.is_u64() || number.is_i64() => Some(number.to_string()),
        _ => None,
    }
}

/// The length of `\uXXXX`.
const ESCAPE: usize = 6;

/// Half pairs replaced in place, so that positions stay.
fn whole_pairs(text: &str) -> Cow<'_, str> {
    let mut whole = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        at += found;
        match (unit(text, at), unit(text, at + ESCAPE)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 2 * ESCAPE,
            (Some(0xd800..=0xdfff), _) => {
                whole.push_str(&text[copied..at]);
                whole.push_str("\\ufffd");
                at += ESCAPE;
                copied = at;
            }
            (Some(_), _) => at += ESCAPE,
            // Another escape: its second sign may be a backslash.
            (None, _) => at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    whole.push_str(&text[copied..]);
    Cow::Owned(whole)
}

/// The code unit that is escaped at a place.
fn unit(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_hex { u16::from_str_radix(digits, 16).ok() } else { None }
}

pub(super) fn object(map: Map<String, Json>) -> Result<Struct, TooDeep> {
    fields(map, MAX_DEPTH)
}

fn fields(map: Map<String, Json>, depth: usize) -> Result<Struct, TooDeep> {
    let below = depth.checked_sub(1).ok_or(TooDeep)?;
    let present = map.into_iter().filter(|(_, json)| !json.is_null());
    let fields = present.map(|(name, json)| Ok((name, value(json, below)?)));
    Ok(Struct { fields: fields.collect::<Result<_, TooDeep>>()? })
}

fn value(json: Json, depth: usize) -> Result<Value, TooDeep> {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(bool) => Kind::BoolValue(bool),
        Json::Number(number) => {
            let whole = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            match (whole, number.as_f64()) {
                (None | Some(..=EXACT), Some(double)) => Kind::NumberValue(double),
                _ => Kind::StringValue(number.to_string()),
            }
        }
        Json::String(text) => Kind::StringValue(text),
        Json::Array(items) => {
            let below = depth.checked_sub(1).ok_or(TooDeep)?;
            let values = items.into_iter().map(|item| value(item, below));
            Kind::ListValue(ListValue { values: values.collect::<Result<_, _>>()? })
        }
        Json::Object(map) => Kind::StructValue(fields(map, depth)?),
    };
    Ok(Value { kind: Some(kind) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(text: &str) -> Result<Struct, TooDeep> {
        object(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn numbers_keep_their_digits() {
        let object = convert(r#"{"a": 1.5, "b": -3, "c": 12345678901234567, "d": null}"#).unwrap();
        let kind = |name: &str| object.fields.get(name).and_then(|value| value.kind.clone());
        assert_eq!(kind("a"), Some(Kind::NumberValue(1.5)));
        assert_eq!(kind("b"), Some(Kind::NumberValue(-3.0)));
        assert_eq!(kind("c"), Some(Kind::StringValue("12345678901234567".to_owned())));
        assert_eq!(kind("d"), None);
    }

    #[test]
    fn half_pairs_are_replaced_and_nothing_else() {
        for (text, expected) in [
            (r#"{"a":"caf\ud83d"}"#, "caf\u{fffd}"),
            (r#"{"a":"\uDE00x"}"#, "\u{fffd}x"),
            (r#"{"a":"\ud83d\ud83d\ude00"}"#, "\u{fffd}😀"),
            (r#"{"a":"\ud83d\n\\ud83d"}"#, "\u{fffd}\n\\ud83d"),
            (r#"{"a":"\ud83d\u00e9é"}"#, "\u{fffd}éé"),
        ] {
            assert_eq!(read(text).unwrap()["a"], expected, "{text}");
        }
        for broken in [r#"{"a":"\u12é4"}"#, r#"{"a":"\ud83"}"#, "\\", r"\ud83d", "{\"a\":\"\\é\"}"]
        {
            assert!(matches!(read(broken), Err(Unreadable::Syntax(_))), "{broken}");
        }
    }

    #[test]
    fn what_is_let_through_can_be_decoded() {
        use prost::Message;
        let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        let deepest = convert(&nested(MAX_DEPTH)).unwrap();
        let event = contracts::profile::v1::Event { context: Some(deepest), ..Default::default() };
        let request = contracts::profile::v1::IngestEventsRequest { events: vec![event] };
        let bytes = request.encode_to_vec();
        assert_eq!(contracts::profile::v1::IngestEventsRequest::decode(&bytes[..]), Ok(request));
        assert_eq!(convert(&nested(MAX_DEPTH + 1)), Err(TooDeep));
        let arrays = format!("{{\"a\":{}{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(convert(&arrays), Err(TooDeep));
    }
}
