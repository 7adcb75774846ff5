//! The declared attributes that may be features, and the fields a predicate may name.

use std::collections::BTreeMap;

use aggregate::{Feature, Value, ValueType};
use predicate::{Schema, Type};

/// The declared type of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TraitKind {
    Text,
    Number,
    Bool,
    Time,
}

impl TraitKind {
    /// Reads the stored number; nothing for a deleted attribute.
    pub(crate) const fn from_number(number: i16) -> Option<Self> {
        match number {
            1 => Some(Self::Text),
            2 => Some(Self::Number),
            3 => Some(Self::Bool),
            4 => Some(Self::Time),
            _ => None,
        }
    }

    /// A value that was stored under an earlier declaration does not count.
    pub(crate) const fn admits(self, value: &Value<'_>) -> bool {
        matches!(
            (self, value),
            (Self::Text, Value::Text(_))
                | (Self::Number, Value::Number(_) | Value::Int(_))
                | (Self::Bool, Value::Bool(_))
                | (Self::Time, Value::Time(_))
        )
    }

    const fn field_type(self) -> Type {
        match self {
            Self::Text => Type::Text,
            Self::Number => Type::Number,
            Self::Bool => Type::Bool,
            Self::Time => Type::Time,
        }
    }
}

/// The measures of the events of one name, as predicates write them.
const EVENT_MEMBERS: [&str; 4] = ["total", "last_7_days", "last_30_days", "days_since_last"];

/// The attributes that are declared and not personal, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TraitSchema(BTreeMap<String, TraitKind>);

impl TraitSchema {
    pub(crate) fn new(declared: impl IntoIterator<Item = (String, TraitKind)>) -> Self {
        Self(declared.into_iter().collect())
    }

    /// The same, were these declared; those of no kind are not to be read.
    pub(crate) fn assuming(mut self, assumed: &[(String, Option<TraitKind>)]) -> Self {
        for (name, kind) in assumed {
            match kind {
                Some(kind) => self.0.insert(name.clone(), *kind),
                None => self.0.remove(name),
            };
        }
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<TraitKind> {
        self.0.get(name).copied()
    }

    /// Every feature as a field.
    pub(crate) fn fields(&self) -> Schema {
        let members = EVENT_MEMBERS.map(|member| (member, Type::Number));
        let mut schema = Schema::new().with_records("events", members);
        for feature in Feature::plain() {
            let kind = match feature.value_type() {
                ValueType::Text => Type::Text,
                ValueType::Int | ValueType::Number | ValueType::Declared => Type::Number,
            };
            schema.declare(feature.to_string(), kind);
        }
        for (name, kind) in &self.0 {
            schema.declare(format!("traits.{name}"), kind.field_type());
        }
        schema
    }
}
