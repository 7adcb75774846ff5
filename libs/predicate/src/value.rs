//! Values, the fields they are read from, and where a caller gives them.

use std::fmt;

use crate::schema::Type;

/// A value of a field, borrowed from whoever holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// True or false.
    Bool(bool),
    /// The only kind of number; money in minor units is exact to 2⁵³.
    Number(f64),
    /// A string, compared by code point.
    Text(&'a str),
    /// Microseconds since 1970 UTC.
    Time(i64),
    /// A list of strings.
    TextList(&'a [String]),
}

impl Value<'_> {
    pub(crate) const fn kind(&self) -> Type {
        match self {
            Self::Bool(_) => Type::Bool,
            Self::Number(_) => Type::Number,
            Self::Text(_) => Type::Text,
            Self::Time(_) => Type::Time,
            Self::TextList(_) => Type::TextList,
        }
    }
}

/// One declared field as an expression names it: `traits.age` is a path alone;
/// `events["Order Completed"].total` is the path `events` with a key and a member.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field {
    /// The dotted path that the schema declares.
    pub path: String,
    /// The key, if the path is a map.
    pub key: Option<String>,
    /// The member of the entry, if the entries of the map are records.
    pub member: Option<String>,
    /// The declared type of the value.
    pub kind: Type,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let Some(key) = &self.key {
            write!(f, "[{key:?}]")?;
        }
        match &self.member {
            Some(member) => write!(f, ".{member}"),
            None => Ok(()),
        }
    }
}

/// Where an evaluation finds the values of fields.
pub trait Lookup {
    /// The value, or `None` if it is absent. Must be of the declared type (`field.kind`).
    fn get(&self, field: &Field) -> Option<Value<'_>>;
}

/// Why an evaluation has no answer. Each is a fault of the caller's [`Lookup`] or of the
/// arithmetic in the expression, never of an absent field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The lookup gave a value of another type than the schema declares.
    #[error("{field} is declared as {} but the value is {found}", field.kind)]
    WrongType {
        /// The field that was read.
        field: Box<Field>,
        /// The type of the value.
        found: Type,
    },
    /// A list is longer than an evaluation may walk.
    #[error("{field} has {length} elements, more than {limit}")]
    ListTooLong {
        /// The field that was read.
        field: Box<Field>,
        /// Its number of elements.
        length: usize,
        /// The most that is walked.
        limit: usize,
    },
    /// A numeric expression came to infinity or to no number, e.g. by dividing by zero.
    #[error("the expression does not come to a finite number")]
    NotFinite,
}
