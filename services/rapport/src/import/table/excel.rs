//! Excel workbooks: `.xlsx` by calamine's lazy reader, `.xls` as a whole (the format ends at
//! 65,536 rows). Formulas count with the value that Excel stored; one without a stored value
//! is said so, never read as empty.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context as _, bail};
use calamine::{Data, DataRef, ExcelDateTime, Reader as _, Xls, Xlsx};
use jiff::civil;

use super::{Format, Reading};
use crate::import::row::{Cell, Fault, Item, column_names};

/// `.xls` files are held as a whole.
const LARGEST_XLS: u64 = 64 << 20;
/// More columns than that are no table.
const MOST_COLUMNS: usize = 4_096;

/// What is known of a sheet before its rows are read.
pub(super) struct Found {
    pub(super) columns: Vec<String>,
    pub(super) sheet: String,
    pub(super) line: u64,
    pub(super) rows: u64,
    pub(super) why: String,
}

/// Finds the sheet, the first one that is not empty unless told, and its header.
pub(super) fn header(file: &Path, format: Format, reading: &Reading) -> anyhow::Result<Found> {
    let mut workbook = Workbook::open(file, format)?;
    let sheets = workbook.sheets();
    let candidates = match &reading.sheet {
        Some(named) if sheets.contains(named) => vec![named.clone()],
        Some(named) => bail!("no sheet `{named}`: there are {}", sheets.join(", ")),
        None => sheets.clone(),
    };
    for sheet in candidates {
        if let Some(mut found) = workbook.header(&sheet, reading.header)? {
            found.why = format!("`{sheet}` of {}", sheets.join(", "));
            return Ok(found);
        }
    }
    match &reading.sheet {
        Some(named) => bail!("the sheet `{named}` is empty"),
        None => bail!("all sheets are empty: {}", sheets.join(", ")),
    }
}

/// Reads the rows below the header.
pub(super) fn rows(
    file: &Path,
    format: Format,
    sheet: &str,
    header: u64,
    columns: &[String],
    take: &mut dyn FnMut(Item) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    Workbook::open(file, format)?.rows(sheet, &mut |line, mut cells| {
        if line <= header || cells.iter().all(Cell::is_blank) {
            return Ok(true);
        }
        let raw = raw(&cells);
        let surplus = cells.iter().skip(columns.len()).any(|cell| !cell.is_blank());
        cells.resize(columns.len(), Cell::Empty);
        let cells = if surplus {
            Err(Fault::of_row(format!("has more than the {} columns of the header", columns.len())))
        } else {
            Ok(cells)
        };
        take(Item { line, position: line, cells, raw })
    })?;
    Ok(())
}

fn raw(cells: &[Cell]) -> String {
    let shown: Vec<_> = cells.iter().map(Cell::text).collect();
    shown.join("\t")
}

enum Workbook {
    Xlsx(Box<Xlsx<BufReader<File>>>),
    Xls(Box<Xls<BufReader<File>>>),
}

type TakeCells<'a> = &'a mut dyn FnMut(u64, Vec<Cell>) -> anyhow::Result<bool>;

impl Workbook {
    fn open(file: &Path, format: Format) -> anyhow::Result<Self> {
        let source = BufReader::new(File::open(file)?);
        let broken = "is no Excel workbook that can be read (damaged, or with a password?)";
        if format == Format::Xlsx {
            return Ok(Self::Xlsx(Box::new(Xlsx::new(source).context(broken)?)));
        }
        if std::fs::metadata(file)?.len() > LARGEST_XLS {
            bail!("is larger than 64 MiB: save it as .xlsx, which is read row by row");
        }
        Ok(Self::Xls(Box::new(Xls::new(source).context(broken)?)))
    }

    fn sheets(&self) -> Vec<String> {
        match self {
            Self::Xlsx(workbook) => workbook.sheet_names(),
            Self::Xls(workbook) => workbook.sheet_names(),
        }
    }

    /// The header of a sheet: the first row that is not empty, or the one that is told; 0
    /// means that there is none.
    fn header(&mut self, sheet: &str, told: Option<u64>) -> anyhow::Result<Option<Found>> {
        let has_names = told != Some(0);
        let mut header = None;
        let rows = self.rows(sheet, &mut |line, cells| {
            if line < told.unwrap_or(0) || cells.iter().all(Cell::is_blank) {
                return Ok(true);
            }
            let names = cells.iter().map(|cell| match cell {
                cell if has_names => cell.text().into_owned(),
                _ => String::new(),
            });
            header = Some((column_names(names), if has_names { line } else { 0 }));
            Ok(false)
        })?;
        let found = header.map(|(columns, line)| Found {
            columns,
            sheet: sheet.to_owned(),
            line,
            rows,
            why: String::new(),
        });
        Ok(found)
    }

    /// Hands on the rows of a sheet with their number from 1; answers how many it is said
    /// to have.
    fn rows(&mut self, sheet: &str, take: TakeCells<'_>) -> anyhow::Result<u64> {
        match self {
            Self::Xlsx(workbook) => xlsx_rows(workbook, sheet, take),
            Self::Xls(workbook) => xls_rows(workbook, sheet, take),
        }
    }
}

fn xlsx_rows(
    workbook: &mut Xlsx<BufReader<File>>,
    sheet: &str,
    take: TakeCells<'_>,
) -> anyhow::Result<u64> {
    let mut reader = workbook.worksheet_cells_reader(sheet)?;
    let rows = u64::from(reader.dimensions().end.0) + 1;
    let mut row = 0;
    let mut cells: Vec<Cell> = Vec::new();
    while let Some(found) = reader.next_cell_with_formula_metadata()? {
        let (at_row, at_column) = found.pos;
        if at_row != row {
            if !cells.is_empty() && !take(u64::from(row) + 1, std::mem::take(&mut cells))? {
                return Ok(rows);
            }
            row = at_row;
        }
        let at_column = at_column as usize;
        if at_column >= MOST_COLUMNS {
            continue;
        }
        let cell = match (found.value, found.formula) {
            (DataRef::Empty, Some(_)) => without_value(),
            (value, _) => cell_of_ref(value),
        };
        if cell != Cell::Empty {
            cells.resize(cells.len().max(at_column + 1), Cell::Empty);
            cells[at_column] = cell;
        }
    }
    if !cells.is_empty() {
        take(u64::from(row) + 1, cells)?;
    }
    Ok(rows)
}

fn xls_rows(
    workbook: &mut Xls<BufReader<File>>,
    sheet: &str,
    take: TakeCells<'_>,
) -> anyhow::Result<u64> {
    let range = workbook.worksheet_range(sheet)?;
    let formulas = workbook.worksheet_formula(sheet)?;
    let (first_row, first_column) = range.start().unwrap_or_default();
    let rows = u64::from(range.end().unwrap_or_default().0) + 1;
    for (row, values) in (first_row..).zip(range.rows()) {
        let mut cells = vec![Cell::Empty; first_column as usize];
        for (column, value) in (first_column..).zip(values) {
            let formula = formulas.get_value((row, column)).filter(|text| !text.is_empty());
            cells.push(match (value, formula) {
                (Data::Empty, Some(_)) => without_value(),
                (value, _) => cell_of(value),
            });
        }
        if !take(u64::from(row) + 1, cells)? {
            break;
        }
    }
    Ok(rows)
}

fn without_value() -> Cell {
    Cell::Unreadable {
        shown: "=…".to_owned(),
        reason: "is a formula without a stored value: open the file in Excel, save it, and \
                 import that"
            .to_owned(),
    }
}

fn cell_of_ref(value: DataRef<'_>) -> Cell {
    match value {
        DataRef::SharedString(text) => text_cell(text.to_owned()),
        other => cell_of(&Data::from(other)),
    }
}

fn cell_of(value: &Data) -> Cell {
    match value {
        Data::Empty => Cell::Empty,
        Data::Int(number) => Cell::Number(*number as f64),
        Data::Float(number) => Cell::Number(*number),
        Data::String(text) => text_cell(text.clone()),
        Data::Bool(value) => Cell::Bool(*value),
        Data::DateTime(time) => time_cell(*time),
        Data::DateTimeIso(text) | Data::DurationIso(text) => text_cell(text.clone()),
        Data::Error(error) => {
            let shown = error.to_string();
            let reason = format!("holds the error {shown}");
            Cell::Unreadable { shown, reason }
        }
    }
}

fn text_cell(text: String) -> Cell {
    if text.is_empty() { Cell::Empty } else { Cell::Text(text) }
}

fn time_cell(time: ExcelDateTime) -> Cell {
    if !time.is_datetime() {
        return Cell::Number(time.as_f64());
    }
    let (year, month, day, hour, minute, second, milli) = time.to_ymd_hms_milli();
    let nanos = i32::from(milli) * 1_000_000;
    let parts = [month, day, hour, minute, second].map(|part| part as i8);
    let year = i16::try_from(year).unwrap_or(i16::MAX);
    let [month, day, hour, minute, second] = parts;
    match civil::DateTime::new(year, month, day, hour, minute, second, nanos) {
        Ok(time) => Cell::Time(time),
        Err(_) => Cell::Number(time.as_f64()),
    }
}
