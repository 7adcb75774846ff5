//! Canonical protobuf JSON straight from the bytes of a message.
//!
//! What each type's fields are called and how their values are written is read from the
//! descriptors once; then a message is walked, field after field, without a tree in between: a
//! third of the CPU of a JSON answer went into building and freeing that tree (measured).
//!
//! Only what our own services write is written here. Whatever is unusual – maps, the well-known types
//! but for timestamps, a field that comes twice, two of one choice, broken bytes – is left
//! to `prost-reflect`, whole: it knows the rules, and what to say about what breaks them. A test holds
//! both ways equal.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Buf as _;
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor,
};

/// As deep as prost reads.
const MAX_DEPTH: usize = 100;
/// Fields of a message that fit into a set of bits.
const MAX_FIELDS: usize = 128;
/// 0001-01-01 and 9999-12-31T23:59:59, in seconds since 1970: what a timestamp may say.
const TIMESTAMPS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Writes the messages of one type. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    plans: Arc<[Plan]>,
    at: usize,
}

/// For every type of a pool.
#[derive(Debug)]
pub(crate) struct Writers {
    plans: Arc<[Plan]>,
    by_name: HashMap<String, usize>,
}

#[derive(Debug)]
struct Plan {
    descriptor: MessageDescriptor,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// By number.
    Fields(Vec<Field>),
    Timestamp,
    Reflection,
}

#[derive(Debug)]
struct Field {
    number: u32,
    /// `"name":`
    key: Box<[u8]>,
    value: Value,
    is_list: bool,
    /// Its default is the same as its absence.
    is_implicit: bool,
    /// The fields of which at most one may be there, itself left out.
    rivals: u128,
}

#[derive(Debug)]
enum Value {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    String,
    Bytes,
    /// Names in quotes, by number.
    Enum(HashMap<i32, Box<[u8]>>),
    Message(usize),
}

/// Left to reflection.
struct Unusual;

impl From<prost::DecodeError> for Unusual {
    fn from(_: prost::DecodeError) -> Self {
        Self
    }
}

impl Writers {
    /// Reads the descriptors.
    pub(crate) fn new(pool: &DescriptorPool) -> Self {
        let all: Vec<MessageDescriptor> = pool.all_messages().collect();
        let names = all.iter().map(|message| message.full_name().to_owned());
        let by_name: HashMap<String, usize> = names.zip(0..).collect();
        let plan = |descriptor: &MessageDescriptor| Plan {
            way: way(descriptor, &by_name),
            descriptor: descriptor.clone(),
        };
        Self { plans: all.iter().map(plan).collect(), by_name }
    }

    /// Of a type of the pool.
    pub(crate) fn of(&self, message: &MessageDescriptor) -> Option<Writer> {
        let at = *self.by_name.get(message.full_name())?;
        Some(Writer { plans: Arc::clone(&self.plans), at })
    }
}

fn way(message: &MessageDescriptor, by_name: &HashMap<String, usize>) -> Way {
    let name = message.full_name();
    if name == "google.protobuf.Timestamp" {
        return Way::Timestamp;
    }
    if name.starts_with("google.protobuf.") || message.fields().len() > MAX_FIELDS {
        return Way::Reflection;
    }
    let mut fields: Vec<FieldDescriptor> = message.fields().collect();
    fields.sort_unstable_by_key(FieldDescriptor::number);
    let planned = fields.iter().enumerate().map(|(at, field)| plan(at, field, &fields, by_name));
    planned.collect::<Option<Vec<Field>>>().map_or(Way::Reflection, Way::Fields)
}

fn plan(
    at: usize,
    field: &FieldDescriptor,
    all: &[FieldDescriptor],
    by_name: &HashMap<String, usize>,
) -> Option<Field> {
    if field.is_map() || field.is_group() {
        return None;
    }
    let choice = field.containing_oneof();
    let is_rival = |(other, rival): &(usize, &FieldDescriptor)| {
        *other != at && choice.is_some() && rival.containing_oneof() == choice
    };
    let rivals = all.iter().enumerate().filter(is_rival);
    Some(Field {
        number: field.number(),
        key: format!("{}:", serde_json::Value::from(field.json_name())).into_bytes().into(),
        value: value(&field.kind(), by_name)?,
        is_list: field.is_list(),
        is_implicit: !field.supports_presence(),
        rivals: rivals.fold(0, |rivals, (other, _)| rivals | 1 << other),
    })
}

fn value(kind: &Kind, by_name: &HashMap<String, usize>) -> Option<Value> {
    Some(match kind {
        Kind::Bool => Value::Bool,
        Kind::Int32 => Value::Int32,
        Kind::Int64 => Value::Int64,
        Kind::Uint32 => Value::Uint32,
        Kind::Uint64 => Value::Uint64,
        Kind::Sint32 => Value::Sint32,
        Kind::Sint64 => Value::Sint64,
        Kind::Fixed32 => Value::Fixed32,
        Kind::Fixed64 => Value::Fixed64,
        Kind::Sfixed32 => Value::Sfixed32,
        Kind::Sfixed64 => Value::Sfixed64,
        Kind::Float => Value::Float,
        Kind::Double => Value::Double,
        Kind::String => Value::String,
        Kind::Bytes => Value::Bytes,
        Kind::Enum(words) => Value::Enum(names(words)?),
        Kind::Message(message) => Value::Message(*by_name.get(message.full_name())?),
    })
}

/// Of two names of one number the first one counts.
fn names(words: &EnumDescriptor) -> Option<HashMap<i32, Box<[u8]>>> {
    if words.full_name() == "google.protobuf.NullValue" {
        return None;
    }
    let mut names = HashMap::new();
    for number in words.values().map(|word| word.number()) {
        let name = words.get_value(number)?;
        names.insert(number, format!("\"{}\"", name.name()).into_bytes().into());
    }
    Some(names)
}

impl Writer {
    /// The type.
    pub(crate) fn descriptor(&self) -> &MessageDescriptor {
        &self.plans[self.at].descriptor
    }

    /// The JSON of a message.
    ///
    /// # Errors
    /// When the bytes are no message of this type.
    pub(crate) fn json(&self, message: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = Vec::with_capacity(message.len() * 2 + 32);
        if self.message(self.at, message, &mut json, MAX_DEPTH).is_err() {
            json.clear();
            reflected(self.descriptor(), message, &mut json)?;
        }
        Ok(json)
    }

    fn message(&self, at: usize, bytes: &[u8], json: &mut Vec<u8>, depth: usize) -> Written {
        let depth = depth.checked_sub(1).ok_or(Unusual)?;
        match &self.plans[at].way {
            Way::Fields(fields) => self.fields(fields, bytes, json, depth),
            Way::Timestamp => timestamp(bytes, json),
            Way::Reflection => {
                reflected(&self.plans[at].descriptor, bytes, json).map_err(|_| Unusual)
            }
        }
    }

    fn fields(
        &self,
        fields: &[Field],
        mut bytes: &[u8],
        json: &mut Vec<u8>,
        depth: usize,
    ) -> Written {
        json.push(b'{');
        let (mut seen, mut open) = (0_u128, None);
        while !bytes.is_empty() {
            let (number, wire) = decode_key(&mut bytes)?;
            let Ok(at) = fields.binary_search_by_key(&number, |field| field.number) else {
                skip_field(wire, number, &mut bytes, DecodeContext::default())?;
                continue;
            };
            let field = &fields[at];
            if open == Some(at) {
                json.push(b',');
                self.items(field, wire, &mut bytes, json, depth)?;
                continue;
            }
            if open.take().is_some() {
                json.push(b']');
            }
            if seen & (1 << at | field.rivals) != 0 {
                return Err(Unusual);
            }
            seen |= 1 << at;
            let before = json.len();
            if json.last() != Some(&b'{') {
                json.push(b',');
            }
            json.extend_from_slice(&field.key);
            if field.is_list {
                json.push(b'[');
                open = Some(at);
                self.items(field, wire, &mut bytes, json, depth)?;
            } else {
                let is_default = self.item(&field.value, wire, &mut bytes, json, depth)?;
                if is_default && field.is_implicit {
                    json.truncate(before);
                }
            }
        }
        if open.is_some() {
            json.push(b']');
        }
        json.push(b'}');
        Ok(())
    }

    /// One item of a list, or several that are packed.
    fn items(
        &self,
        field: &Field,
        wire: WireType,
        bytes: &mut &[u8],
        json: &mut Vec<u8>,
        depth: usize,
    ) -> Written {
        let Some(packed) = field.value.packed().filter(|_| wire == WireType::LengthDelimited)
        else {
            return self.item(&field.value, wire, bytes, json, depth).map(|_| ());
        };
        let mut items = delimited(bytes)?;
        if items.is_empty() {
            return Err(Unusual);
        }
        loop {
            self.item(&field.value, packed, &mut items, json, depth)?;
            if items.is_empty() {
                return Ok(());
            }
            json.push(b',');
        }
    }

    /// Whether it is the default of its kind.
    fn item(
        &self,
        value: &Value,
        wire: WireType,
        bytes: &mut &[u8],
        json: &mut Vec<u8>,
        depth: usize,
    ) -> Result<bool, Unusual> {
        if wire != value.wire() {
            return Err(Unusual);
        }
        match value {
            Value::Message(at) => {
                let message = delimited(bytes)?;
                self.message(*at, message, json, depth)?;
                Ok(false)
            }
            Value::String => {
                let text = std::str::from_utf8(delimited(bytes)?).map_err(|_| Unusual)?;
                serde_json::to_writer(json, text).map_err(|_| Unusual)?;
                Ok(text.is_empty())
            }
            Value::Bytes => {
                let value = delimited(bytes)?;
                write!(json, "\"{}\"", STANDARD.encode(value)).map_err(|_| Unusual)?;
                Ok(value.is_empty())
            }
            number => number.number(bytes, json),
        }
    }
}

type Written = Result<(), Unusual>;

impl Value {
    const fn wire(&self) -> WireType {
        match self {
            Self::String | Self::Bytes | Self::Message(_) => WireType::LengthDelimited,
            Self::Fixed32 | Self::Sfixed32 | Self::Float => WireType::ThirtyTwoBit,
            Self::Fixed64 | Self::Sfixed64 | Self::Double => WireType::SixtyFourBit,
            _ => WireType::Varint,
        }
    }

    /// How packed items are written.
    fn packed(&self) -> Option<WireType> {
        Some(self.wire()).filter(|wire| *wire != WireType::LengthDelimited)
    }

    /// Whether it is 0. Integers of 64 bits are text, because JSON's readers lose digits.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "as protobuf has it"
    )]
    fn number(&self, bytes: &mut &[u8], json: &mut Vec<u8>) -> Result<bool, Unusual> {
        let bits = match self.wire() {
            WireType::Varint => decode_varint(bytes)?,
            WireType::ThirtyTwoBit => bytes.try_get_u32_le().map_err(|_| Unusual)?.into(),
            _ => bytes.try_get_u64_le().map_err(|_| Unusual)?,
        };
        let unzigzag = (bits >> 1) as i64 ^ -((bits & 1) as i64);
        let written = match self {
            Self::Bool => write!(json, "{}", bits != 0),
            Self::Int32 | Self::Sfixed32 => write!(json, "{}", bits as i32),
            Self::Sint32 => write!(json, "{}", unzigzag as i32),
            Self::Uint32 | Self::Fixed32 => write!(json, "{}", bits as u32),
            Self::Int64 | Self::Sfixed64 => write!(json, "\"{}\"", bits as i64),
            Self::Sint64 => write!(json, "\"{unzigzag}\""),
            Self::Uint64 | Self::Fixed64 => write!(json, "\"{bits}\""),
            Self::Float => real(f32::from_bits(bits as u32), json)?,
            Self::Double => real(f64::from_bits(bits), json)?,
            Self::Enum(names) => match names.get(&(bits as i32)) {
                Some(name) => json.write_all(name),
                None => write!(json, "{}", bits as i32),
            },
            Self::String | Self::Bytes | Self::Message(_) => return Err(Unusual),
        };
        written.map_err(|_| Unusual)?;
        Ok(bits == 0)
    }
}

fn real<F: Into<f64> + Copy + serde::Serialize>(
    value: F,
    json: &mut Vec<u8>,
) -> Result<std::io::Result<()>, Unusual> {
    let wide: f64 = value.into();
    if !wide.is_finite() {
        return Err(Unusual);
    }
    Ok(serde_json::to_writer(json, &value).map_err(Into::into))
}

fn delimited<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8], Unusual> {
    let length = usize::try_from(decode_varint(bytes)?).map_err(|_| Unusual)?;
    let (inner, rest) = bytes.split_at_checked(length).ok_or(Unusual)?;
    *bytes = rest;
    Ok(inner)
}

fn timestamp(bytes: &[u8], json: &mut Vec<u8>) -> Written {
    let timestamp = prost_types::Timestamp::decode(bytes)?;
    if !TIMESTAMPS.contains(&timestamp.seconds) || !(0..1_000_000_000).contains(&timestamp.nanos) {
        return Err(Unusual);
    }
    write!(json, "\"{timestamp}\"").map_err(|_| Unusual)
}

fn reflected(
    descriptor: &MessageDescriptor,
    bytes: &[u8],
    json: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let message = DynamicMessage::decode(descriptor.clone(), bytes);
    let message = message.map_err(<serde_json::Error as serde::ser::Error>::custom)?;
    serde_json::to_writer(json, &message)
}

#[cfg(test)]
mod tests;
