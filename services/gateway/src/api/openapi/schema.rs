//! Messages and enums as JSON schemas, as canonical protobuf JSON writes them.

use std::collections::{BTreeMap, HashMap};

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::comments::Comments;

/// All that were asked for, and what they are made of.
#[derive(Default)]
pub(crate) struct Schemas {
    /// By full name. Null while it is being made: messages may contain themselves.
    made: BTreeMap<String, Value>,
    comments: HashMap<String, Comments>,
}

impl Schemas {
    /// A reference to the schema of a message.
    pub(crate) fn message(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(well_known) = well_known(message.full_name()) {
            return well_known;
        }
        let name = message.full_name().to_owned();
        if !self.made.contains_key(&name) {
            self.made.insert(name.clone(), Value::Null);
            let made = self.make_message(message);
            self.made.insert(name.clone(), made);
        }
        reference(&name)
    }

    pub(crate) fn finish(self) -> Map<String, Value> {
        self.made.into_iter().collect()
    }

    fn comment(&mut self, file: &FileDescriptor, path: &[i32]) -> String {
        let comments = self.comments.entry(file.name().to_owned());
        comments.or_insert_with(|| Comments::of(file)).at(path)
    }

    fn make_message(&mut self, message: &MessageDescriptor) -> Value {
        let file = message.parent_file();
        let mut properties = Map::new();
        for field in message.fields() {
            let mut description = self.comment(&file, field.path());
            if let Some(others) = alternatives(&field) {
                description = format!("{description} At most one of {others}.");
            }
            let mut schema = self.field(&field);
            if let Some(schema) = schema.as_object_mut().filter(|_| !description.is_empty()) {
                schema.insert("description".to_owned(), description.trim().into());
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let description = self.comment(&file, message.path());
        json!({"type": "object", "description": description, "properties": properties})
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        if let Kind::Message(entry) = field.kind()
            && field.is_map()
        {
            let values = self.kind(&entry.map_entry_value_field().kind());
            return json!({"type": "object", "additionalProperties": values});
        }
        let one = self.kind(&field.kind());
        if field.is_list() { json!({"type": "array", "items": one}) } else { one }
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Message(message) => self.message(message),
            Kind::Enum(values) => self.values(values),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Float | Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({"type": "integer", "format": "int32"})
            }
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "minimum": 0}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({"type": "string", "format": "int64"})
            }
            Kind::Uint64 | Kind::Fixed64 => json!({"type": "string", "format": "uint64"}),
        }
    }

    fn values(&mut self, values: &EnumDescriptor) -> Value {
        let name = values.full_name().to_owned();
        if !self.made.contains_key(&name) {
            let file = values.parent_file();
            let mut description = self.comment(&file, values.path());
            for value in values.values() {
                let meaning = self.comment(&file, value.path());
                description.push_str(&format!("\n- `{}`: {meaning}", value.name()));
            }
            let names: Vec<String> = values.values().map(|value| value.name().to_owned()).collect();
            let made = json!({"type": "string", "description": description, "enum": names});
            self.made.insert(name.clone(), made);
        }
        reference(&name)
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The members of the choice that a field belongs to.
fn alternatives(field: &FieldDescriptor) -> Option<String> {
    let choice = field.containing_oneof().filter(|choice| !choice.is_synthetic())?;
    let names: Vec<String> =
        choice.fields().map(|field| format!("`{}`", field.json_name())).collect();
    Some(names.join(", "))
}

/// Types with a JSON form of their own.
fn well_known(name: &str) -> Option<Value> {
    Some(match name.strip_prefix("google.protobuf.")? {
        "Timestamp" => json!({"type": "string", "format": "date-time"}),
        "Duration" => json!({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"}),
        "FieldMask" => json!({"type": "string"}),
        "Struct" | "Any" | "Empty" => json!({"type": "object"}),
        "ListValue" => json!({"type": "array", "items": {}}),
        "Value" => json!({"description": "any JSON value"}),
        "BoolValue" => json!({"type": ["boolean", "null"]}),
        "StringValue" | "BytesValue" | "Int64Value" | "UInt64Value" => {
            json!({"type": ["string", "null"]})
        }
        "DoubleValue" | "FloatValue" => json!({"type": ["number", "null"]}),
        "Int32Value" | "UInt32Value" => json!({"type": ["integer", "null"]}),
        _ => return None,
    })
}

/// A stream of server-sent events, each with one of these as `data`.
pub(crate) fn event(data: &Value) -> Value {
    json!({
        "type": "string",
        "description": "Server-sent events. `data` is the answer as JSON, `id` the position after \
            it: send it as `Last-Event-ID` to go on from there. Comments are heartbeats and have \
            an `id` too. `event: error` with an `Error` as data is the last one.",
        "contentMediaType": "application/json",
        "contentSchema": data,
    })
}
