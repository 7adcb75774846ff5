//! Which fields exist, and of which type.

use std::collections::BTreeMap;
use std::fmt;

use crate::value::Field;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// True or false.
    Bool,
    /// A number (`f64`).
    Number,
    /// A string.
    Text,
    /// An instant.
    Time,
    /// A list of strings.
    TextList,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::Time => "a time",
            Self::TextList => "a list of strings",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Declared {
    Value(Type),
    MapOfValues(Type),
    MapOfRecords(BTreeMap<String, Type>),
}

/// The declared fields that a predicate may name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    declared: BTreeMap<String, Declared>,
}

/// Why a path names no field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unknown {
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
}

impl Schema {
    /// Nothing declared.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a value at a dotted path, e.g. `traits.age`. The last declaration of a
    /// path holds.
    #[must_use]
    pub fn with(mut self, path: impl Into<String>, kind: Type) -> Self {
        self.declare(path, kind);
        self
    }

    /// Declares a map with free keys and one type of value, e.g.
    /// `demand.attributes["channel"]`.
    #[must_use]
    pub fn with_map(mut self, path: impl Into<String>, kind: Type) -> Self {
        self.declared.insert(path.into(), Declared::MapOfValues(kind));
        self
    }

    /// Declares a map with free keys whose entries are records, e.g.
    /// `events["Order Completed"].total`.
    #[must_use]
    pub fn with_records<'a>(
        mut self,
        path: impl Into<String>,
        members: impl IntoIterator<Item = (&'a str, Type)>,
    ) -> Self {
        let members = members.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
        self.declared.insert(path.into(), Declared::MapOfRecords(members));
        self
    }

    /// As [`Schema::with`], in place: for fields that are known at run time only.
    pub fn declare(&mut self, path: impl Into<String>, kind: Type) {
        self.declared.insert(path.into(), Declared::Value(kind));
    }

    /// The field that the segments of a path name: O(length · log(declared)). The longest
    /// declared path wins, so that `events.total` may stand beside the map `events`.
    pub(crate) fn resolve(&self, segments: &[String]) -> Result<Field, Unknown> {
        for end in (1..=segments.len()).rev() {
            let path = segments[..end].join(".");
            let Some(declared) = self.declared.get(&path) else { continue };
            let rest = &segments[end..];
            match (declared, rest) {
                (Declared::Value(kind), []) => {
                    return Ok(Field { path, key: None, member: None, kind: *kind });
                }
                (Declared::MapOfValues(kind), [key]) => {
                    return Ok(Field { path, key: Some(key.clone()), member: None, kind: *kind });
                }
                (Declared::MapOfRecords(members), [key, member]) => {
                    return record_member(path, key, member, members);
                }
                (Declared::MapOfValues(_) | Declared::MapOfRecords(_), _) => {
                    return Err(Unknown {
                        message: format!("`{path}` is a map: {}", usage(&path, declared)),
                        suggestion: None,
                    });
                }
                // Nothing is below a value; a shorter path may be a map.
                (Declared::Value(_), _) => {}
            }
        }
        let path = segments.join(".");
        let names = self.declared.keys().map(String::as_str);
        Err(Unknown {
            suggestion: nearest(&path, names),
            message: format!("unknown field `{path}`"),
        })
    }
}

fn record_member(
    path: String,
    key: &str,
    member: &str,
    members: &BTreeMap<String, Type>,
) -> Result<Field, Unknown> {
    match members.get(member) {
        Some(kind) => Ok(Field {
            path,
            key: Some(key.to_owned()),
            member: Some(member.to_owned()),
            kind: *kind,
        }),
        None => Err(Unknown {
            message: format!("unknown member `{member}` of `{path}`"),
            suggestion: nearest(member, members.keys().map(String::as_str)),
        }),
    }
}

fn usage(path: &str, declared: &Declared) -> String {
    match declared {
        Declared::MapOfRecords(members) => {
            let names: Vec<_> = members.keys().map(String::as_str).collect();
            format!("write {path}[\"key\"].member with one of {}", names.join(", "))
        }
        Declared::MapOfValues(_) | Declared::Value(_) => format!("write {path}[\"key\"]"),
    }
}

/// The nearest of `names` by edit distance, if near enough to be a slip of the pen.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let tolerated = (word.chars().count() / 4).clamp(1, 4);
    names
        .into_iter()
        .map(|name| (distance(word, name), name))
        .filter(|(distance, _)| *distance <= tolerated)
        .min()
        .map(|(_, name)| name.to_owned())
}

/// Edit distance with swaps of neighbours (optimal string alignment): O(n · m).
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for i in 1..=left.len() {
        let mut row = vec![i; right.len() + 1];
        for j in 1..=right.len() {
            let changed = usize::from(left[i - 1] != right[j - 1]);
            row[j] = (above[j] + 1).min(row[j - 1] + 1).min(above[j - 1] + changed);
            let swapped =
                i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
            if swapped {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_be_declared_beside_the_entries_of_a_map() {
        let schema = Schema::new()
            .with_records("events", [("total", Type::Number)])
            .with("events.total", Type::Number);
        let field = |path: &[&str]| {
            let segments: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
            schema.resolve(&segments).map(|field| field.to_string())
        };
        assert_eq!(field(&["events", "total"]), Ok("events.total".to_owned()));
        assert_eq!(field(&["events", "Order", "total"]), Ok("events[\"Order\"].total".to_owned()));
        assert_eq!(field(&["events", "total", "total"]), Ok("events[\"total\"].total".to_owned()));
    }

    #[test]
    fn a_slip_of_the_pen_is_near_and_another_word_is_not() {
        assert_eq!(distance("traits.agee", "traits.age"), 1);
        assert_eq!(distance("traits.cuontry", "traits.country"), 1);
        let names = ["traits.age", "traits.country"];
        assert_eq!(nearest("trait.country", names).as_deref(), Some("traits.country"));
        assert_eq!(nearest("orders.total", names), None);
    }
}
