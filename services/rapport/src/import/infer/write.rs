//! Values and lines of a proposed mapping.

use super::Found;
use super::header::Role;
use super::shape::Shape;

/// How a column is read, and why.
pub(super) fn value(column: &Found, wanted: &str, has_decimal_comma: bool) -> (String, String) {
    let (name, shape) = (quoted(&column.name), &column.shape);
    let all = |count: u64| shape.mostly(count, 100);
    let is_text = column.role.is_some_and(|role| role.namespace().is_some());
    if wanted == "time" || !is_text && (all(times(shape)) || all(shape.typed_times)) {
        return time_value(&name, shape, wanted == "time", column.role);
    }
    let number = if has_decimal_comma { shape.comma } else { shape.point };
    if let Some((code, count)) = shape.signs.iter().next()
        && all(*count)
        && !is_text
    {
        let value = format!("{{column: {name}, as: money, currency: {code}}}");
        return (value, "all values are amounts with this sign".to_owned());
    }
    if is_text || shape.codes > 0 {
        return (name, String::new());
    }
    if all(shape.integers) {
        return (
            format!("{{column: {name}, as: integer}}"),
            "all values are whole numbers".to_owned(),
        );
    }
    if all(number) {
        return (format!("{{column: {name}, as: decimal}}"), "all values are numbers".to_owned());
    }
    if all(shape.booleans) {
        return (
            format!("{{column: {name}, as: boolean}}"),
            "all values mean true or false".to_owned(),
        );
    }
    let reason = match shape.words.len() {
        words @ 1..=8 if shape.filled > 20 => {
            let words: Vec<&str> = shape.words.keys().take(words).map(String::as_str).collect();
            format!("values: {}", words.join(", "))
        }
        _ => String::new(),
    };
    (name, reason)
}

fn times(shape: &Shape) -> u64 {
    shape.formats().iter().map(|(_, count)| count).sum()
}

fn time_value(name: &str, shape: &Shape, is_event: bool, role: Option<Role>) -> (String, String) {
    let kind = if is_event || role != Some(Role::Birthday) { "time" } else { "date" };
    if shape.mostly(shape.typed_times, 50) {
        return (
            format!("{{column: {name}, as: {kind}}}"),
            "the sheet says that it is a time".to_owned(),
        );
    }
    let formats = shape.formats();
    let fitting = times(shape).min(shape.filled);
    let mut reason = format!("{fitting} of {} values fit", shape.filled);
    if let Some((first, count)) = formats.first()
        && let Some(other) = shape.other_order(first)
    {
        let order = if first.find("%d") < first.find("%m") { "day first" } else { "month first" };
        reason = match count - other {
            0 => format!("{order} is ASSUMED: every value fits both ways; {reason}"),
            told => format!("{order}: {told} values fit no other way; {reason}"),
        };
    }
    let names: Vec<&str> = formats.iter().map(|(format, _)| *format).collect();
    let format = match names.as_slice() {
        ["iso"] => String::new(),
        [one] => format!(", format: {}", quoted(one)),
        several => {
            let several: Vec<String> = several.iter().map(|name| quoted(name)).collect();
            format!(", format: [{}]", several.join(", "))
        }
    };
    (format!("{{column: {name}, as: {kind}{format}}}"), reason)
}

/// YAML with reasons at the right.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) text: String,
}

impl Lines {
    pub(super) fn add(&mut self, indent: usize, line: &str, reason: &str) {
        let line = format!("{:indent$}{line}", "");
        match reason {
            "" => self.text.push_str(&format!("{line}\n")),
            reason => {
                let reason = reason.replace(['\n', '\r'], " ");
                self.text.push_str(&format!("{line:<48}  # {reason}\n"));
            }
        }
    }

    pub(super) fn comment(&mut self, indent: usize, text: &str) {
        let text = text.replace(['\n', '\r'], " ");
        self.text.push_str(&format!("{:indent$}# {text}\n", ""));
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }
}

/// A YAML scalar: JSON's quotes are YAML's too.
pub(super) fn quoted(text: &str) -> String {
    let mut letters = text.chars();
    let is_word = letters.next().is_some_and(char::is_alphabetic)
        && letters.all(|c| c.is_alphanumeric() || c == '_');
    let has_meaning = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "t", "f"];
    if is_word && !has_meaning.contains(&text.to_lowercase().as_str()) {
        return text.to_owned();
    }
    serde_json::Value::String(text.to_owned()).to_string()
}
