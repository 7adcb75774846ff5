//! How the demonstration looks: headings, tables, bars and progress.

#![expect(clippy::print_stdout, reason = "the report is the output of a command")]

use std::time::Duration;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use indicatif::{ProgressBar, ProgressStyle};

/// A bar on stderr while something is sent; silent when stderr is no terminal.
#[must_use]
pub fn progress(total: usize, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(total as u64);
    let template = "  {msg:<34} {wide_bar:.cyan/dim} {pos:>6}/{len:<6} {elapsed:>4}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━━─"));
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The heading of an act.
pub fn heading(text: &str) {
    println!("\n\x1b[1m{text}\x1b[0m\n{}", "═".repeat(text.chars().count()));
}

/// A paragraph.
pub fn say(text: &str) {
    println!("{text}");
}

/// A table; all columns but the first are numbers.
pub fn table(header: &[&str], rows: &[Vec<String>]) {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
}

/// A bar of at most `width` blocks.
#[must_use]
pub fn bar(part: u64, whole: u64, width: usize) -> String {
    if whole == 0 {
        return String::new();
    }
    let eighths = (part as f64 / whole as f64 * width as f64 * 8.0).round() as usize;
    let partial = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    format!("{}{partial}", "█".repeat(eighths / 8))
}

/// `12.3 %`.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        "–".to_owned()
    } else {
        format!("{:.1} %", 100.0 * part as f64 / whole as f64)
    }
}

/// `22,073`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bars_read_well() {
        assert_eq!(count(22_073), "22,073");
        assert_eq!(count(999), "999");
        assert_eq!(bar(1, 2, 4), "██");
        assert_eq!(bar(1, 16, 8), "▌");
        assert_eq!(percent(1, 8), "12.5 %");
    }
}
