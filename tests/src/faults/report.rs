//! What was done and found, as a table; a violation makes it bad.

use std::fmt::{self, Debug, Display};

/// Rows in the order in which they were found out.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    found: String,
    verdict: Verdict,
    /// How many equal checks stand behind it.
    times: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Note,
    Good,
    Bad,
}

/// So many violations of one kind are named.
const NAMED: usize = 10;

impl Report {
    /// A number without judgement.
    pub fn note(&mut self, what: &str, found: impl Display) {
        self.add(what, found.to_string(), Verdict::Note);
    }

    /// Something must hold.
    pub fn expect(&mut self, what: &str, holds: bool) {
        let (found, verdict) = if holds { ("yes", Verdict::Good) } else { ("no", Verdict::Bad) };
        self.add(what, found.to_owned(), verdict);
    }

    /// Two values must be the same.
    pub fn expect_equal<T: PartialEq + Debug>(&mut self, what: &str, expected: &T, found: &T) {
        if expected == found {
            self.add(what, "yes".to_owned(), Verdict::Good);
        } else {
            self.add(what, format!("{found:?}, expected {expected:?}"), Verdict::Bad);
        }
    }

    /// There must be no violations.
    pub fn expect_none(&mut self, what: &str, violations: &[String]) {
        if violations.is_empty() {
            self.add(what, "0".to_owned(), Verdict::Good);
            return;
        }
        let named: Vec<&str> = violations.iter().take(NAMED).map(String::as_str).collect();
        let found = format!("{}: {}", violations.len(), named.join("; "));
        self.add(what, found, Verdict::Bad);
    }

    /// Whether nothing was violated.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.verdict != Verdict::Bad)
    }

    /// The same check with the same result is one row.
    fn add(&mut self, what: &str, found: String, verdict: Verdict) {
        let same = self
            .rows
            .iter_mut()
            .find(|row| row.what == what && row.verdict == verdict && row.found == found);
        match same {
            Some(row) => row.times += 1,
            None => self.rows.push(Row { what: what.to_owned(), found, verdict, times: 1 }),
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or_default();
        for row in &self.rows {
            let mark = match row.verdict {
                Verdict::Note => "    ",
                Verdict::Good => "ok  ",
                Verdict::Bad => "BAD ",
            };
            let times =
                if row.times > 1 { format!(" ({} times)", row.times) } else { String::new() };
            writeln!(f, "{mark}{:width$}  {}{times}", row.what, row.found)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_violation_makes_a_report_bad() {
        let mut report = Report::default();
        report.note("kills", 3);
        report.expect("restarted", true);
        report.expect("restarted", true);
        report.expect_none("lost", &[]);
        assert!(report.is_good());
        assert!(report.to_string().contains("ok  restarted  yes (2 times)"), "{report}");
        report.expect_none("lost", &["d1-2-3".to_owned()]);
        assert!(!report.is_good());
        assert!(report.to_string().contains("BAD lost       1: d1-2-3"), "{report}");
    }
}
