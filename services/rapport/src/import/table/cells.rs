//! Records of CSV as rows of named columns, and the delimiter that makes them.

use encoding_rs::Encoding;

use super::delimited::{Dialect, Fields, Record, Records};
use super::encoding::{LONGEST_ROW, decode};
use crate::import::row::{Cell, Fault, Item};

/// A record as a row of so many columns; with whether the columns are as many as they should.
pub(crate) fn item(
    record: &Record<'_>,
    header: &[String],
    encoding: &'static Encoding,
) -> (Item, bool) {
    let raw = encoding.decode_without_bom_handling(record.raw).0.into_owned();
    let item = |cells| Item { line: record.line, position: record.position, cells, raw };
    let fields = match &record.fields {
        Ok(fields) => fields,
        Err(reason) => return (item(Err(Fault::of_row(reason.as_str()))), true),
    };
    let surplus = fields.iter().skip(header.len()).any(|field| !field.trim_ascii().is_empty());
    if fields.len() < header.len() || surplus {
        let (found, expected) = (fields.len(), header.len());
        let reason = format!(
            "has {found} columns, the header has {expected}: an unquoted delimiter, a quote \
             that is not closed, or a cut row"
        );
        return (item(Err(Fault::of_row(reason))), false);
    }
    let cells: Result<Vec<Cell>, Fault> =
        fields.iter().zip(header).map(|(bytes, column)| cell(bytes, column, encoding)).collect();
    (item(cells), true)
}

fn cell(bytes: &[u8], column: &str, encoding: &'static Encoding) -> Result<Cell, Fault> {
    if bytes.is_empty() {
        return Ok(Cell::Empty);
    }
    let fault = |reason: String| Fault {
        column: column.to_owned(),
        value: String::from_utf8_lossy(bytes).into_owned(),
        reason,
    };
    if bytes.contains(&0) {
        return Err(fault("holds a zero byte: the file is damaged or no text".to_owned()));
    }
    decode(encoding, bytes).map(Cell::Text).map_err(fault)
}

/// The delimiter that cuts the first rows into the same number of columns, and how many.
pub(crate) fn guess_delimiter(sample: &[u8]) -> (u8, String) {
    let mut best = (b',', 0_usize, 0_usize);
    for delimiter in [b',', b';', b'\t'] {
        let dialect = Dialect { delimiter, has_quotes: true };
        let mut records = Records::new(sample, dialect, sample.len() as u64);
        let mut widths = Vec::new();
        while widths.len() < 100 {
            let Ok(Some(record)) = records.next() else { break };
            widths.extend(record.fields.as_ref().ok().map(Fields::len));
        }
        if widths.len() > 1 && sample.len() >= LONGEST_ROW / 16 {
            widths.pop(); // cut by the end of the sample
        }
        let Some(width) = widths.first().copied() else { continue };
        let same = widths.iter().filter(|other| **other == width).count();
        if width > 1 && (same * width) > best.1 * best.2 {
            best = (delimiter, same, width);
        }
    }
    let (delimiter, _, width) = best;
    let shown = if delimiter == b'\t' { "tab".to_owned() } else { char::from(delimiter).into() };
    let why = if width == 0 {
        "comma, as no delimiter cuts the rows".to_owned()
    } else {
        format!("`{shown}`: it cuts the rows into {width} columns")
    };
    (delimiter, why)
}
