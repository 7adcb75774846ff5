//! JSON of an event, read straight into the values of `google.protobuf.Struct`.
//!
//! Half a surrogate pair (`\ud83d`, of JavaScript's text that was cut inside an emoji) is no
//! text in UTF-8: it is read as U+FFFD, the sign for what cannot be shown.
//!
//! Nulls in objects are left out: Segment's words say that they equal absence. A whole number
//! beyond ±2⁵³ would lose digits as a double and becomes text, as far as it has 64 bits. Depth
//! is bounded because decoders of protobuf stop at 100 nested messages, three per level, and
//! refuse the whole chunk; what is deeper is skipped without recursion.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use kernel::Violations;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

/// Levels of objects and arrays in a field of an event.
const MAX_DEPTH: usize = 16;
const EXACT: u64 = 1 << 53;
const EXACT_DOUBLE: f64 = 9_007_199_254_740_992.0;
/// A node of a B-tree with its eleven places of name and value; half of them are used at least.
const NODE_BYTES: usize = 640;
const ENTRIES_PER_NODE: usize = 6;

pub(super) type Object = BTreeMap<String, Value>;

/// An event that the parser does not take.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("must be a JSON object")]
    NoObject,
    /// A number too large even for a double, or no JSON.
    #[error("cannot be read: {0}")]
    Syntax(serde_json::Error),
}

impl Unreadable {
    pub(super) fn violations(&self) -> Violations {
        Violations::of("", self.to_string())
    }
}

/// The fields of an object; nulls are absent.
#[derive(Debug, Default)]
pub(super) struct Fields {
    found: Vec<(Cow<'static, str>, Value)>,
    /// Those that are nested too deeply.
    pub(super) too_deep: Vec<String>,
    /// About the bytes of all this in memory.
    pub(super) cost: usize,
}

impl Fields {
    /// Takes a field out. Of two with one name the last counts.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.found.iter().rposition(|(found, _)| found == name)?;
        let value = self.found.swap_remove(at).1;
        (!is_null(&value)).then_some(value)
    }

    /// What nobody has taken.
    pub(super) fn rest(self) -> impl Iterator<Item = (String, Value)> {
        let present = self.found.into_iter().filter(|(_, value)| !is_null(value));
        present.map(|(name, value)| (name.into_owned(), value))
    }
}

/// Reads the named fields of an object, or all if none is named.
pub(super) fn read(text: &str, names: &'static [&'static str]) -> Result<Fields, Unreadable> {
    let read = fields(text, names).or_else(|error| match whole_pairs(text) {
        Cow::Borrowed(_) => Err(error),
        Cow::Owned(text) => fields(&text, names),
    });
    read.map_err(|error| match error.classify() {
        // The parser's own words would quote the event.
        Category::Data => Unreadable::NoObject,
        Category::Syntax | Category::Eof | Category::Io => Unreadable::Syntax(error),
    })
}

fn fields(text: &str, names: &'static [&'static str]) -> serde_json::Result<Fields> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let fields = Named(names).deserialize(&mut parser)?;
    parser.end()?;
    Ok(fields)
}

fn is_null(value: &Value) -> bool {
    matches!(value.kind, None | Some(Kind::NullValue(_)))
}

/// Text, or a whole number as text. Beyond ±2⁵³ two numbers may be one double.
pub(super) fn text(value: &Value) -> Option<String> {
    match value.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        Kind::NumberValue(number) if number.fract() == 0.0 && number.abs() <= EXACT_DOUBLE => {
            Some((*number as i64).to_string())
        }
        _ => None,
    }
}

/// The text of a field that is text.
pub(super) fn str_of<'o>(object: &'o Object, field: &str) -> Option<&'o str> {
    match object.get(field)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The object in a field.
pub(super) fn object_of<'o>(object: &'o Object, field: &str) -> Option<&'o Object> {
    match object.get(field)?.kind.as_ref()? {
        Kind::StructValue(below) => Some(&below.fields),
        _ => None,
    }
}

/// Takes a field out that is an object; another value stays.
pub(super) fn take_object(object: &mut Object, field: &str) -> Option<Object> {
    object_of(object, field)?;
    match object.remove(field)?.kind? {
        Kind::StructValue(below) => Some(below.fields),
        _ => None,
    }
}

pub(super) fn of_text(text: impl Into<String>) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

pub(super) fn of_object(fields: Object) -> Value {
    Value { kind: Some(Kind::StructValue(Struct { fields })) }
}

/// As a field of a message: empty is absent.
pub(super) fn message(fields: Object) -> Option<Struct> {
    (!fields.is_empty()).then_some(Struct { fields })
}

/// Reads an object into [`Fields`].
struct Named(&'static [&'static str]);

impl Named {
    fn keep(&self, name: &str) -> Option<Cow<'static, str>> {
        if self.0.is_empty() {
            return Some(Cow::Owned(name.to_owned()));
        }
        self.0.iter().find(|known| **known == name).map(|known| Cow::Borrowed(*known))
    }
}

/// Whether a name is wanted; no name is copied for that.
struct Name<'n>(&'n Named);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<Cow<'static, str>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<Cow<'static, str>>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.keep(name))
    }
}

impl<'de> DeserializeSeed<'de> for Named {
    type Value = Fields;

    fn deserialize<D: serde::Deserializer<'de>>(self, parser: D) -> Result<Fields, D::Error> {
        parser.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Named {
    type Value = Fields;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let notes = Notes::default();
        let mut fields = Fields::default();
        while let Some(name) = map.next_key_seed(Name(&self))? {
            let Some(name) = name else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value_seed(Level { depth: MAX_DEPTH, notes: &notes })?;
            if notes.too_deep.take() {
                fields.too_deep.push(name.into_owned());
            } else {
                fields.found.push((name, value));
            }
        }
        fields.cost = notes.cost.get();
        Ok(fields)
    }
}

/// What is noted while a value is read.
#[derive(Default)]
struct Notes {
    too_deep: Cell<bool>,
    cost: Cell<usize>,
}

impl Notes {
    fn pay(&self, bytes: usize) {
        self.cost.set(self.cost.get() + bytes);
    }
}

/// Reads a value that may have so many levels.
#[derive(Clone, Copy)]
struct Level<'n> {
    depth: usize,
    notes: &'n Notes,
}

impl Level<'_> {
    fn below(self) -> Option<Self> {
        let below = self.depth.checked_sub(1).map(|depth| Self { depth, ..self });
        self.notes.too_deep.set(self.notes.too_deep.get() | below.is_none());
        below
    }
}

const NULL: Value = Value { kind: Some(Kind::NullValue(0)) };

fn of_kind<E>(kind: Kind) -> Result<Value, E> {
    Ok(Value { kind: Some(kind) })
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, parser: D) -> Result<Value, D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(NULL)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Value, E> {
        of_kind(Kind::BoolValue(bool))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        of_kind(if number <= EXACT {
            Kind::NumberValue(number as f64) // exact
        } else {
            Kind::StringValue(number.to_string())
        })
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        of_kind(if number.unsigned_abs() <= EXACT {
            Kind::NumberValue(number as f64) // exact
        } else {
            Kind::StringValue(number.to_string())
        })
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        of_kind(Kind::NumberValue(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        self.notes.pay(text.len());
        of_kind(Kind::StringValue(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Some(below) = self.below() else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(NULL);
        };
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(below)? {
            values.push(value);
        }
        self.notes.pay(values.capacity() * size_of::<Value>());
        of_kind(Kind::ListValue(ListValue { values }))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let Some(below) = self.below() else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(NULL);
        };
        let mut fields = Object::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(below)?;
            if is_null(&value) {
                fields.remove(&name);
            } else {
                self.notes.pay(name.len());
                fields.insert(name, value);
            }
        }
        self.notes.pay(fields.len().div_ceil(ENTRIES_PER_NODE) * NODE_BYTES);
        of_kind(Kind::StructValue(Struct { fields }))
    }
}

/// Reads an object as events hold them, which must not be nested too deeply. For batches.
pub(super) struct AnObject;

impl<'de> DeserializeSeed<'de> for AnObject {
    /// With about the bytes that it takes in memory.
    type Value = (Object, usize);

    fn deserialize<D: serde::Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        let notes = Notes::default();
        let value = Level { depth: MAX_DEPTH, notes: &notes }.deserialize(parser)?;
        match value.kind {
            _ if notes.too_deep.get() => Err(D::Error::custom("nested too deeply")),
            Some(Kind::StructValue(object)) => Ok((object.fields, notes.cost.get())),
            None | Some(Kind::NullValue(_)) => Ok((Object::new(), 0)),
            Some(_) => Err(D::Error::custom("no object")),
        }
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

#[cfg(test)]
mod tests;
