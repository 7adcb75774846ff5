//! A YAML document as the protobuf message of its kind: checked against the descriptor, so
//! that a misspelt key is found here, with its line, and not silently ignored.

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage, Value as Proto,
};

use super::yaml::{Node, Place, Value};

/// Something wrong at a place of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, and what is expected.
    pub message: String,
}

/// A kind of resource and the RPC that saves it.
#[derive(Debug)]
pub struct ResourceKind {
    /// As written in the file.
    pub kind: &'static str,
    /// The service it belongs to.
    pub service: &'static str,
    /// The full name of its message.
    pub message: &'static str,
    /// The name of the RPC that saves it.
    pub method: &'static str,
    /// The request field that carries it.
    pub field: &'static str,
}

/// All kinds, in the order in which they are applied: what others refer to comes first.
pub const KINDS: &[ResourceKind] = &[
    ResourceKind {
        kind: "IdentityRules",
        service: "rapport.identity.v1.IdentityService",
        message: "rapport.identity.v1.IdentityRules",
        method: "UpsertIdentityRules",
        field: "rules",
    },
    ResourceKind {
        kind: "Trait",
        service: "rapport.profile.v1.ProfileService",
        message: "rapport.profile.v1.TraitDefinition",
        method: "UpsertTrait",
        field: "trait",
    },
    ResourceKind {
        kind: "Scorecard",
        service: "rapport.scoring.v1.ScoringService",
        message: "rapport.scoring.v1.Scorecard",
        method: "UpsertScorecard",
        field: "scorecard",
    },
    ResourceKind {
        kind: "ModelPolicy",
        service: "rapport.scoring.v1.ScoringService",
        message: "rapport.scoring.v1.ModelPolicy",
        method: "UpsertModelPolicy",
        field: "policy",
    },
    ResourceKind {
        kind: "Team",
        service: "rapport.routing.v1.RoutingService",
        message: "rapport.routing.v1.Team",
        method: "UpsertTeam",
        field: "team",
    },
    ResourceKind {
        kind: "Agent",
        service: "rapport.routing.v1.RoutingService",
        message: "rapport.routing.v1.Agent",
        method: "UpsertAgent",
        field: "agent",
    },
    ResourceKind {
        kind: "RoutingPolicy",
        service: "rapport.routing.v1.RoutingService",
        message: "rapport.routing.v1.RoutingPolicy",
        method: "UpsertPolicy",
        field: "policy",
    },
];

/// A resource ready to be sent.
#[derive(Debug)]
pub struct Resource {
    /// Which kind.
    pub kind: &'static ResourceKind,
    /// Its name, for messages.
    pub name: String,
    /// The content.
    pub message: DynamicMessage,
    /// The document it came from.
    pub node: Node,
}

/// Reads one document.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(node: &Node, pool: &DescriptorPool) -> Result<Resource, Vec<Problem>> {
    let one = |place, message: String| vec![Problem { place, message }];
    let kinds = || KINDS.iter().map(|kind| kind.kind).collect::<Vec<_>>();
    let Some(kind_node) = node.get("kind") else {
        let expected = kinds().join(", ");
        return Err(one(node.place, format!("`kind` is missing: one of {expected}")));
    };
    let Value::Text(kind_name) = &kind_node.value else {
        return Err(one(kind_node.place, "`kind` must be text".to_owned()));
    };
    let Some(kind) = KINDS.iter().find(|kind| kind.kind == kind_name) else {
        let hint = suggestion(kind_name, &kinds());
        return Err(one(kind_node.place, format!("unknown kind `{kind_name}`{hint}")));
    };
    let Some(descriptor) = pool.get_message_by_name(kind.message) else {
        return Err(one(kind_node.place, format!("{} is not in the contracts", kind.message)));
    };

    let mut problems = Vec::new();
    let message = message_of(node, &descriptor, &["kind"], &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let name = match node.get("name").map(|name| &name.value) {
        Some(Value::Text(name)) => name.clone(),
        _ => String::new(),
    };
    Ok(Resource { kind, name, message, node: node.clone() })
}

fn message_of(
    node: &Node,
    descriptor: &MessageDescriptor,
    besides: &[&str],
    problems: &mut Vec<Problem>,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    let Value::Map(entries) = &node.value else {
        let expected = format!("expected a mapping, found {}", node.value.kind());
        problems.push(Problem { place: node.place, message: expected });
        return message;
    };
    for (key, value) in entries {
        if besides.contains(&key.text.as_str()) {
            continue;
        }
        let Some(field) = settable_field(descriptor, &key.text) else {
            let names: Vec<_> = descriptor.fields().map(|field| field.name().to_owned()).collect();
            let names: Vec<_> =
                names.iter().map(String::as_str).filter(|name| *name != "meta").collect();
            let hint = suggestion(&key.text, &names);
            let text = format!("unknown field `{}`{hint}", key.text);
            problems.push(Problem { place: key.place, message: text });
            continue;
        };
        if value.value == Value::Null {
            continue;
        }
        if let Some(proto) = field_value(value, &field, problems) {
            message.set_field(&field, proto);
        }
    }
    message
}

/// `meta` is what the server says about a resource; a file cannot set it.
fn settable_field(descriptor: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    descriptor.get_field_by_name(name).filter(|field| field.name() != "meta")
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
                .map(|value| value.name().trim_start_matches(&format!("{prefix}_")).to_owned())
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
            _ => return Some(Proto::Message(message_of(node, descriptor, &[], problems))),
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

fn upper_snake(camel: &str) -> String {
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

impl Resource {
    /// The request that saves it.
    ///
    /// # Errors
    /// When the contracts and [`KINDS`] disagree, which a test excludes.
    pub fn request(
        &self,
        pool: &DescriptorPool,
        validate_only: bool,
    ) -> anyhow::Result<DynamicMessage> {
        let method = self.method(pool)?;
        let mut request = DynamicMessage::new(method.input());
        request
            .try_set_field_by_name(self.kind.field, Proto::Message(self.message.clone()))
            .map_err(|error| anyhow::anyhow!("{}: {error}", self.kind.kind))?;
        request
            .try_set_field_by_name("validate_only", Proto::Bool(validate_only))
            .map_err(|error| anyhow::anyhow!("{}: {error}", self.kind.kind))?;
        Ok(request)
    }

    /// The RPC that saves it.
    ///
    /// # Errors
    /// As for [`Resource::request`].
    pub fn method(&self, pool: &DescriptorPool) -> anyhow::Result<prost_reflect::MethodDescriptor> {
        pool.get_service_by_name(self.kind.service)
            .and_then(|service| service.methods().find(|method| method.name() == self.kind.method))
            .ok_or_else(|| anyhow::anyhow!("{} has no RPC", self.kind.kind))
    }

    /// The version that a response names (`<field>.meta.version`), if it does.
    #[must_use]
    pub fn version_in(&self, response: &DynamicMessage) -> Option<i64> {
        let field = response.descriptor().fields().next()?;
        let resource = response.get_field(&field);
        let meta = resource.as_message()?.get_field_by_name("meta")?.into_owned();
        meta.as_message()?.get_field_by_name("version")?.as_i64()
    }
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
        read(&documents[0], &pool())
    }

    #[test]
    fn every_kind_has_its_rpc_and_field() {
        let pool = pool();
        for kind in KINDS {
            let resource =
                read_one(&format!("kind: {}\n", kind.kind)).expect("empty is well formed");
            resource.request(&pool, true).expect(kind.kind);
        }
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
        let problems = read_one("kind: Team\nmeta: {version: 3}\n").expect_err("output only");
        assert!(problems[0].message.contains("unknown field `meta`"));
    }
}
