//! CSV: UTF-8, RFC 4180, one header. Spreadsheets take a cell that begins with `=` for a formula,
//! whatever it was meant to be; such a text gets an apostrophe in front, unless told otherwise.

use std::fs::File;
use std::io::{BufWriter, Write as _};

use anyhow::Context as _;

use super::table::{Cell, Column, Row};

/// A file that is being written.
pub(crate) struct Csv {
    writer: csv::Writer<BufWriter<File>>,
    raw: bool,
}

impl Csv {
    pub(crate) fn new(file: File, columns: &[Column], raw: bool) -> anyhow::Result<Self> {
        let mut writer = csv::Writer::from_writer(BufWriter::new(file));
        let names = columns.iter().map(|column| column.name.as_str());
        writer.write_record(names)?;
        Ok(Self { writer, raw })
    }

    pub(crate) fn write(&mut self, row: &Row) -> anyhow::Result<()> {
        let written = |cell: &Cell| {
            let text = cell.written();
            let is_foreign = matches!(cell, Cell::Text(_));
            if is_foreign && !self.raw && may_be_a_formula(&text) {
                format!("'{text}")
            } else {
                text
            }
        };
        let cells: Vec<String> = row.iter().map(written).collect();
        Ok(self.writer.write_record(cells)?)
    }

    pub(crate) fn finish(self) -> anyhow::Result<()> {
        let mut file = self.writer.into_inner().ok().context("the end was not written")?;
        file.flush()?;
        Ok(file.get_ref().sync_all()?)
    }
}

/// What begins a formula somewhere (OWASP, "CSV injection"). A sign with nothing but digits and
/// blanks behind it is a number or a telephone number everywhere.
fn may_be_a_formula(text: &str) -> bool {
    let is_number = |rest: &str| {
        rest.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, ' ' | '.'))
    };
    match text.split_at_checked(1) {
        Some(("+" | "-", rest)) => !is_number(rest),
        Some(("=" | "@" | "\t" | "\r", _)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_formula_is_known_by_its_beginning() {
        for text in ["=1+1", "@SUM(A1)", "+1+cmd|' /C calc'!A0", "-2+3", "\t=1", "\r=1"] {
            assert!(may_be_a_formula(text), "{text:?}");
        }
        for text in ["", "a=b", "+49 30 123", "-12.5", "Ö", "'=1"] {
            assert!(!may_be_a_formula(text), "{text:?}");
        }
    }
}
