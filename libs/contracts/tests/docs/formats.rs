//! The second half of `docs/apply.md`: the format of every kind of resource, as the protos
//! describe it.

use std::fmt::Write as _;

use prost_reflect::{DescriptorPool, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};

use super::{cell, compare, root, words};

/// What is written by hand ends here.
const MARK: &str = "<!-- From here on generated from proto/; `make gen` writes it anew. -->\n";

/// As files name the kinds, in the order in which they are applied, and their messages. A test
/// of `services/rapport` holds the list against what `rapport apply` reads.
const KINDS: [(&str, &str); 7] = [
    ("IdentityRules", "rapport.identity.v1.IdentityRules"),
    ("Trait", "rapport.profile.v1.TraitDefinition"),
    ("Scorecard", "rapport.scoring.v1.Scorecard"),
    ("ModelPolicy", "rapport.scoring.v1.ModelPolicy"),
    ("Team", "rapport.routing.v1.Team"),
    ("Agent", "rapport.routing.v1.Agent"),
    ("RoutingPolicy", "rapport.routing.v1.RoutingPolicy"),
];

#[test]
fn the_formats_of_resources_are_what_the_protos_say() {
    let on_disk = std::fs::read_to_string(root().join("docs/apply.md")).expect("docs/apply.md");
    let (by_hand, _) = on_disk.split_once(MARK).expect("the mark in docs/apply.md");
    let pool = DescriptorPool::decode(contracts::DESCRIPTORS).expect("descriptors");
    let mut text = format!("{by_hand}{MARK}\n## The kinds\n");
    for (kind, message) in KINDS {
        let message = pool.get_message_by_name(message).expect("a message");
        writeln!(text, "\n### {kind}").expect("text");
        describe(&mut text, &message, &mut Vec::new());
    }
    compare("docs/apply.md", &text);
}

/// A message, and below it those that stand in its fields.
fn describe(text: &mut String, message: &MessageDescriptor, known: &mut Vec<String>) {
    known.push(message.full_name().to_owned());
    writeln!(text, "\n{}", comment(&message.parent_file(), message.path())).expect("text");
    text.push_str("\n| field | what stands there | meaning |\n|---|---|---|\n");
    let mut inner = Vec::new();
    for field in message.fields() {
        let meaning = comment(&field.parent_message().parent_file(), field.path());
        if meaning.starts_with("Output only.") {
            continue;
        }
        let shape = shape(&field);
        writeln!(text, "| `{}` | {} | {} |", field.name(), cell(&shape), cell(&meaning))
            .expect("text");
        if let Kind::Message(message) = field.kind()
            && !field.is_map()
            && !is_scalar(&message)
            && !known.contains(&message.full_name().to_owned())
        {
            inner.push(message);
        }
    }
    for message in inner {
        writeln!(text, "\n#### `{}`", message.name()).expect("text");
        describe(text, &message, known);
    }
}

fn shape(field: &FieldDescriptor) -> String {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        return format!("a mapping from text to {}", one(&entry.map_entry_value_field().kind()));
    }
    let one = one(&field.kind());
    if field.is_list() { format!("a list of {one}") } else { one }
}

fn one(kind: &Kind) -> String {
    match kind {
        Kind::String => "text".to_owned(),
        Kind::Bool => "`true` or `false`".to_owned(),
        Kind::Double => "number".to_owned(),
        Kind::Int32 | Kind::Int64 => "whole number".to_owned(),
        Kind::Message(message) if is_scalar(message) => "duration, e.g. `12h`".to_owned(),
        Kind::Message(message) => format!("`{}`", message.name()),
        Kind::Enum(descriptor) => {
            let name = |value: prost_reflect::EnumValueDescriptor| value.name().to_lowercase();
            let zero = descriptor.default_value().name().to_lowercase();
            let prefix = zero.strip_suffix("unspecified").expect("a first value of the style");
            let values = descriptor.values().skip(1).map(name);
            let short = values.map(|name| {
                let short = name.strip_prefix(prefix).expect("the prefix");
                format!("`{short}`")
            });
            short.collect::<Vec<_>>().join(", ")
        }
        other => panic!("say in docs/formats.rs how {other:?} is written"),
    }
}

fn is_scalar(message: &MessageDescriptor) -> bool {
    message.full_name() == "google.protobuf.Duration"
}

fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref().expect("source info");
    let place = info.location.iter().find(|place| place.path == path);
    let comment = place.and_then(|place| place.leading_comments.clone()).unwrap_or_default();
    words(&comment)
}
