//! CSV, row by row with bounded memory. What is wrong with a row costs this row: one with
//! too many or too few columns is refused and reading goes on at its *second* line, so that
//! a quote that is never closed swallows nothing but its own line.

use std::io::Read;

use anyhow::bail;
use csv_core::{ReadRecordResult, ReaderBuilder};

use super::encoding::LONGEST_ROW;

/// More columns than that are no table.
const MOST_COLUMNS: usize = 4_096;
/// Reading again is bounded: this much, or the file once more.
const LEAST_REREAD: u64 = 64 << 20;

/// How columns are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Between columns.
    pub(crate) delimiter: u8,
    /// Whether `"` encloses values.
    pub(crate) has_quotes: bool,
}

/// Reads records off a source.
pub(crate) struct Records<R> {
    source: R,
    core: csv_core::Reader,
    delimiter: u8,
    buffer: Vec<u8>,
    /// Where the record begins, how far the parser is, and how much is there.
    start: usize,
    at: usize,
    filled: usize,
    has_ended: bool,
    /// The line of `start`.
    line: u64,
    /// Bytes before the buffer.
    passed: u64,
    reread: u64,
    most_reread: u64,
    fields: Vec<u8>,
    ends: Vec<usize>,
}

/// A record and where it stands.
pub(crate) struct Record<'a> {
    /// Its first line.
    pub(crate) line: u64,
    /// Bytes read with it.
    pub(crate) position: u64,
    /// As it stands in the file.
    pub(crate) raw: &'a [u8],
    /// The fields without quotes, or why there are none.
    pub(crate) fields: Result<Fields<'a>, String>,
}

/// The fields of a record.
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Fields<'a> {
    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// One by one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        let (bytes, ends) = (self.bytes, self.ends);
        (0..ends.len()).map(move |at| {
            let from = if at == 0 { 0 } else { ends[at - 1] };
            &bytes[from..ends[at]]
        })
    }
}

enum Step {
    Record { fields: usize },
    Refused(&'static str),
    End,
}

impl<R: Read> Records<R> {
    /// Of a source of about `size` bytes.
    pub(crate) fn new(source: R, dialect: Dialect, size: u64) -> Self {
        let core =
            ReaderBuilder::new().delimiter(dialect.delimiter).quoting(dialect.has_quotes).build();
        Self {
            source,
            core,
            delimiter: dialect.delimiter,
            buffer: vec![0; 1 << 16],
            start: 0,
            at: 0,
            filled: 0,
            has_ended: false,
            line: 1,
            passed: 0,
            reread: 0,
            most_reread: size.max(LEAST_REREAD),
            fields: vec![0; LONGEST_ROW],
            ends: vec![0; MOST_COLUMNS],
        }
    }

    /// The next record; blank lines are none.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Record<'_>>> {
        self.skip();
        match self.step()? {
            Step::End => Ok(None),
            Step::Refused(reason) => {
                let (start, line) = (self.start, self.line);
                let shown = (self.at - start).min(200);
                self.back_to_second_line()?;
                let raw = &self.buffer[start..start + shown];
                let raw = raw.split(|byte| *byte == b'\n').next().unwrap_or(raw);
                let position = self.passed + self.start as u64;
                Ok(Some(Record { line, position, raw, fields: Err(reason.to_owned()) }))
            }
            Step::Record { fields } => Ok(Some(Record {
                line: self.line,
                position: self.passed + self.at as u64,
                raw: trim_end(&self.buffer[self.start..self.at]),
                fields: Ok(Fields { bytes: &self.fields, ends: &self.ends[..fields] }),
            })),
        }
    }

    /// Refuses the record that was read last: if it spans lines, reading goes on at its
    /// second one.
    pub(crate) fn refuse(&mut self) -> anyhow::Result<()> {
        if trim_end(&self.buffer[self.start..self.at]).contains(&b'\n') {
            self.back_to_second_line()?;
        }
        Ok(())
    }

    /// Passes the last record and the line ends before the next.
    fn skip(&mut self) {
        self.line += newlines(&self.buffer[self.start..self.at]);
        self.start = self.at;
        while self.start < self.filled && matches!(self.buffer[self.start], b'\n' | b'\r') {
            self.line += u64::from(self.buffer[self.start] == b'\n');
            self.start += 1;
        }
        self.at = self.start;
    }

    fn step(&mut self) -> anyhow::Result<Step> {
        let (mut bytes, mut fields) = (0, 0);
        loop {
            if self.at == self.filled && !self.has_ended {
                self.fill()?;
            }
            let input = &self.buffer[self.at..self.filled];
            let (result, read, written, ended) =
                self.core.read_record(input, &mut self.fields[bytes..], &mut self.ends[fields..]);
            self.at += read;
            bytes += written;
            fields += ended;
            match result {
                ReadRecordResult::Record if self.is_cut_short() => {
                    return Ok(Step::Refused("a quote that begins in this line is never closed"));
                }
                ReadRecordResult::Record => return Ok(Step::Record { fields }),
                ReadRecordResult::End => return Ok(Step::End),
                ReadRecordResult::OutputEndsFull => {
                    return Ok(Step::Refused("has more than 4,096 columns"));
                }
                ReadRecordResult::InputEmpty if self.at - self.start < LONGEST_ROW => {
                    let passed = &self.buffer[self.start..self.at];
                    if passed.iter().all(|byte| matches!(byte, b'\n' | b'\r')) {
                        self.skip(); // line ends at the edge of the buffer
                    }
                }
                ReadRecordResult::InputEmpty | ReadRecordResult::OutputFull => {
                    let spans_lines = self.buffer[self.start..self.at].contains(&b'\n');
                    return Ok(Step::Refused(if spans_lines {
                        "a quote that begins in this line is not closed within 1 MiB"
                    } else {
                        "is longer than 1 MiB"
                    }));
                }
            }
        }
    }

    /// Whether the file ended inside of quotes: only there may a record go over lines.
    fn is_cut_short(&self) -> bool {
        let record = &self.buffer[self.start..self.at];
        self.has_ended
            && self.at == self.filled
            && trim_end(record).contains(&b'\n')
            && ends_in_quotes(record, self.delimiter)
    }

    /// Reads more behind what is there, and lets go of what is before the record.
    fn fill(&mut self) -> anyhow::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.passed += self.start as u64;
            self.at -= self.start;
            self.filled -= self.start;
            self.start = 0;
        }
        if self.filled == self.buffer.len() {
            let larger = (2 * self.buffer.len()).min(2 * LONGEST_ROW);
            self.buffer.resize(larger, 0);
        }
        let count = self.source.read(&mut self.buffer[self.filled..])?;
        self.filled += count;
        self.has_ended = count == 0;
        Ok(())
    }

    fn back_to_second_line(&mut self) -> anyhow::Result<()> {
        self.core.reset();
        let record = &self.buffer[self.start..self.at];
        if let Some(end) = record.iter().position(|byte| *byte == b'\n') {
            self.reread += (record.len() - end) as u64;
            if self.reread > self.most_reread {
                bail!(
                    "line {}: too many quotes are not closed; if quotes have no meaning in this \
                     file, write `quote: none` in the mapping",
                    self.line
                );
            }
            self.start += end + 1;
            self.at = self.start;
            self.line += 1;
            return Ok(());
        }
        self.pass_line()
    }

    /// Passes a line that is too long to be kept.
    fn pass_line(&mut self) -> anyhow::Result<()> {
        loop {
            let rest = &self.buffer[self.at..self.filled];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                self.at += end + 1;
                self.line += 1;
                self.start = self.at;
                return Ok(());
            }
            self.at = self.filled;
            if self.has_ended {
                self.start = self.at;
                return Ok(());
            }
            // What was refused stays in front, to be shown.
            let keep = self.start + 200;
            if self.filled == self.buffer.len() && keep < self.filled {
                self.passed += (self.filled - keep) as u64;
                self.filled = keep;
                self.at = keep;
            }
            let count = self.source.read(&mut self.buffer[self.filled..])?;
            self.filled += count;
            self.has_ended = count == 0;
        }
    }
}

/// Whether a record stops where a quote is open, as the parser reads: one opens at the start of
/// a value only, a doubled one stays inside, and any other in a value is a letter.
fn ends_in_quotes(record: &[u8], delimiter: u8) -> bool {
    let (mut is_start, mut is_inside, mut at) = (true, false, 0);
    while let Some(byte) = record.get(at) {
        if is_inside && *byte == b'"' {
            let is_doubled = record.get(at + 1) == Some(&b'"');
            is_inside = is_doubled;
            at += usize::from(is_doubled);
        } else if !is_inside {
            is_inside = is_start && *byte == b'"';
            is_start = *byte == delimiter;
        }
        at += 1;
    }
    is_inside
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::cells::{guess_delimiter, item};
    use super::*;

    const COMMA: Dialect = Dialect { delimiter: b',', has_quotes: true };

    /// Line and cells, or line and reason.
    fn rows(text: &[u8], header: usize) -> Vec<(u64, Result<Vec<String>, String>)> {
        let header: Vec<String> = (0..header).map(|at| format!("c{at}")).collect();
        let mut records = Records::new(text, COMMA, text.len() as u64);
        let mut rows = Vec::new();
        while let Some(record) = records.next().expect("readable") {
            let (item, fits) = item(&record, &header, encoding_rs::UTF_8);
            if !fits {
                records.refuse().expect("bounded");
            }
            let cells = item.cells.map(|cells| cells.iter().map(|c| c.text().into()).collect());
            rows.push((item.line, cells.map_err(|fault| fault.reason)));
        }
        rows
    }

    fn ok(line: u64, cells: &[&str]) -> (u64, Result<Vec<String>, String>) {
        (line, Ok(cells.iter().map(|cell| (*cell).to_owned()).collect()))
    }

    #[test]
    fn rows_know_their_line_through_quotes_blank_lines_and_line_ends() {
        let text = b"a,\"b\r\nc\"\r\n\r\n\nd,\"say \"\"hi\"\"\"\r\ne,f";
        let expected = [ok(1, &["a", "b\r\nc"]), ok(5, &["d", "say \"hi\""]), ok(6, &["e", "f"])];
        assert_eq!(rows(text, 2), expected);
    }

    #[test]
    fn a_row_with_an_open_quote_swallows_only_its_own_line() {
        let rows = rows(b"a,b\nc,\"open\nd,e\nf,g\n", 2);
        assert!(rows[1].1.as_ref().is_err_and(|reason| reason.contains("never closed")));
        assert_eq!(rows[2..], [ok(3, &["d", "e"]), ok(4, &["f", "g"])]);
        let text = b"a,b\n\"open,c\nd,e\nf,\"g\"\nh,i\n";
        let rows = self::rows(text, 2);
        assert!(rows[1].1.is_err(), "{rows:?}");
        assert_eq!(rows[2..], [ok(3, &["d", "e"]), ok(4, &["f", "g"]), ok(5, &["h", "i"])]);
    }

    #[test]
    fn the_last_row_may_span_lines_and_end_without_quote_and_line_end() {
        assert_eq!(rows(b"a,b\n\"c\nd\",e", 2), [ok(1, &["a", "b"]), ok(2, &["c\nd", "e"])]);
        let text = b"a,b\n\"c\nd\",55\" screen";
        assert_eq!(rows(text, 2)[1], ok(2, &["c\nd", "55\" screen"]));
        let rows = rows(b"a,b\n\"say \"\"c\"\"\nd\",\"e\nf\ng,h", 2);
        assert!(rows[1].1.as_ref().is_err_and(|reason| reason.contains("never closed")));
        assert_eq!(rows.last(), Some(&ok(5, &["g", "h"])), "{rows:?}");
    }

    #[test]
    fn a_quote_without_end_and_a_huge_row_are_bounded() {
        let mut text = b"a,b\n\"open,".to_vec();
        for _ in 0..200_000 {
            text.extend_from_slice(b"c,dddd\n");
        }
        let rows = rows(&text, 2);
        assert!(rows[1].1.as_ref().is_err_and(|reason| reason.contains("not closed")), "{rows:?}");
        assert_eq!(rows.len(), 1 + 200_000, "each other line is a row");
        assert_eq!(rows[200_000].0, 200_001);

        let mut text = b"a,b\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 5 * LONGEST_ROW));
        text.extend_from_slice(b"\nc,d\n");
        let rows = self::rows(&text, 2);
        assert!(rows[1].1.as_ref().is_err_and(|reason| reason.contains("longer than 1 MiB")));
        assert_eq!(rows[2], ok(3, &["c", "d"]));
    }

    #[test]
    fn ragged_rows_and_zero_bytes_are_refused_and_the_rest_is_read() {
        let rows = rows(b"a,b\nc\nd,e,,\nf,g,h\ni,\0\nj,k\n", 2);
        let taken: Vec<u64> = rows.iter().filter(|row| row.1.is_ok()).map(|row| row.0).collect();
        assert_eq!(taken, [1, 3, 6], "{rows:?}");
    }

    #[test]
    fn the_delimiter_is_the_one_that_cuts_evenly() {
        assert_eq!(guess_delimiter(b"a;b;c\n1,5;2;3\n1,7;2;3\n").0, b';');
        assert_eq!(guess_delimiter(b"a\tb\n1,5\t2\n").0, b'\t');
        assert_eq!(guess_delimiter(b"a,b\n\"x;y;z\",2\n").0, b',');
        assert_eq!(guess_delimiter(b"one\ntwo\n").0, b',');
    }
}
