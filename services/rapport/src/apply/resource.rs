//! A YAML document as the protobuf message of its kind: checked against the descriptor, so
//! that a misspelt key is found here, with its line, and not silently ignored.

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    Value as Proto,
};

use super::kind::{KINDS, ResourceKind};
use super::yaml::{Node, Place, Value};

/// Something wrong at a place of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, and what is expected.
    pub message: String,
}

/// A resource ready to be sent.
#[derive(Debug)]
pub struct Resource {
    /// Which kind.
    pub kind: &'static ResourceKind,
    /// Its name; `default` for the only one of its kind.
    pub name: String,
    /// The content.
    pub message: DynamicMessage,
    /// The document it came from.
    pub node: Node,
}

/// A document with mistakes.
#[derive(Debug)]
pub struct Broken {
    /// What is right about it, if kind and name are: others may refer to it.
    pub rest: Option<Box<Resource>>,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
}

/// Reads one document.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(node: &Node, pool: &DescriptorPool) -> Result<Resource, Broken> {
    let kind = kind_of(node).map_err(|problem| Broken { rest: None, problems: vec![problem] })?;
    let descriptor = kind.descriptor(pool).map_err(|error| {
        let problem = Problem { place: node.place, message: error.to_string() };
        Broken { rest: None, problems: vec![problem] }
    })?;
    let mut problems = Vec::new();
    let message = message_of(node, &descriptor, Some(kind), &mut problems);
    let name = match (node.get("name").map(|name| &name.value), kind.only_name()) {
        (Some(Value::Text(name)), _) => Some(name.clone()),
        (_, Some(only)) => Some(only.to_owned()),
        // What is no text is said already.
        (Some(value), None) if *value != Value::Null => None,
        (_, None) => {
            let message = format!("`name` is missing: every {} has one", kind.kind);
            problems.push(Problem { place: node.place, message });
            None
        }
    };
    match name.map(|name| Resource { kind, name, message, node: node.clone() }) {
        Some(resource) if problems.is_empty() => Ok(resource),
        rest => Err(Broken { rest: rest.map(Box::new), problems }),
    }
}

fn kind_of(node: &Node) -> Result<&'static ResourceKind, Problem> {
    let kinds = || KINDS.iter().map(|kind| kind.kind).collect::<Vec<_>>();
    let Some(kind_node) = node.get("kind") else {
        let message = format!("`kind` is missing: one of {}", kinds().join(", "));
        return Err(Problem { place: node.place, message });
    };
    let place = kind_node.place;
    let Value::Text(name) = &kind_node.value else {
        return Err(Problem { place, message: "`kind` must be text".to_owned() });
    };
    ResourceKind::named(name).ok_or_else(|| {
        let hint = suggestion(name, &kinds());
        Problem { place, message: format!("unknown kind `{name}`{hint}") }
    })
}

fn message_of(
    node: &Node,
    descriptor: &MessageDescriptor,
    kind: Option<&ResourceKind>,
    problems: &mut Vec<Problem>,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    let Value::Map(entries) = &node.value else {
        let expected = format!("expected a mapping, found {}", node.value.kind());
        problems.push(Problem { place: node.place, message: expected });
        return message;
    };
    // What the server says about a resource cannot be set in a file.
    let hidden = kind.map_or(&[][..], |kind| kind.output_only);
    let fields: Vec<FieldDescriptor> =
        descriptor.fields().filter(|field| !hidden.contains(&field.name())).collect();
    for (key, value) in entries {
        if kind.is_some() && key.text == "kind" {
            continue;
        }
        let Some(field) = fields.iter().find(|field| field.name() == key.text) else {
            let names: Vec<_> = fields.iter().map(FieldDescriptor::name).collect();
            let hint = suggestion(&key.text, &names);
            let text = format!("unknown field `{}`{hint}", key.text);
            problems.push(Problem { place: key.place, message: text });
            continue;
        };
        if value.value == Value::Null {
            continue;
        }
        if let Some(proto) = field_value(value, field, problems) {
            message.set_field(field, proto);
        }
    }
    message
}

fn field_value(node: &Node, field: &FieldDescriptor, problems: &mut Vec<Problem>) -> Option<Proto> {
    if field.is_map() {
        return map_value(node, field, problems);
    }
    if !field.is_list() {
        return single_value(node, &field.kind(), problems);
    }
    let Value::List(items) = &node.value else {
        let text = format!("`{}` must be a list, found {}", field.name(), node.value.kind());
        problems.push(Problem { place: node.place, message: text });
        return None;
    };
    let values = items.iter().filter_map(|item| single_value(item, &field.kind(), problems));
    Some(Proto::List(values.collect()))
}

fn map_value(node: &Node, field: &FieldDescriptor, problems: &mut Vec<Problem>) -> Option<Proto> {
    let (Kind::Message(entry), Value::Map(entries)) = (field.kind(), &node.value) else {
        let text = format!("`{}` must be a mapping, found {}", field.name(), node.value.kind());
        problems.push(Problem { place: node.place, message: text });
        return None;
    };
    let value_kind = entry.map_entry_value_field().kind();
    let mut map = std::collections::HashMap::new();
    for (key, value) in entries {
        if let Some(proto) = single_value(value, &value_kind, problems) {
            map.insert(MapKey::String(key.text.clone()), proto);
        }
    }
    Some(Proto::Map(map))
}

fn single_value(node: &Node, kind: &Kind, problems: &mut Vec<Problem>) -> Option<Proto> {
    let wrong = |expected: &str| Problem {
        place: node.place,
        message: format!("expected {expected}, found {}", node.value.kind()),
    };
    let result = match (kind, &node.value) {
        (Kind::String, Value::Text(text)) => Ok(Proto::String(text.clone())),
        (Kind::String, _) => Err(wrong("text (put it in quotes)")),
        (Kind::Bool, Value::Bool(value)) => Ok(Proto::Bool(*value)),
        (Kind::Bool, _) => Err(wrong("true or false")),
        (Kind::Double, Value::Number(number)) => Ok(Proto::F64(*number)),
        (Kind::Double, Value::Integer(number)) => Ok(Proto::F64(*number as f64)),
        (Kind::Double, _) => Err(wrong("a number")),
        (Kind::Int64, Value::Integer(number)) => Ok(Proto::I64(*number)),
        (Kind::Int32, Value::Integer(number)) => {
            i32::try_from(*number).map(Proto::I32).map_err(|_| wrong("a smaller number"))
        }
        (Kind::Int32 | Kind::Int64, _) => Err(wrong("a whole number")),
        (Kind::Enum(descriptor), Value::Text(text)) => {
            let prefix = upper_snake(descriptor.name());
            let full = format!("{prefix}_{}", text.to_ascii_uppercase());
            let names: Vec<String> = descriptor
                .values()
                .filter(|value| value.number() != 0)
                .map(|value| value.name().trim_start_matches(&format!("{prefix}_")).to_lowercase())
                .collect();
            match descriptor.get_value_by_name(&full).filter(|value| value.number() != 0) {
                Some(value) => Ok(Proto::EnumNumber(value.number())),
                None => Err(Problem {
                    place: node.place,
                    message: format!("`{text}` is none of {}", names.join(", ")),
                }),
            }
        }
        (Kind::Enum(_), _) => Err(wrong("a word")),
        (Kind::Message(descriptor), value) => match (descriptor.full_name(), value) {
            ("google.protobuf.Duration", Value::Text(text)) => duration(text, descriptor)
                .ok_or_else(|| wrong("a duration such as 45s, 30m, 12h or 14d")),
            ("google.protobuf.Duration", _) => Err(wrong("a duration such as 45s, 30m, 12h, 14d")),
            _ => return Some(Proto::Message(message_of(node, descriptor, None, problems))),
        },
        _ => Err(wrong("something else")),
    };
    result.map_err(|problem| problems.push(problem)).ok()
}

/// `45s`, `30m`, `12h`, `14d` as a google.protobuf.Duration.
fn duration(text: &str, descriptor: &MessageDescriptor) -> Option<Proto> {
    let (digits, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = digits.parse::<i64>().ok()?.checked_mul(seconds)?;
    let mut message = DynamicMessage::new(descriptor.clone());
    message.set_field_by_name("seconds", Proto::I64(seconds));
    Some(Proto::Message(message))
}

pub(super) fn upper_snake(camel: &str) -> String {
    let mut snake = String::new();
    for (position, letter) in camel.chars().enumerate() {
        if position > 0 && letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_uppercase());
    }
    snake
}

/// `: did you mean …?`, or the list of what there is.
pub(crate) fn suggestion(word: &str, known: &[&str]) -> String {
    let nearest = known.iter().min_by_key(|candidate| distance(word, candidate));
    let length = word.chars().count();
    // A word of which nothing is left is no likeness.
    let is_near = |found: usize| found <= 2.max(length / 3) && found < length;
    match nearest {
        Some(candidate) if is_near(distance(word, candidate)) => {
            format!(": did you mean `{candidate}`?")
        }
        _ => format!(": expected one of {}", known.join(", ")),
    }
}

/// Levenshtein distance, O(n·m); the words are short.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::yaml;

    fn pool() -> DescriptorPool {
        DescriptorPool::decode(contracts::DESCRIPTORS).expect("descriptors")
    }

    fn read_one(text: &str) -> Result<Resource, Vec<Problem>> {
        let documents = yaml::parse(text).expect("YAML");
        read(&documents[0], &pool()).map_err(|broken| broken.problems)
    }

    #[test]
    fn what_only_the_server_sets_and_a_missing_name_are_refused() {
        let problems = read_one("kind: Agent\nload: 3\n").expect_err("two mistakes");
        let told: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert!(told[0].contains("unknown field `load`"), "{told:?}");
        assert!(!told[0].contains("presence"), "{told:?}");
        assert_eq!(told[1], "`name` is missing: every Agent has one");
        assert_eq!(read_one("kind: IdentityRules\n").expect("one of its kind").name, "default");
    }

    #[test]
    fn durations_enums_and_maps_are_read() {
        let resource = read_one("kind: Trait\nname: job\ntype: string\n").expect("trait");
        let value = resource.message.get_field_by_name("type").expect("type").as_enum_number();
        assert_eq!(value, Some(1));
        let resource =
            read_one("kind: RoutingPolicy\nname: default\noffer_timeout: 2m\n").expect("policy");
        let timeout = resource.message.get_field_by_name("offer_timeout").expect("timeout");
        let seconds = timeout.as_message().expect("message").get_field_by_name("seconds");
        assert_eq!(seconds.expect("seconds").as_i64(), Some(120));
        read_one("kind: Agent\nname: li-na\nskills: {mortgage: 4}\n").expect("agent");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_all_at_once() {
        let text =
            "kind: Scorecard\nname: lead\nrulez: []\nbase_points: many\nrules:\n  - poinst: 3\n";
        let problems = read_one(text).expect_err("three mistakes");
        let lines: Vec<_> = problems.iter().map(|problem| problem.place.line).collect();
        assert_eq!(lines, [3, 4, 6]);
        assert!(problems[0].message.contains("did you mean `rules`"), "{}", problems[0].message);
        assert!(problems[2].message.contains("did you mean `points`"), "{}", problems[2].message);
        let problems = read_one("kind: Scorecrad\n").expect_err("unknown kind");
        assert!(problems[0].message.contains("did you mean `Scorecard`"));
        let problems =
            read_one("kind: Team\nname: a\nmeta: {version: 3}\n").expect_err("output only");
        assert!(problems[0].message.contains("unknown field `meta`"));
    }
}
