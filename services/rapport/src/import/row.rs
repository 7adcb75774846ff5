//! A row as a file gives it, and a row that is not taken. Pure.

use jiff::civil;

/// What one cell of a file holds. Text files know text only; Excel and JSON know more.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// Nothing.
    Empty,
    /// Text, as it was.
    Text(String),
    /// A number.
    Number(f64),
    /// A truth value.
    Bool(bool),
    /// A date and time on the wall, without zone.
    Time(civil::DateTime),
    /// A cell that cannot be read, and why: a formula without value, `#N/A`, bad bytes.
    Unreadable {
        /// As far as it can be shown.
        shown: String,
        /// Why it is none.
        reason: String,
    },
}

impl Cell {
    /// The cell as text, for keys, reports and conversions from text. Whole numbers carry no
    /// decimal point: a phone number that Excel keeps as a number stays one.
    pub(crate) fn text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Empty => "".into(),
            Self::Text(text) => text.as_str().into(),
            Self::Number(number) => number_text(*number).into(),
            Self::Bool(value) => if *value { "true" } else { "false" }.into(),
            Self::Time(time) if time.time() == civil::Time::midnight() => {
                time.date().to_string().into()
            }
            Self::Time(time) => time.to_string().into(),
            Self::Unreadable { shown, .. } => shown.as_str().into(),
        }
    }

    /// Whether nothing stands in it, or only blanks.
    pub(crate) fn is_blank(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Text(text) => text.trim().is_empty(),
            _ => false,
        }
    }
}

fn number_text(number: f64) -> String {
    // Up to here every whole number is one of floating point too.
    if number.fract() == 0.0 && number.abs() < 9.007e15 {
        return format!("{number:.0}");
    }
    number.to_string()
}

/// What a reader hands on: a row, or why there is none.
#[derive(Debug)]
pub(crate) struct Item {
    /// The physical line where it begins, from 1; of Excel the row of the sheet.
    pub(crate) line: u64,
    /// How many bytes of the file are read (of Excel: rows of the sheet).
    pub(crate) position: u64,
    /// The cells, as many as the header has.
    pub(crate) cells: Result<Vec<Cell>, Fault>,
    /// The row as it stands in the file, for the rejects.
    pub(crate) raw: String,
}

/// Why a row, or one column of it, is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The column; empty if it is about the row.
    pub(crate) column: String,
    /// The value as it was.
    pub(crate) value: String,
    /// What is wrong and what is expected.
    pub(crate) reason: String,
}

impl Fault {
    /// About the row as a whole.
    pub(crate) fn of_row(reason: impl Into<String>) -> Self {
        Self { column: String::new(), value: String::new(), reason: reason.into() }
    }
}

/// The names of columns as a mapping uses them: trimmed, `column 3` if there is none, and
/// `name (1)`, `name (2)` for those that stand twice.
pub(crate) fn column_names(raw: impl IntoIterator<Item = String>) -> Vec<String> {
    let trimmed: Vec<String> = raw
        .into_iter()
        .enumerate()
        .map(|(at, name)| {
            let name = name.trim().trim_matches('\u{feff}').trim();
            if name.is_empty() { format!("column {}", at + 1) } else { name.to_owned() }
        })
        .collect();
    let mut total = std::collections::HashMap::new();
    for name in &trimmed {
        *total.entry(name.clone()).or_insert(0_usize) += 1;
    }
    let mut seen = std::collections::HashMap::new();
    let numbered = trimmed.into_iter().map(|name| {
        if total.get(&name).is_none_or(|times| *times == 1) {
            return name;
        }
        let nth = seen.entry(name.clone()).or_insert(0_usize);
        *nth += 1;
        format!("{name} ({nth})")
    });
    numbered.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_names_that_differ() {
        let names = [" id ", "", "name", "name"].map(str::to_owned);
        assert_eq!(column_names(names), ["id", "column 2", "name (1)", "name (2)"]);
    }

    #[test]
    fn a_phone_number_that_a_sheet_keeps_as_a_number_stays_one() {
        assert_eq!(Cell::Number(13_812_345_678.0).text(), "13812345678");
        assert_eq!(Cell::Number(12.5).text(), "12.5");
    }
}
