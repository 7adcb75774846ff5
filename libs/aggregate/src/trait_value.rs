//! The value of an attribute: bounded, finite, totally ordered.

use std::cmp::Ordering;

use crate::feature::Value;
use crate::limit;

/// Why something is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTraitValue {
    /// See [`limit::TEXT_BYTES`].
    #[error("text must be at most 1,024 bytes")]
    TooLong,
    /// Not a number, or infinite.
    #[error("number must be finite")]
    NotFinite,
}

/// Text of at most 1,024 bytes, a finite number, true or false, or an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct TraitValue(Kind);

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Text(Box<str>),
    Number(f64),
    Bool(bool),
    Time(i64),
}

impl TraitValue {
    /// Text.
    ///
    /// # Errors
    /// [`InvalidTraitValue::TooLong`].
    pub fn text(text: impl Into<Box<str>>) -> Result<Self, InvalidTraitValue> {
        let text = text.into();
        if text.len() > limit::TEXT_BYTES {
            return Err(InvalidTraitValue::TooLong);
        }
        Ok(Self(Kind::Text(text)))
    }

    /// A number. Negative zero becomes zero, so that equal numbers are equal bytes.
    ///
    /// # Errors
    /// [`InvalidTraitValue::NotFinite`].
    pub fn number(number: f64) -> Result<Self, InvalidTraitValue> {
        if !number.is_finite() {
            return Err(InvalidTraitValue::NotFinite);
        }
        Ok(Self(Kind::Number(number + 0.0)))
    }

    /// True or false.
    #[must_use]
    pub const fn bool(value: bool) -> Self {
        Self(Kind::Bool(value))
    }

    /// An instant, in microseconds since 1970.
    #[must_use]
    pub const fn time(us: i64) -> Self {
        Self(Kind::Time(us))
    }

    /// To read it.
    #[must_use]
    pub fn get(&self) -> Value<'_> {
        match &self.0 {
            Kind::Text(text) => Value::Text(text),
            Kind::Number(number) => Value::Number(*number),
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Time(us) => Value::Time(*us),
        }
    }

    /// Any order will do, as long as it is total and frozen: it decides between two values
    /// that one event gives for one name.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Kind::Text(a), Kind::Text(b)) => a.cmp(b),
            (Kind::Number(a), Kind::Number(b)) => a.total_cmp(b),
            (Kind::Bool(a), Kind::Bool(b)) => a.cmp(b),
            (Kind::Time(a), Kind::Time(b)) => a.cmp(b),
            _ => self.variant().cmp(&other.variant()),
        }
    }

    const fn variant(&self) -> u8 {
        match self.0 {
            Kind::Text(_) => 0,
            Kind::Number(_) => 1,
            Kind::Bool(_) => 2,
            Kind::Time(_) => 3,
        }
    }
}
