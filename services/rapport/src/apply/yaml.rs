//! YAML as a tree that remembers where each node stands, so that whatever is found wrong
//! later, here or by a server, can be said with file, line and column.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A place in a file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

/// A node and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Number(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// The key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Where it stands.
    pub place: Place,
    /// Its text.
    pub text: String,
}

impl Value {
    /// What it is, for messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Integer(_) => "a whole number",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// The entry of a mapping.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
    }

    /// Where the field of a violation stands: follows `rules[2].when` as far as the tree goes.
    #[must_use]
    pub fn place_of(&self, path: &str) -> Place {
        let mut node = self;
        for step in steps(path) {
            let Some(next) = node.below(step) else { break };
            node = next;
        }
        node.place
    }

    /// The node of a field, if it is there.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Node> {
        steps(path).try_fold(self, |node, step| node.below(step))
    }

    fn below(&self, step: &str) -> Option<&Node> {
        match (&self.value, step.parse::<usize>()) {
            (Value::List(items), Ok(index)) => items.get(index),
            _ => self.get(step.trim_matches('"')),
        }
    }
}

fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[']).map(|step| step.trim_end_matches(']'))
}

/// The documents of a file.
///
/// # Errors
/// What the YAML parser says, with its line.
pub fn parse(text: &str) -> Result<Vec<Node>, serde_saphyr::Error> {
    // YAML 1.2: `learning: on` is a word; only true and false are truth.
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Spanned<Raw>> = serde_saphyr::from_multiple_with_options(text, options)?;
    Ok(documents.into_iter().map(Node::from).collect())
}

impl From<Spanned<Raw>> for Node {
    fn from(spanned: Spanned<Raw>) -> Self {
        let location = spanned.referenced;
        Self {
            place: Place { line: location.line(), column: location.column() },
            value: spanned.value.0,
        }
    }
}

/// A value on its way from serde, before its place is known.
struct Raw(Value);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor).map(Raw)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Integer).map_err(|_| E::custom("the number is too large"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element::<Spanned<Raw>>()? {
            items.push(Node::from(item));
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Raw>>()? {
            let place = Place { line: key.referenced.line(), column: key.referenced.column() };
            entries.push((Key { place, text: key.value }, Node::from(value)));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "\
kind: Scorecard
name: lead
rules:
  - name: student
    when: traits.job == \"student\"
    points: 20
  - {name: rich, points: 1.5}
---
kind: Team
name: sales
";

    #[test]
    fn documents_know_where_their_parts_stand() {
        let documents = parse(CARD).expect("valid");
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].place_of("rules[0].when").line, 5);
        assert_eq!(documents[0].place_of("rules[1].points").line, 7);
        assert_eq!(documents[1].place_of("name").line, 10);
        assert_eq!(documents[0].place_of("rules[0].absent").line, 4, "the nearest that is there");
        assert_eq!(documents[0].at("rules[0].absent"), None);
    }

    #[test]
    fn only_true_and_false_are_truth() {
        let documents = parse("learning: on\npersonal: true\n").expect("valid");
        let value = |key: &str| documents[0].get(key).map(|node| node.value.clone());
        assert_eq!(value("learning"), Some(Value::Text("on".to_owned())));
        assert_eq!(value("personal"), Some(Value::Bool(true)));
    }

    #[test]
    fn broken_yaml_is_an_error_with_a_line() {
        let error = parse("kind: Team\nname: [a\n").expect_err("unclosed");
        assert!(error.location().is_some_and(|location| location.line() >= 2));
    }
}
