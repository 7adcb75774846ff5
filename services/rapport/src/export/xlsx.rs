//! Excel workbooks, row by row through a temporary file. No cell is ever a formula: text is
//! written as text. What Excel cannot hold is refused or written as text: a sheet ends at
//! 1,048,576 rows and the next one goes on, with the header again; integers beyond 15 digits and
//! times outside 1900 to 9999 are text.

use std::fs::File;
use std::io::BufWriter;

use anyhow::Context as _;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rust_xlsxwriter::{ExcelDateTime, Format, Workbook, Worksheet};

use super::table::{Cell, Column, Kind, NANOS, Row};

/// Rows of a sheet, the header among them.
const SHEET_ROWS: u32 = 1_048_576;
/// Excel keeps 15 digits of a number.
const EXACT: i64 = 999_999_999_999_999;
/// Characters of a cell.
const LONGEST: usize = 32_767;

/// A workbook that is being written.
pub(crate) struct Xlsx {
    file: File,
    workbook: Workbook,
    name: &'static str,
    columns: Vec<Column>,
    /// Of the current sheet, the header among them; 0 before the first.
    rows: u32,
    sheets: usize,
    most_rows: u32,
    formats: Formats,
}

struct Formats {
    head: Format,
    time: Format,
    amount: Format,
}

impl Xlsx {
    pub(crate) fn new(file: File, name: &'static str, columns: &[Column]) -> anyhow::Result<Self> {
        Self::with_rows(file, name, columns, SHEET_ROWS)
    }

    pub(super) fn with_rows(
        file: File,
        name: &'static str,
        columns: &[Column],
        most_rows: u32,
    ) -> anyhow::Result<Self> {
        let formats = Formats {
            head: Format::new().set_bold(),
            time: Format::new().set_num_format("yyyy-mm-dd hh:mm:ss"),
            amount: Format::new().set_num_format("#,##0.00"),
        };
        let (workbook, columns) = (Workbook::new(), columns.to_vec());
        let mut new =
            Self { file, workbook, name, columns, rows: 0, sheets: 0, most_rows, formats };
        new.begin_sheet()?;
        Ok(new)
    }

    fn begin_sheet(&mut self) -> anyhow::Result<()> {
        self.sheets += 1;
        let sheet = self.workbook.add_worksheet_with_constant_memory()?;
        let name = self.name;
        let title =
            if self.sheets == 1 { name.to_owned() } else { format!("{name} {}", self.sheets) };
        sheet.set_name(title)?;
        sheet.set_freeze_panes(1, 0)?;
        for (number, column) in (0_u16..).zip(&self.columns) {
            let width = if column.kind == Kind::Time { 19.0 } else { 14.0 };
            sheet.set_column_width(number, width)?;
            sheet.write_string_with_format(0, number, &column.name, &self.formats.head)?;
        }
        self.rows = 1;
        Ok(())
    }

    pub(crate) fn write(&mut self, row: &Row) -> anyhow::Result<()> {
        if self.rows == self.most_rows {
            self.begin_sheet()?;
        }
        let sheet = self.workbook.worksheet_from_index(self.sheets - 1)?;
        for (number, cell) in (0_u16..).zip(row) {
            write_cell(sheet, (self.rows, number), cell, &self.formats).with_context(|| {
                let column = self.columns.get(usize::from(number));
                let column = column.map_or("", |column| column.name.as_str());
                format!(
                    "row {}, column {column}: CSV and Parquet have no such limit",
                    self.rows + 1
                )
            })?;
        }
        self.rows += 1;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        self.workbook.save_to_writer(BufWriter::new(&self.file))?;
        Ok(self.file.sync_all()?)
    }
}

fn write_cell(
    sheet: &mut Worksheet,
    (row, column): (u32, u16),
    cell: &Cell,
    formats: &Formats,
) -> anyhow::Result<()> {
    match cell {
        Cell::Empty => {}
        Cell::Text(text) => {
            let length = text.chars().count();
            anyhow::ensure!(length <= LONGEST, "{length} characters are too many for Excel");
            sheet.write_string(row, column, text)?;
        }
        Cell::Whole(number) if number.abs() <= EXACT => {
            sheet.write_number(row, column, *number as f64)?;
        }
        Cell::Number(number) if number.is_finite() => {
            sheet.write_number(row, column, *number)?;
        }
        Cell::Flag(flag) => {
            sheet.write_boolean(row, column, *flag)?;
        }
        Cell::Amount(nanos) if nanos.abs() <= i128::from(EXACT) * i128::from(NANOS / 1_000) => {
            let units = *nanos as f64 / NANOS as f64;
            sheet.write_number_with_format(row, column, units, &formats.amount)?;
        }
        Cell::Time(us) => match excel_time(*us) {
            Some(time) => {
                sheet.write_datetime_with_format(row, column, &time, &formats.time)?;
            }
            None => {
                sheet.write_string(row, column, cell.written())?;
            }
        },
        Cell::Whole(_) | Cell::Number(_) | Cell::Amount(_) => {
            sheet.write_string(row, column, cell.written())?;
        }
    }
    Ok(())
}

/// UTC, to the millisecond; nothing outside of Excel's calendar.
fn excel_time(us: i64) -> Option<ExcelDateTime> {
    let time = Timestamp::from_microsecond(us).ok()?.to_zoned(TimeZone::UTC);
    let year = u16::try_from(time.year()).ok().filter(|year| *year > 1900)?;
    let seconds = f64::from(time.second()) + f64::from(time.millisecond()) / 1_000.0;
    let date = ExcelDateTime::from_ymd(year, time.month() as u8, time.day() as u8).ok()?;
    date.and_hms(time.hour() as u16, time.minute() as u8, seconds).ok()
}

#[cfg(test)]
mod tests {
    use calamine::{Data, Reader as _, open_workbook};

    use super::*;

    #[test]
    fn a_sheet_that_is_full_goes_on_in_the_next_and_no_text_is_a_formula() {
        let path = std::env::temp_dir().join(format!("rapport-{}.xlsx", uuid::Uuid::new_v4()));
        let columns = [Column::new("name", Kind::Text), Column::new("number", Kind::Whole)];
        let file = File::create(&path).expect("a file");
        let mut book = Xlsx::with_rows(file, "scores", &columns, 4).expect("a workbook");
        for number in 0..7 {
            let row = vec![Cell::text("=1+1"), Cell::Whole(number)];
            book.write(&row).expect("written");
        }
        book.write(&vec![Cell::Empty, Cell::Whole(i64::MAX)]).expect("written");
        let long = vec![Cell::text("x".repeat(LONGEST + 1)), Cell::Empty];
        let refused = book.write(&long).expect_err("too long");
        assert!(format!("{refused:#}").contains("column name"), "{refused:#}");
        book.finish().expect("finished");

        let mut read: calamine::Xlsx<_> = open_workbook(&path).expect("a workbook");
        assert_eq!(read.sheet_names(), ["scores", "scores 2", "scores 3"]);
        let mut numbers = Vec::new();
        for sheet in read.sheet_names() {
            assert!(read.worksheet_formula(&sheet).expect("formulas").is_empty(), "a formula");
            let range = read.worksheet_range(&sheet).expect("cells");
            let mut rows = range.rows();
            assert_eq!(rows.next().expect("a header")[1], Data::String("number".to_owned()));
            numbers.extend(rows.map(|row| row[1].to_string()));
        }
        let most = i64::MAX.to_string();
        assert_eq!(numbers, ["0", "1", "2", "3", "4", "5", "6", most.as_str()]);
        std::fs::remove_file(&path).expect("removed");
    }
}
