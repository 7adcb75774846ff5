use prost_reflect::{MapKey, Value as Dynamic};

use super::*;

fn pool() -> DescriptorPool {
    DescriptorPool::decode(contracts::DESCRIPTORS).unwrap()
}

/// Some value of every field, another one for each seed; of each choice one.
fn filled(message: &MessageDescriptor, seed: usize, depth: usize) -> DynamicMessage {
    let mut filled = DynamicMessage::new(message.clone());
    for (place, field) in message.fields().enumerate() {
        let is_chosen = field.containing_oneof().is_none_or(|choice| {
            choice.is_synthetic()
                || choice.fields().nth(seed % choice.fields().len()).as_ref() == Some(&field)
        });
        if !is_chosen || (seed + place).is_multiple_of(5) {
            continue;
        }
        let one = |n: usize| some(&field.kind(), seed + place + n, depth);
        let value = if field.is_map() {
            let Kind::Message(entry) = field.kind() else { unreachable!("a map") };
            let kind = entry.map_entry_value_field().kind();
            let pairs = some(&kind, seed, depth).map(|value| (MapKey::String("k".into()), value));
            Some(Dynamic::Map(pairs.into_iter().collect()))
        } else if field.is_list() {
            Some(Dynamic::List((0..=seed % 3).filter_map(one).collect()))
        } else {
            one(0)
        };
        if let Some(value) = value.filter(|value| value.is_valid_for_field(&field)) {
            filled.set_field(&field, value);
        }
    }
    filled
}

fn some(kind: &Kind, seed: usize, depth: usize) -> Option<Dynamic> {
    let integers = [0, 1, -1, i64::MAX, i64::MIN, 9_007_199_254_740_993];
    let integer = integers[seed % integers.len()];
    let reals = [0.0, 1.5, -0.0, 1e300, 1.0];
    let texts = ["", "ada", "李娜 \"\\\n\u{1}\u{2028}", "😀"];
    Some(match kind {
        Kind::Bool => Dynamic::Bool(seed.is_multiple_of(2)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Dynamic::I32(integer as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Dynamic::I64(integer),
        Kind::Uint32 | Kind::Fixed32 => Dynamic::U32(integer as u32),
        Kind::Uint64 | Kind::Fixed64 => Dynamic::U64(integer as u64),
        Kind::Float => Dynamic::F32([0.0, 1.5, f32::INFINITY, 0.1][seed % 4]),
        Kind::Double => Dynamic::F64(reals[seed % reals.len()]),
        Kind::String => Dynamic::String(texts[seed % texts.len()].to_owned()),
        Kind::Bytes => Dynamic::Bytes(vec![0xff; seed % 4].into()),
        Kind::Enum(_) => Dynamic::EnumNumber((seed % 12) as i32),
        Kind::Message(message) if message.full_name() == "google.protobuf.Timestamp" => {
            let mut timestamp = DynamicMessage::new(message.clone());
            timestamp.set_field_by_name("seconds", Dynamic::I64(1_790_000_000 + seed as i64));
            let nanos = [0, 5, 250_000_000, 1_000][seed % 4];
            timestamp.set_field_by_name("nanos", Dynamic::I32(nanos));
            Dynamic::Message(timestamp)
        }
        Kind::Message(message) if message.full_name() == "google.protobuf.Duration" => {
            let mut duration = DynamicMessage::new(message.clone());
            duration.set_field_by_name("seconds", Dynamic::I64(seed as i64));
            Dynamic::Message(duration)
        }
        Kind::Message(message) if message.full_name().starts_with("google.protobuf.Field") => None?,
        Kind::Message(message) if message.full_name() == "google.protobuf.Any" => None?,
        Kind::Message(message) if message.full_name() == "google.protobuf.Value" => {
            let mut value = DynamicMessage::new(message.clone());
            value.set_field_by_name("string_value", Dynamic::String("v".to_owned()));
            Dynamic::Message(value)
        }
        Kind::Message(message) if depth > 0 => {
            Dynamic::Message(filled(message, seed + 1, depth - 1))
        }
        Kind::Message(_) => None?,
    })
}

fn both(writer: &Writer, bytes: &[u8]) -> (Option<serde_json::Value>, Option<serde_json::Value>) {
    let read = |json: Vec<u8>| serde_json::from_slice(&json).unwrap();
    let mut reference = Vec::new();
    let reflected = reflected(writer.descriptor(), bytes, &mut reference).ok();
    (writer.json(bytes).ok().map(read), reflected.map(|()| read(reference)))
}

#[test]
fn every_message_is_written_as_reflection_writes_it() {
    let pool = pool();
    let writers = Writers::new(&pool);
    let mut direct = 0;
    for message in pool.all_messages().filter(|it| it.full_name().starts_with("rapport.")) {
        let writer = writers.of(&message).unwrap();
        for seed in 0..24 {
            let bytes = filled(&message, seed, 3).encode_to_vec();
            let (ours, theirs) = both(&writer, &bytes);
            assert_eq!(ours, theirs, "{} {seed}", message.full_name());
            assert!(ours.is_some(), "{} {seed}", message.full_name());
            let mut json = Vec::new();
            direct += usize::from(writer.message(writer.at, &bytes, &mut json, MAX_DEPTH).is_ok());
        }
    }
    // Else nothing of the above was tried.
    assert!(direct > 3_000, "{direct}");
}

#[test]
fn broken_and_strange_bytes_are_judged_by_reflection() {
    let pool = pool();
    let writers = Writers::new(&pool);
    let message = pool.get_message_by_name("rapport.profile.v1.GetProfileResponse").unwrap();
    let writer = writers.of(&message).unwrap();
    let whole = filled(&message, 7, 4).encode_to_vec();
    for end in 0..whole.len() {
        let (ours, theirs) = both(&writer, &whole[..end]);
        assert_eq!(ours, theirs, "{end}");
        let mut bent = whole.clone();
        bent[end] ^= 0x55;
        let (ours, theirs) = both(&writer, &bent);
        assert_eq!(ours, theirs, "bent at {end}");
    }
    // The same twice is merged, not written twice.
    let twice = [&whole[..], &whole[..]].concat();
    let (ours, theirs) = both(&writer, &twice);
    assert_eq!(ours, theirs);
}
