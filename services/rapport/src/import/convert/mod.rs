//! One cell to one value of a type. Pure: what a text means is said by the mapping, never
//! by the machine's locale. What does not convert says what was expected.

mod money;
mod number;
pub(crate) mod when;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

pub(crate) use money::{Money, currency_of};
pub(crate) use number::decimal_mark;

use super::row::Cell;

/// What a column's values become.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Text, trimmed.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Decimal,
    /// An amount; the currency unless the value says it.
    Money {
        /// Three letters.
        currency: Option<String>,
    },
    /// True or false, by these words.
    Boolean {
        /// Besides the usual words.
        yes: Vec<String>,
        /// Besides the usual words.
        no: Vec<String>,
    },
    /// An instant.
    Time(when::Reading),
    /// A day, as `2026-01-31`.
    Date(when::Reading),
}

impl Kind {
    /// As a mapping names it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Integer => "integer",
            Self::Decimal => "decimal",
            Self::Money { .. } => "money",
            Self::Boolean { .. } => "boolean",
            Self::Time(_) => "time",
            Self::Date(_) => "date",
        }
    }
}

/// A converted value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Converted {
    Text(String),
    Integer(i64),
    Decimal(f64),
    Money(Money),
    Boolean(bool),
    Time(Timestamp),
    Date(Date),
}

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum DecimalMark {
    /// `1,234.50`
    #[default]
    Point,
    /// `1.234,50`
    Comma,
}

/// Converts what a cell holds.
///
/// # Errors
/// What was expected instead.
pub(crate) fn convert(cell: &Cell, kind: &Kind, mark: DecimalMark) -> Result<Converted, String> {
    match (kind, cell) {
        (Kind::Integer | Kind::Decimal, Cell::Number(number)) => typed_number(*number, kind),
        (Kind::Boolean { .. }, Cell::Bool(value)) => Ok(Converted::Boolean(*value)),
        (Kind::Time(reading), Cell::Time(time)) => {
            when::in_zone(*time, &reading.zone).map(Converted::Time)
        }
        (Kind::Date(_), Cell::Time(time)) => Ok(Converted::Date(time.date())),
        (Kind::Time(reading), Cell::Number(number)) if reading.has_no_format() => {
            when::of_number(*number, &reading.zone).map(Converted::Time)
        }
        // Numbers of sheets and JSON have a point, however texts of the file are written.
        (Kind::Money { .. }, Cell::Number(_)) => {
            convert_text(&cell.text(), kind, DecimalMark::Point)
        }
        _ => convert_text(cell.text().trim(), kind, mark),
    }
}

/// Converts text.
///
/// # Errors
/// What was expected instead.
pub(crate) fn convert_text(
    text: &str,
    kind: &Kind,
    mark: DecimalMark,
) -> Result<Converted, String> {
    match kind {
        Kind::Text => Ok(Converted::Text(text.to_owned())),
        Kind::Integer => number::integer(text, mark).map(Converted::Integer),
        Kind::Decimal => number::decimal(text, mark).map(Converted::Decimal),
        Kind::Money { currency } => {
            money::parse(text, currency.as_deref(), mark).map(Converted::Money)
        }
        Kind::Boolean { yes, no } => boolean(text, yes, no).map(Converted::Boolean),
        Kind::Time(reading) => when::instant(text, reading).map(Converted::Time),
        Kind::Date(reading) => when::day(text, reading).map(Converted::Date),
    }
}

fn typed_number(number: f64, kind: &Kind) -> Result<Converted, String> {
    if *kind == Kind::Decimal {
        return Ok(Converted::Decimal(number));
    }
    if number.fract() != 0.0 || number.abs() >= 9.007e15 {
        return Err("must be a whole number".to_owned());
    }
    Ok(Converted::Integer(number as i64)) // within range, see above
}

const YES: [&str; 11] = ["true", "yes", "y", "t", "1", "on", "是", "有", "真", "对", "√"];
const NO: [&str; 11] = ["false", "no", "n", "f", "0", "off", "否", "无", "假", "错", "×"];

fn boolean(text: &str, yes: &[String], no: &[String]) -> Result<bool, String> {
    let is_among = |words: &[String]| words.iter().any(|word| word.trim() == text);
    // Words of the mapping come first: they may turn the usual ones round.
    if is_among(yes) {
        return Ok(true);
    }
    if is_among(no) {
        return Ok(false);
    }
    let lower = text.to_lowercase();
    if YES.contains(&lower.as_str()) {
        return Ok(true);
    }
    if NO.contains(&lower.as_str()) {
        return Ok(false);
    }
    Err("must be true or false (true, yes, 1, 是, false, no, 0, 否; more with `true:`, `false:`)"
        .to_owned())
}

/// Whether every word of a column is one of the usual words for true and false.
pub(crate) fn is_boolean(text: &str) -> bool {
    let lower = text.trim().to_lowercase();
    (YES.contains(&lower.as_str()) || NO.contains(&lower.as_str()))
        && !["1", "0", "无", "有"].contains(&lower.as_str())
}

/// Full-width letters and digits as their ASCII forms: ￥１，２３４ is ￥1,234.
pub(crate) fn half_width(text: &str) -> String {
    let half = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c) // always ASCII
        }
        '\u{3000}' | '\u{a0}' | '\u{202f}' | '\u{2009}' => ' ',
        '\u{2212}' => '-',
        c => c,
    };
    text.chars().map(half).collect()
}

/// A mapping's time zone.
///
/// # Errors
/// When there is none of that name.
pub(crate) fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        format!("unknown time zone `{name}`: such as UTC, Asia/Shanghai or Europe/Berlin")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_has_many_words() {
        for (text, expected) in [("TRUE", true), ("是", true), ("0", false), ("否", false)] {
            assert_eq!(boolean(text, &[], &[]), Ok(expected), "{text}");
        }
        let (yes, no) = (["开".to_owned()], ["1".to_owned()]);
        assert_eq!(boolean("开", &yes, &no), Ok(true));
        assert_eq!(boolean("1", &yes, &no), Ok(false));
        assert!(boolean("maybe", &[], &[]).is_err());
    }

    #[test]
    fn typed_cells_need_no_text() {
        let mark = DecimalMark::Comma;
        let integer = convert(&Cell::Number(12.0), &Kind::Integer, mark);
        assert_eq!(integer, Ok(Converted::Integer(12)));
        assert!(convert(&Cell::Number(1.5), &Kind::Integer, mark).is_err());
        let kind = Kind::Money { currency: Some("EUR".to_owned()) };
        let Ok(Converted::Money(money)) = convert(&Cell::Number(1.5), &kind, mark) else {
            unreachable!("an amount");
        };
        assert_eq!((money.units, money.nanos), (1, 500_000_000));
    }
}
