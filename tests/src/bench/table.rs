//! The report: one table, the same on the terminal and as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::meter::quantile;

const COLUMNS: usize = 10;
const HEAD: [&str; COLUMNS] = [
    "what",
    "measured",
    "floor in this run",
    "ratio",
    "latency",
    "service CPU (/ floor)",
    "Postgres CPU (/ floor)",
    "WAL (/ floor)",
    "target",
    "",
];

/// One figure and what stands beside it; what does not apply is empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) measured: String,
    pub(crate) floor: String,
    pub(crate) ratio: String,
    pub(crate) latency: String,
    pub(crate) service: String,
    pub(crate) postgres: String,
    pub(crate) wal: String,
    pub(crate) target: String,
    /// Absent when there is no target.
    pub(crate) reached: Option<bool>,
}

/// Rows, remarks, and what could not be measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// By place.
    rows: BTreeMap<u8, Row>,
    remarks: Vec<String>,
    failures: Vec<String>,
}

impl Report {
    /// A row and its place in the table, or the reason why there is none.
    pub(crate) fn add(&mut self, place: u8, what: &str, row: anyhow::Result<Row>) {
        match row {
            Ok(row) => {
                self.rows.insert(place, Row { what: what.to_owned(), ..row });
            }
            Err(error) => self.fail(what, &error),
        }
    }

    /// A measurement that could not be made.
    pub(crate) fn fail(&mut self, what: &str, error: &anyhow::Error) {
        self.failures.push(format!("{what}: {error:#}"));
    }

    /// Something to know beside the table.
    pub(crate) fn remark(&mut self, text: impl Into<String>) {
        self.remarks.push(text.into());
    }

    /// Whether everything was measured.
    pub(crate) fn is_complete(&self) -> bool {
        self.failures.is_empty()
    }

    /// As Markdown that is also readable as it is.
    pub(crate) fn markdown(&self) -> String {
        let mut lines: Vec<[String; COLUMNS]> = vec![HEAD.map(str::to_owned)];
        lines.extend(self.rows.values().map(cells));
        let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
            lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
        });
        let mut text = String::new();
        for (number, line) in lines.iter().enumerate() {
            for (cell, width) in line.iter().zip(widths) {
                let _ = write!(text, "| {cell:width$} ");
            }
            text.push_str("|\n");
            if number == 0 {
                for width in widths {
                    let _ = write!(text, "|{}", "-".repeat(width + 2));
                }
                text.push_str("|\n");
            }
        }
        for remark in &self.remarks {
            let _ = write!(text, "\n- {remark}");
        }
        for failure in &self.failures {
            let _ = write!(text, "\n- NOT MEASURED {failure}");
        }
        text.push('\n');
        text
    }
}

fn cells(row: &Row) -> [String; COLUMNS] {
    let verdict = match row.reached {
        Some(true) => "reached",
        Some(false) => "NOT reached",
        None => "",
    };
    let texts = [
        &row.what,
        &row.measured,
        &row.floor,
        &row.ratio,
        &row.latency,
        &row.service,
        &row.postgres,
        &row.wal,
        &row.target,
        verdict,
    ];
    texts.map(|cell| cell.replace('|', "/"))
}

/// `12,345`.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12,345/s`.
pub(crate) fn per_second(rate: f64) -> String {
    format!("{}/s", thousands(rate))
}

/// `43 %`.
pub(crate) fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

/// `28.3 µs`.
pub(crate) fn micros(number: f64) -> String {
    format!("{number:.1} µs")
}

/// `p50 3.1 ms, p99 20.0 ms`.
pub(crate) fn spread(ms: &[f64]) -> String {
    let (p50, p99) = (quantile(ms.to_vec(), 0.5), quantile(ms.to_vec(), 0.99));
    format!("p50 {p50:.1} ms, p99 {p99:.1} ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(thousands(0.4), "0");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(per_second(1_234_567.2), "1,234,567/s");
        assert_eq!(percent(0.507), "51 %");
    }

    #[test]
    fn a_report_with_a_failure_says_so_and_is_not_complete() {
        let mut report = Report::default();
        report.add(1, "reads", Ok(Row { measured: "5".to_owned(), ..Row::default() }));
        assert!(report.is_complete());
        report.add(0, "writes", Err(anyhow::anyhow!("no database")));
        assert!(!report.is_complete());
        let text = report.markdown();
        assert!(text.contains("| reads ") && text.contains("NOT MEASURED writes: no database"));
        let bars = |line: &str| line.matches('|').count();
        assert!(text.lines().take(3).all(|line| bars(line) == HEAD.len() + 1), "{text}");
    }
}
