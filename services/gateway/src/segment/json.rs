//! JSON as `google.protobuf.Struct`.
//!
//! Nulls in objects are left out: Segment's words say that they equal absence. A number beyond
//! ±2⁵³ would lose digits as a double and becomes text. Depth is bounded because decoders of
//! protobuf stop at 100 nested messages, three per level, and refuse the whole chunk.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::{Map, Value as Json};

/// Levels of objects and arrays.
pub(super) const MAX_DEPTH: usize = 16;
const EXACT: u64 = 1 << 53;

/// The object is nested too deeply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must not be nested deeper than {MAX_DEPTH} levels")]
pub(super) struct TooDeep;

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
