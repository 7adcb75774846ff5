//! JSON lines: one object per line. Objects inside are columns `customer.email`, items of
//! lists `tags.0`. The columns are those that any line has, so they are collected first.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use anyhow::bail;
use encoding_rs::Encoding;
use serde_json::Value;

use super::encoding::{self, LONGEST_ROW, Survey};
use crate::import::row::{Cell, Fault, Item};

/// Columns beyond that are left out.
const MOST_COLUMNS: usize = 4_096;

/// The columns of all lines, in the order in which they appear.
pub(super) fn header(file: &Path, survey: &Survey) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut known = HashMap::new();
    let mut first_fault = None;
    each(file, survey, &mut |line, _, content| {
        match content {
            Ok((object, _)) => flatten(String::new(), object, &mut |name, _| {
                if known.len() < MOST_COLUMNS && !known.contains_key(&name) {
                    known.insert(name.clone(), ());
                    names.push(name);
                }
            }),
            Err((fault, _)) => {
                first_fault.get_or_insert_with(|| format!("line {line}: {}", fault.reason));
            }
        }
        Ok(true)
    })?;
    match (names.is_empty(), first_fault) {
        (true, Some(fault)) => bail!("no line is a JSON object; {fault}"),
        (true, None) => bail!("no line is a JSON object"),
        (false, _) => Ok(names),
    }
}

/// Reads all lines as rows of these columns.
pub(super) fn rows(
    file: &Path,
    survey: &Survey,
    header: &[String],
    take: &mut dyn FnMut(Item) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let places: HashMap<&str, usize> =
        header.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    each(file, survey, &mut |line, position, content| {
        let (cells, raw) = match content {
            Ok((object, raw)) => {
                let mut cells = vec![Cell::Empty; header.len()];
                flatten(String::new(), object, &mut |name, value| {
                    if let Some(at) = places.get(name.as_str()) {
                        cells[*at] = value;
                    }
                });
                (Ok(cells), raw)
            }
            Err((fault, raw)) => (Err(fault), raw),
        };
        take(Item { line, position, cells, raw })
    })
}

type Content = Result<(Value, String), (Fault, String)>;

fn each(
    file: &Path,
    survey: &Survey,
    take: &mut dyn FnMut(u64, u64, Content) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let (source, encoding) = encoding::open(file, survey.encoding)?;
    let mut source = BufReader::with_capacity(1 << 16, source);
    let mut bytes = Vec::new();
    let (mut line, mut position) = (0, 0);
    loop {
        bytes.clear();
        let count = source.by_ref().take(LONGEST_ROW as u64).read_until(b'\n', &mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        line += 1;
        position += count as u64;
        let is_whole = bytes.ends_with(b"\n") || count < LONGEST_ROW;
        let trimmed = bytes.trim_ascii();
        if trimmed.is_empty() {
            continue;
        }
        let content = if is_whole {
            object(trimmed, encoding)
        } else {
            position += source.skip_until(b'\n')? as u64;
            let shown = String::from_utf8_lossy(&trimmed[..200]).into_owned();
            Err((Fault::of_row("is longer than 1 MiB"), shown))
        };
        if !take(line, position, content)? {
            return Ok(());
        }
    }
}

fn object(bytes: &[u8], encoding: &'static Encoding) -> Content {
    let text = match encoding::decode(encoding, bytes) {
        Ok(text) => text,
        Err(reason) => {
            return Err((Fault::of_row(reason), String::from_utf8_lossy(bytes).into_owned()));
        }
    };
    match serde_json::from_str(&text) {
        Ok(object @ Value::Object(_)) => Ok((object, text)),
        Ok(_) => Err((Fault::of_row("must be a JSON object, one per line"), text)),
        Err(error) => {
            let reason = format!("is not JSON (column {}): {error}", error.column());
            Err((Fault::of_row(reason), text))
        }
    }
}

/// The leaves of an object by their path. The parser bounds the depth at 128.
fn flatten(path: String, value: Value, found: &mut dyn FnMut(String, Cell)) {
    let below =
        |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(below(&name), value, found);
            }
        }
        Value::Array(items) => {
            for (at, value) in items.into_iter().enumerate() {
                flatten(below(&at.to_string()), value, found);
            }
        }
        Value::Null => found(path, Cell::Empty),
        Value::Bool(value) => found(path, Cell::Bool(value)),
        Value::Number(number) => {
            // A number that floating point cannot hold, such as a long id, stays as written.
            let is_long =
                number.as_i64().map_or(number.is_u64(), |whole| whole.unsigned_abs() >= 1 << 53);
            let cell = match number.as_f64() {
                Some(float) if !is_long => Cell::Number(float),
                _ => Cell::Text(number.to_string()),
            };
            found(path, cell);
        }
        Value::String(text) if text.contains('\0') => {
            let reason = "holds a zero byte: the file is damaged or no text".to_owned();
            found(path, Cell::Unreadable { shown: text.replace('\0', ""), reason });
        }
        Value::String(text) => found(path, Cell::Text(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_inside_become_columns_with_dots() {
        let json = r#"{"id": 900719925474099267, "who": {"email": "a@b.example", "x": null},
            "tags": ["a", 2]}"#;
        let mut found = Vec::new();
        flatten(String::new(), serde_json::from_str(json).expect("valid"), &mut |name, cell| {
            found.push(format!("{name}={}", cell.text()));
        });
        found.sort();
        let expected =
            ["id=900719925474099267", "tags.0=a", "tags.1=2", "who.email=a@b.example", "who.x="];
        assert_eq!(found, expected);
    }
}
