//! Excel workbooks: `.xlsx` by calamine's lazy reader, `.xls` as a whole (the format ends at
//! 65,536 rows). Formulas count with the value that Excel stored; one without a stored value
//! is said so, never read as empty.
//!
//! The texts of a workbook are held while it is read. How large they are stands in the
//! directory of the archive; a workbook that says too much is refused before anything is
//! unpacked.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::{Context as _, bail};
use calamine::{Data, DataRef, ExcelDateTime, Reader as _, Xls, Xlsx};
use jiff::civil;

use super::{Format, Reading};
use crate::import::row::{Cell, Fault, Item, column_names};

/// `.xls` files are held as a whole.
const LARGEST_XLS: u64 = 64 << 20;
/// The texts that all cells share are held, and so are styles and the like.
const LARGEST_HELD: u64 = 512 << 20;
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

/// Adds up what the archive's directory says of unpacked sizes (APPNOTE.TXT 4.3.12, 4.3.16).
/// A directory that cannot be found is left to the reader of archives to complain about.
fn check_sizes(file: &Path) -> anyhow::Result<()> {
    let mut source = File::open(file)?;
    let size = source.metadata()?.len();
    let tail = size.min(65_557);
    source.seek(SeekFrom::Start(size - tail))?;
    let mut bytes = Vec::new();
    source.by_ref().take(tail).read_to_end(&mut bytes)?;
    let number = |bytes: &[u8], at: usize, len: usize| -> Option<u64> {
        let digits = bytes.get(at..at + len)?.iter().rev();
        Some(digits.fold(0, |number, digit| number << 8 | u64::from(*digit)))
    };
    let Some(end) = bytes.windows(4).rposition(|four| four == b"PK\x05\x06") else { return Ok(()) };
    let (Some(length), Some(from)) = (number(&bytes, end + 12, 4), number(&bytes, end + 16, 4))
    else {
        return Ok(());
    };
    source.seek(SeekFrom::Start(from))?;
    let mut directory = Vec::new();
    source.take(length.min(16 << 20)).read_to_end(&mut directory)?;
    let (mut at, mut held) = (0, 0_u64);
    while directory.get(at..at + 4) == Some(b"PK\x01\x02") {
        let part = |offset, len| number(&directory, at + offset, len).unwrap_or_default();
        let lengths = [part(28, 2), part(30, 2), part(32, 2)].map(|length| length as usize);
        let name = directory.get(at + 46..at + 46 + lengths[0]).unwrap_or_default();
        let unpacked = part(24, 4);
        // Sheets are read in pieces, pictures not at all.
        if !name.starts_with(b"xl/worksheets/") && !name.starts_with(b"xl/media/") {
            held = held.saturating_add(unpacked);
        }
        at += 46 + lengths.iter().sum::<usize>();
    }
    if held > LARGEST_HELD {
        bail!("unpacks to more than 512 MiB of texts: save it as CSV, which is read row by row");
    }
    Ok(())
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
            check_sizes(file)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The directory of an archive with one file of that many bytes.
    fn archive(name: &str, unpacked: u32) -> Vec<u8> {
        let mut directory = b"PK\x01\x02".to_vec();
        directory.extend_from_slice(&[0; 20]);
        directory.extend_from_slice(&unpacked.to_le_bytes());
        directory.extend_from_slice(&(name.len() as u16).to_le_bytes());
        directory.extend_from_slice(&[0; 16]);
        directory.extend_from_slice(name.as_bytes());
        let mut file = b"PK\x03\x04".to_vec();
        let from = file.len() as u32;
        file.extend_from_slice(&directory);
        file.extend_from_slice(b"PK\x05\x06");
        file.extend_from_slice(&[0; 8]);
        file.extend_from_slice(&(directory.len() as u32).to_le_bytes());
        file.extend_from_slice(&from.to_le_bytes());
        file.extend_from_slice(&[0; 2]);
        file
    }

    #[test]
    fn a_workbook_that_unpacks_to_too_much_is_refused_unopened() {
        let path = std::env::temp_dir().join(format!("{}.xlsx", uuid::Uuid::new_v4().simple()));
        let check = |name, unpacked| {
            std::fs::write(&path, archive(name, unpacked)).expect("written");
            check_sizes(&path).map_err(|error| error.to_string())
        };
        assert!(check("xl/sharedStrings.xml", u32::MAX).is_err_and(|e| e.contains("512 MiB")));
        assert_eq!(check("xl/sharedStrings.xml", 1 << 20), Ok(()));
        assert_eq!(check("xl/worksheets/sheet1.xml", u32::MAX), Ok(()));
        std::fs::remove_file(&path).expect("removed");
    }
}
