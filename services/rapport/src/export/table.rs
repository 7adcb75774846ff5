//! What every format writes: rows of plain cells under typed columns.

use std::fmt::Write as _;

use contracts::google::r#type::Money;
use jiff::Timestamp;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anybody's words: they may begin like a formula.
    Text,
    /// An integer.
    Whole,
    /// A number with a point.
    Number,
    /// True or false.
    Flag,
    /// An instant.
    Time,
    /// An amount, exact, with nine decimal places.
    Amount,
}

/// A column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

impl Column {
    pub(crate) fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), kind }
    }
}

/// A value of the kind of its column, or nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Empty,
    Text(String),
    Whole(i64),
    Number(f64),
    Flag(bool),
    /// Microseconds since 1970.
    Time(i64),
    /// Thousand-millionths.
    Amount(i128),
}

/// What is in one row, in the order of the columns.
pub(crate) type Row = Vec<Cell>;

impl Cell {
    /// Nothing for an empty text: the contracts say absent so.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        if text.is_empty() { Self::Empty } else { Self::Text(text) }
    }

    pub(crate) fn time(time: Option<&prost_types::Timestamp>) -> Self {
        let micros = |time: &prost_types::Timestamp| {
            time.seconds.checked_mul(1_000_000)?.checked_add(i64::from(time.nanos) / 1_000)
        };
        time.and_then(micros).map_or(Self::Empty, Self::Time)
    }

    pub(crate) fn amount(money: Option<&Money>) -> Self {
        let nanos =
            |money: &Money| i128::from(money.units) * i128::from(NANOS) + i128::from(money.nanos);
        money.map_or(Self::Empty, |money| Self::Amount(nanos(money)))
    }

    pub(crate) fn number(number: Option<f64>) -> Self {
        number.map_or(Self::Empty, Self::Number)
    }

    /// For formats of text: RFC 3339 in UTC, amounts with a point, nothing for nothing.
    pub(crate) fn written(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Text(text) => text.clone(),
            Self::Whole(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::Time(us) => match Timestamp::from_microsecond(*us) {
                Ok(time) => time.to_string(),
                Err(_) => String::new(),
            },
            Self::Amount(nanos) => amount(*nanos),
        }
    }
}

/// In a unit.
pub(crate) const NANOS: i64 = 1_000_000_000;

/// With at least two decimal places, and no zeros behind those.
fn amount(nanos: i128) -> String {
    let (units, rest) = (
        nanos.unsigned_abs() / NANOS.unsigned_abs() as u128,
        nanos.unsigned_abs() % NANOS.unsigned_abs() as u128,
    );
    let mut text = String::new();
    let sign = if nanos < 0 { "-" } else { "" };
    // Writing to a String cannot fail.
    let _ = write!(text, "{sign}{units}.{rest:09}");
    while text.ends_with('0') && !text[..text.len() - 1].ends_with('.') && decimals(&text) > 2 {
        text.pop();
    }
    text
}

fn decimals(text: &str) -> usize {
    text.rsplit_once('.').map_or(0, |(_, decimals)| decimals.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_have_two_places_at_least() {
        let written = [0, 1_500_000_000, -1, -250_250_000_000, 12_345_678_000].map(amount);
        assert_eq!(written, ["0.00", "1.50", "-0.000000001", "-250.25", "12.345678"]);
    }
}
