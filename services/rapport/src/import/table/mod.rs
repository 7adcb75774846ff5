//! Files as tables: CSV, JSON lines and Excel, each read row by row. A table can be read as
//! often as one likes; each reading opens the file anew.
//!
//! Bounded: a row of a text file is at most 1 MiB; of an Excel file the workbook's texts are
//! held (that is how the format is made), the rows are not.

mod cells;
mod delimited;
pub(crate) mod encoding;
mod excel;
mod jsonl;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::row::{Item, column_names};
use delimited::{Dialect, Records};
use encoding::Survey;

/// What a mapping or the command line say about the file; the rest is found out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// `csv`, `jsonl`, `xlsx` or `xls`.
    pub(crate) format: Option<Format>,
    /// The label of an encoding.
    pub(crate) encoding: Option<String>,
    /// Between columns.
    pub(crate) delimiter: Option<u8>,
    /// `"` has no meaning.
    pub(crate) without_quotes: bool,
    /// The sheet of an Excel file; the first if absent.
    pub(crate) sheet: Option<String>,
    /// The line of the header; 0 if there is none.
    pub(crate) header: Option<u64>,
}

/// The kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Csv,
    JsonLines,
    Xlsx,
    Xls,
}

impl Format {
    /// The names that a mapping uses.
    pub(crate) const NAMES: [(&'static str, Self); 4] =
        [("csv", Self::Csv), ("jsonl", Self::JsonLines), ("xlsx", Self::Xlsx), ("xls", Self::Xls)];

    fn of(file: &Path) -> anyhow::Result<Self> {
        let mut head = [0; 8];
        let mut source = File::open(file).with_context(|| format!("opening {}", file.display()))?;
        let count = source.read(&mut head)?;
        if head.starts_with(b"PK\x03\x04") {
            return Ok(Self::Xlsx);
        }
        if head.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) {
            return Ok(Self::Xls);
        }
        let end = file.extension().map(|end| end.to_string_lossy().to_lowercase());
        let is_lines = matches!(end.as_deref(), Some("jsonl" | "ndjson"));
        let begins_as_json = head[..count].trim_ascii_start().starts_with(b"{");
        Ok(if is_lines || begins_as_json { Self::JsonLines } else { Self::Csv })
    }
}

/// A file that can be read as rows of named columns.
#[derive(Debug)]
pub(crate) struct Table {
    file: PathBuf,
    /// The names of the columns.
    pub(crate) header: Vec<String>,
    /// What was found out about the file, for people.
    pub(crate) notes: Vec<String>,
    /// In the unit of [`Item::position`]; 0 if unknown.
    pub(crate) size: u64,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Delimited { survey: Survey, dialect: Dialect, header: u64 },
    Lines { survey: Survey },
    Sheet { format: Format, sheet: String, header: u64 },
}

impl Table {
    /// Finds out what a file is and reads its header.
    ///
    /// # Errors
    /// When it cannot be read, is empty, or has no header.
    pub(crate) fn open(file: &Path, reading: &Reading) -> anyhow::Result<Self> {
        let metadata =
            std::fs::metadata(file).with_context(|| format!("reading {}", file.display()))?;
        if !metadata.is_file() {
            bail!("{} is no file", file.display());
        }
        if metadata.len() == 0 {
            bail!("{} is empty", file.display());
        }
        let format = match reading.format {
            Some(format) => format,
            None => Format::of(file)?,
        };
        let table = match format {
            Format::Csv => Self::delimited(file, reading, metadata.len()),
            Format::JsonLines => Self::lines(file, reading, metadata.len()),
            Format::Xlsx | Format::Xls => Self::sheet(file, reading, format),
        };
        table.with_context(|| file.display().to_string())
    }

    fn delimited(file: &Path, reading: &Reading, size: u64) -> anyhow::Result<Self> {
        let survey = encoding::survey(file, reading.encoding.as_deref())?;
        let (source, encoding) = encoding::open(file, survey.encoding)?;
        let mut sample = Vec::new();
        source.take(encoding::LONGEST_ROW as u64).read_to_end(&mut sample)?;
        // Excel writes and reads this first line.
        let told = sample.strip_prefix(b"sep=").and_then(|rest| rest.first().copied());
        let after_told = u64::from(told.is_some());
        let (delimiter, why) = match reading.delimiter.or(told) {
            Some(delimiter) => (delimiter, format!("`{}`, as told", char::from(delimiter))),
            None => cells::guess_delimiter(body_of(&sample, reading.header)),
        };
        let dialect = Dialect { delimiter, has_quotes: !reading.without_quotes };
        let at = reading.header.unwrap_or(after_told + 1);
        let header = first_record(&sample, dialect, at, encoding)?;
        let notes = vec![format!("encoding: {}", survey.why), format!("delimiter: {why}")];
        let body = Body::Delimited { survey, dialect, header: at };
        Ok(Self { file: file.to_owned(), header, notes, size, body })
    }

    fn lines(file: &Path, reading: &Reading, size: u64) -> anyhow::Result<Self> {
        let survey = encoding::survey(file, reading.encoding.as_deref())?;
        let header = jsonl::header(file, &survey)?;
        let notes = vec![format!("encoding: {}", survey.why)];
        Ok(Self { file: file.to_owned(), header, notes, size, body: Body::Lines { survey } })
    }

    fn sheet(file: &Path, reading: &Reading, format: Format) -> anyhow::Result<Self> {
        let found = excel::header(file, format, reading)?;
        let notes = vec![format!("sheet: {}", found.why)];
        let body = Body::Sheet { format, sheet: found.sheet, header: found.line };
        Ok(Self { file: file.to_owned(), header: found.columns, notes, size: found.rows, body })
    }

    /// Reads all rows after the header; `take` says whether to go on.
    ///
    /// # Errors
    /// When the file cannot be read any further, or `take` fails.
    pub(crate) fn rows(
        &self,
        take: &mut dyn FnMut(Item) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let rows = match &self.body {
            Body::Delimited { survey, dialect, header } => {
                self.delimited_rows(survey, *dialect, *header, take)
            }
            Body::Lines { survey } => jsonl::rows(&self.file, survey, &self.header, take),
            Body::Sheet { format, sheet, header } => {
                excel::rows(&self.file, *format, sheet, *header, &self.header, take)
            }
        };
        rows.with_context(|| self.file.display().to_string())
    }

    fn delimited_rows(
        &self,
        survey: &Survey,
        dialect: Dialect,
        header: u64,
        take: &mut dyn FnMut(Item) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let (source, encoding) = encoding::open(&self.file, survey.encoding)?;
        let mut records = Records::new(source, dialect, self.size);
        while let Some(record) = records.next()? {
            if record.line <= header {
                continue;
            }
            let (item, fits) = cells::item(&record, &self.header, encoding);
            if !fits {
                records.refuse()?;
            }
            if !take(item)? {
                break;
            }
        }
        Ok(())
    }
}

/// The sample without what stands before the header.
fn body_of(sample: &[u8], header: Option<u64>) -> &[u8] {
    let before = header.unwrap_or(1).saturating_sub(1);
    let mut ends =
        sample.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let from = if before == 0 { 0 } else { ends.nth(before as usize - 1).unwrap_or(0) };
    &sample[from..]
}

fn first_record(
    sample: &[u8],
    dialect: Dialect,
    at: u64,
    encoding: &'static encoding_rs::Encoding,
) -> anyhow::Result<Vec<String>> {
    let mut records = Records::new(sample, dialect, sample.len() as u64);
    while let Some(record) = records.next()? {
        if record.line < at {
            continue;
        }
        let fields = match &record.fields {
            Ok(fields) => fields,
            Err(reason) => bail!("line {}: the header {reason}", record.line),
        };
        let names = fields.iter().map(|name| match at {
            0 => Ok(String::new()),
            _ => encoding::decode(encoding, name),
        });
        let names: Result<Vec<String>, String> = names.collect();
        return match names {
            Ok(names) => Ok(column_names(names)),
            Err(reason) => bail!("line {}: the header: {reason}", record.line),
        };
    }
    bail!("no header: the file has no line {at} with content")
}
