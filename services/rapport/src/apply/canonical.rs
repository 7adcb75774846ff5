//! A resource as the YAML that would save it again: fields in the order of the contract, one
//! spelling for everything, nothing that is unset. Reading it gives the same message.

use std::fmt::Write as _;

use prost_reflect::{DynamicMessage, Kind, MapKey, Value as Proto};

use super::kind::ResourceKind;
use super::resource::upper_snake;

/// The YAML of a resource.
pub(super) fn yaml(kind: &ResourceKind, message: &DynamicMessage) -> String {
    let mut message = message.clone();
    kind.strip(&mut message);
    let mut text = format!("kind: {}\n", kind.kind);
    write_fields(&mut text, 0, &message);
    text
}

fn write_fields(text: &mut String, depth: usize, message: &DynamicMessage) {
    for (field, value) in message.fields() {
        indent(text, depth);
        text.push_str(field.name());
        text.push(':');
        match value {
            Proto::List(items) => write_list(text, depth, items, &field.kind()),
            Proto::Map(entries) => {
                let Kind::Message(entry) = field.kind() else { continue };
                let kind = entry.map_entry_value_field().kind();
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by_key(|(key, _)| key.as_str().unwrap_or_default().to_owned());
                text.push('\n');
                for (key, value) in entries {
                    indent(text, depth + 1);
                    let MapKey::String(key) = key else { continue };
                    text.push_str(&quoted(key));
                    text.push(':');
                    write_value(text, depth + 1, value, &kind);
                }
            }
            value => write_value(text, depth, value, &field.kind()),
        }
    }
}

/// What follows a key and its colon.
fn write_value(text: &mut String, depth: usize, value: &Proto, kind: &Kind) {
    match (value, scalar(value, kind)) {
        (_, Some(scalar)) => {
            text.push(' ');
            text.push_str(&scalar);
            text.push('\n');
        }
        (Proto::Message(message), None) if message.fields().next().is_some() => {
            text.push('\n');
            write_fields(text, depth + 1, message);
        }
        _ => text.push_str(" {}\n"),
    }
}

fn write_list(text: &mut String, depth: usize, items: &[Proto], kind: &Kind) {
    text.push('\n');
    for item in items {
        indent(text, depth + 1);
        text.push('-');
        let mut inner = String::new();
        match (item, scalar(item, kind)) {
            (Proto::Message(message), None) => write_fields(&mut inner, depth + 2, message),
            (_, scalar) => inner = scalar.map(|scalar| scalar + "\n").unwrap_or_default(),
        }
        // The first field stands beside the dash.
        let first = inner.trim_start_matches(' ');
        text.push(' ');
        text.push_str(if first.is_empty() { "{}\n" } else { first });
    }
}

fn scalar(value: &Proto, kind: &Kind) -> Option<String> {
    Some(match (value, kind) {
        (Proto::String(text), _) => quoted(text),
        (Proto::Bool(value), _) => value.to_string(),
        (Proto::I32(number), _) => number.to_string(),
        (Proto::I64(number), _) => number.to_string(),
        (Proto::F64(number), _) => number_text(*number),
        (Proto::EnumNumber(number), Kind::Enum(descriptor)) => {
            let value = descriptor.get_value(*number)?;
            let prefix = format!("{}_", upper_snake(descriptor.name()));
            value.name().trim_start_matches(&prefix).to_lowercase()
        }
        (Proto::Message(message), Kind::Message(descriptor))
            if descriptor.full_name() == "google.protobuf.Duration" =>
        {
            duration(message)
        }
        _ => return None,
    })
}

fn number_text(number: f64) -> String {
    if number.is_nan() {
        ".nan".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { ".inf" } else { "-.inf" }.to_owned()
    } else if number == number.trunc() && number.abs() >= 1e15 {
        format!("{number:e}")
    } else {
        number.to_string()
    }
}

fn duration(message: &DynamicMessage) -> String {
    let part = |name: &str| message.get_field_by_name(name).map(std::borrow::Cow::into_owned);
    let seconds = part("seconds").and_then(|value| value.as_i64()).unwrap_or_default();
    let nanos = part("nanos").and_then(|value| value.as_i32()).unwrap_or_default();
    if nanos != 0 {
        return format!("{}s", seconds as f64 + f64::from(nanos) / 1e9);
    }
    let units = [("d", 86_400), ("h", 3_600), ("m", 60)];
    let unit = units.iter().find(|(_, length)| seconds != 0 && seconds % length == 0);
    unit.map_or_else(
        || format!("{seconds}s"),
        |(unit, length)| format!("{}{unit}", seconds / length),
    )
}

/// As it stands if that can be nothing but text, else in double quotes.
fn quoted(text: &str) -> String {
    // The words that some reader of YAML takes for something else.
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-. ".contains(letter);
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(plain)
        && !text.ends_with(' ')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_plain {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            odd if odd.is_control() || "\u{2028}\u{2029}\u{feff}".contains(odd) => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(odd));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

fn indent(text: &mut String, depth: usize) {
    for _ in 0..depth {
        text.push_str("  ");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use prost_reflect::DescriptorPool;

    use super::*;
    use crate::apply::{read, read_text};

    static POOL: std::sync::LazyLock<DescriptorPool> = std::sync::LazyLock::new(|| {
        DescriptorPool::decode(contracts::DESCRIPTORS).expect("descriptors")
    });

    #[test]
    fn the_example_reads_back_to_the_same() {
        let pool = &*POOL;
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/quickstart.yaml");
        for sourced in read(&[example.into()], pool).expect("an example") {
            let resource = sourced.resource;
            let text = yaml(resource.kind, &resource.message);
            let again = read_text("again.yaml".as_ref(), &text, pool);
            let again = again.unwrap_or_else(|found| panic!("{found:?}\n{text}"));
            assert_eq!(again[0].resource.message, resource.message, "{text}");
        }
    }

    #[test]
    fn it_looks_as_people_write_it() {
        let text = "kind: Agent\ncapacity: 5\nname: li-na\nskills: {b: 1, a: 2}\nworking_hours: {time_zone: UTC, \
                    intervals: [{weekdays: [1, 2], start: '08:00', end: '17:00'}]}\n";
        let resources = read_text("a.yaml".as_ref(), text, &POOL).expect("valid");
        let resource = &resources[0].resource;
        let expected = "kind: Agent\nname: li-na\nskills:\n  a: 2\n  b: 1\ncapacity: 5\n\
            working_hours:\n  time_zone: UTC\n  intervals:\n    - weekdays:\n        - 1\n        - 2\n      \
            start: \"08:00\"\n      end: \"17:00\"\n";
        assert_eq!(yaml(resource.kind, &resource.message), expected);
    }

    proptest! {
        #[test]
        fn any_words_and_numbers_read_back_to_the_same(
            words in proptest::collection::vec(any::<String>(), 3),
            points in any::<f64>().prop_filter("equal to itself", |number| !number.is_nan()),
            seconds in 0..10_000_000_i64,
        ) {
            let pool = &*POOL;
            let kind = ResourceKind::named("Scorecard").expect("a kind");
            let json = serde_json::json!({
                "name": "card", "description": words[0],
                "rules": [{"name": words[1], "when": words[2], "points": format!("{points:e}"),
                    "halfLife": format!("{seconds}s")}, {}],
            });
            let descriptor = kind.descriptor(pool).expect("a message");
            let message = DynamicMessage::deserialize(descriptor, json).expect("a message");
            let text = yaml(kind, &message);
            let again = read_text("again.yaml".as_ref(), &text, pool);
            let again = again.map_err(|found| TestCaseError::fail(format!("{found:?}\n{text}")))?;
            // What is set to its default and what is not set are the same on the wire.
            let bytes = |message: &DynamicMessage| message.encode_to_vec();
            prop_assert!(bytes(&again[0].resource.message) == bytes(&message), "{}", text);
        }
    }
}
