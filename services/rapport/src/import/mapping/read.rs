//! YAML → mapping. Everything that is wrong is found at once and said with line and column.

use std::path::Path;

use jiff::tz::TimeZone;

use super::keys::{self, Key};
use super::value::{From, Otherwise, Value};
use super::{Column, Defaults, Mapping};
use crate::apply::Finding;
use crate::apply::resource::{Problem, suggestion};
use crate::apply::yaml::{self, Node, Place};
use crate::import::convert::{DecimalMark, zone};
use crate::import::table::{Format, Reading};

const EMPTY: [&str; 14] =
    ["n/a", "na", "#n/a", "null", "none", "nil", "-", "--", "—", "/", "无", "空", "未知", "暂无"];

/// Reads a mapping.
///
/// # Errors
/// Everything that is wrong, with file, line and column.
pub(crate) fn read(file: &Path, text: &str) -> Result<Mapping, Vec<Finding>> {
    let finding = |place, message| Finding { file: Some(file.to_owned()), place, message };
    let documents = yaml::parse(text).map_err(|error| {
        let place = error.location().map(|at| Place { line: at.line(), column: at.column() });
        let message = error.to_string();
        vec![finding(place, message.lines().next().unwrap_or("not valid YAML").to_owned())]
    })?;
    let [document] = documents.as_slice() else {
        let message = format!("a mapping is one YAML document, found {}", documents.len());
        return Err(vec![finding(None, message)]);
    };
    let mut reader = Reader::default();
    let mapping = reader.mapping(document);
    match mapping.filter(|_| reader.problems.is_empty()) {
        Some(mapping) => Ok(mapping),
        None => {
            reader.problems.sort_by_key(|problem| problem.place);
            let found = reader.problems.into_iter();
            Err(found.map(|problem| finding(Some(problem.place), problem.message)).collect())
        }
    }
}

/// Collects problems while it reads.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
    pub(super) defaults: Option<Defaults>,
    pub(super) named: Vec<(String, Value)>,
    pub(super) has_zone: bool,
    pub(super) assumes_zone: bool,
}

impl Reader {
    pub(super) fn wrong(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(Problem { place, message: message.into() });
    }

    fn mapping(&mut self, node: &Node) -> Option<Mapping> {
        self.check_keys(node, &[keys::FILE]);
        let reading = self.reading(node);
        let source = self.text_of(node, "source");
        if let (Some(name), Some(at)) = (&source, node.get("source"))
            && (name.is_empty() || name.len() > 64)
        {
            self.wrong(at.place, "`source` must be 1 to 64 bytes");
        }
        let defaults = self.defaults(node);
        self.defaults = Some(defaults);
        for (key, value) in entries(node.get("columns")) {
            let name = key.text.clone();
            if let Some(value) = self.value(value, Some(&name)) {
                self.named.push((name, value));
            }
        }
        let outputs = self.outputs(node);
        Some(Mapping {
            source,
            reading,
            assumes_zone: self.assumes_zone,
            named: std::mem::take(&mut self.named),
            outputs,
        })
    }

    fn reading(&mut self, node: &Node) -> Reading {
        let names: Vec<&str> = Format::NAMES.iter().map(|(name, _)| *name).collect();
        let format = self.one_of(node, "format", &names);
        let delimiter = self.text_of(node, "delimiter").and_then(|text| match text.as_str() {
            "tab" | "\t" => Some(b'\t'),
            _ if text.len() == 1 && !text.contains(['"', '\n', '\r']) => Some(text.as_bytes()[0]),
            _ => {
                let place = node.get("delimiter").map_or(node.place, |node| node.place);
                self.wrong(place, "`delimiter` must be one ASCII sign, or `tab`");
                None
            }
        });
        let header = node.get("header").and_then(|header| match header.value {
            yaml::Value::Integer(line) if (0..=1_000).contains(&line) => Some(line as u64),
            _ => {
                self.wrong(header.place, "`header` must be a line from 1 to 1000, or 0 for none");
                None
            }
        });
        Reading {
            format: format.map(|at| Format::NAMES[at].1),
            encoding: self.text_of(node, "encoding"),
            delimiter,
            without_quotes: self.one_of(node, "quote", &["none"]).is_some(),
            sheet: self.text_of(node, "sheet"),
            header,
        }
    }

    fn defaults(&mut self, node: &Node) -> Defaults {
        self.has_zone = node.get("zone").is_some();
        let zone = self.zone(node).unwrap_or(TimeZone::UTC);
        let empty = match node.get("empty") {
            Some(list) => self.texts(list).iter().map(|text| text.trim().to_lowercase()).collect(),
            None => EMPTY.map(str::to_owned).to_vec(),
        };
        let mark = self.mark(node).unwrap_or_default();
        let currency = self.currency(node);
        Defaults { zone, empty, mark, currency }
    }

    pub(super) fn zone(&mut self, node: &Node) -> Option<TimeZone> {
        let name = self.text_of(node, "zone")?;
        let place = node.get("zone").map_or(node.place, |node| node.place);
        zone(&name).map_err(|reason| self.wrong(place, reason)).ok()
    }

    fn mark(&mut self, node: &Node) -> Option<DecimalMark> {
        let at = self.one_of(node, "decimal", &[".", ","])?;
        Some([DecimalMark::Point, DecimalMark::Comma][at])
    }

    pub(super) fn currency(&mut self, node: &Node) -> Option<String> {
        let code = self.text_of(node, "currency")?;
        if code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Some(code);
        }
        let place = node.get("currency").map_or(node.place, |node| node.place);
        self.wrong(place, "`currency` must be three capital letters such as CNY");
        None
    }

    /// Reads a value: the name of a column or of a named value, or its description.
    /// `named` is the name under `columns` that is being described.
    pub(super) fn value(&mut self, node: &Node, named: Option<&str>) -> Option<Value> {
        if let Some(text) = scalar(node) {
            return Some(self.base(&text, node.place));
        }
        if !matches!(node.value, yaml::Value::Map(_)) {
            let found = node.value.kind();
            self.wrong(node.place, format!("expected a column or a description, found {found}"));
            return None;
        }
        self.check_keys(node, &[keys::VALUE]);
        let mut value = self.start(node, named)?;
        value.place = node.place;
        if let Some(list) = node.get("empty") {
            value.empty = self.texts(list).iter().map(|t| t.trim().to_lowercase()).collect();
        }
        self.part(node, &mut value);
        if let Some(case) = self.one_of(node, "case", &["lower", "upper"]) {
            value.upper = Some(case == 1);
        }
        for (key, meant) in entries(node.get("values")) {
            match scalar(meant) {
                Some(meant) => value.values.push((key.text.clone(), meant)),
                None => self.wrong(meant.place, "expected text (or \"\" for nothing)"),
            }
        }
        if let Some(at) = self.one_of(node, "otherwise", &["reject", "keep", "empty"]) {
            value.otherwise = [Otherwise::Reject, Otherwise::Keep, Otherwise::Empty][at];
        }
        value.default = self.text_of(node, "default").or(value.default);
        value.prefix = self.text_of(node, "prefix").unwrap_or(value.prefix);
        value.mark = self.mark(node).unwrap_or(value.mark);
        self.kind(node, &mut value);
        match node.get("required").map(|node| (&node.value, node.place)) {
            Some((yaml::Value::Bool(is_required), _)) => value.is_required = *is_required,
            Some((_, place)) => self.wrong(place, "`required` must be true or false"),
            None => {}
        }
        Some(value)
    }

    /// The value that a description begins with.
    fn start(&mut self, node: &Node, named: Option<&str>) -> Option<Value> {
        let sources = ["column", "constant", "join"];
        let given: Vec<&str> = sources.into_iter().filter(|key| node.get(key).is_some()).collect();
        match given.as_slice() {
            [] => match named {
                Some(name) => Some(self.base(name, node.place)),
                None => {
                    self.wrong(node.place, "a value needs `column`, `constant` or `join`");
                    None
                }
            },
            ["column"] => {
                let name = self.text_of(node, "column")?;
                let place = node.get("column").map_or(node.place, |node| node.place);
                Some(self.base(&name, place))
            }
            ["constant"] => {
                let text = self.text_of(node, "constant")?;
                let defaults = self.defaults.clone()?;
                Some(Value::plain(From::Constant(text), node.place, &defaults))
            }
            ["join"] => self.join(node),
            _ => {
                self.wrong(node.place, "a value has one of `column`, `constant`, `join`");
                None
            }
        }
    }

    fn join(&mut self, node: &Node) -> Option<Value> {
        let list = node.get("join")?;
        let yaml::Value::List(items) = &list.value else {
            self.wrong(list.place, "`join` must be a list of columns");
            return None;
        };
        let mut columns = Vec::new();
        for item in items {
            match scalar(item) {
                Some(name) => columns.push(Column { name, place: item.place, at: 0 }),
                None => self.wrong(item.place, "expected the name of a column"),
            }
        }
        let with = self.text_of(node, "with").unwrap_or_else(|| " ".to_owned());
        let defaults = self.defaults.clone()?;
        Some(Value::plain(From::Join(columns, with), node.place, &defaults))
    }

    /// A named value, or the column of that name.
    fn base(&mut self, name: &str, place: Place) -> Value {
        if let Some((_, value)) = self.named.iter().find(|(known, _)| known == name) {
            return value.clone();
        }
        let defaults = self.defaults.clone().unwrap_or_else(|| Defaults {
            zone: TimeZone::UTC,
            empty: Vec::new(),
            mark: DecimalMark::Point,
            currency: None,
        });
        let column = Column { name: name.to_owned(), place, at: 0 };
        Value::plain(From::Column(column), place, &defaults)
    }

    fn part(&mut self, node: &Node, value: &mut Value) {
        let Some(part) = node.get("part") else { return };
        let by = part.get("by").and_then(scalar).filter(|by| !by.is_empty());
        let index = part.get("index").map(|index| &index.value);
        match (by, index) {
            (Some(by), Some(yaml::Value::Integer(index))) if *index != 0 => {
                value.part = Some((by, *index));
            }
            _ => self.wrong(part.place, "`part` must be such as {by: \"/\", index: 1}"),
        }
    }

    pub(super) fn check_keys(&mut self, node: &Node, tables: &[&[Key]]) {
        let yaml::Value::Map(fields) = &node.value else {
            let found = node.value.kind();
            self.wrong(node.place, format!("expected a mapping, found {found}"));
            return;
        };
        let known: Vec<&str> =
            tables.iter().flat_map(|table| table.iter().map(|key| key.name)).collect();
        for (at, (key, _)) in fields.iter().enumerate() {
            if !known.contains(&key.text.as_str()) {
                let hint = suggestion(&key.text, &known);
                self.wrong(key.place, format!("unknown key `{}`{hint}", key.text));
            }
            if fields[..at].iter().any(|(other, _)| other.text == key.text) {
                self.wrong(key.place, format!("the key `{}` stands twice", key.text));
            }
        }
    }

    /// The text of a key.
    pub(super) fn text_of(&mut self, node: &Node, key: &str) -> Option<String> {
        let found = node.get(key)?;
        let text = scalar(found);
        if text.is_none() {
            let kind = found.value.kind();
            self.wrong(found.place, format!("`{key}` must be text, found {kind}"));
        }
        text
    }

    /// The position of a key's word among those it may be.
    pub(super) fn one_of(&mut self, node: &Node, key: &str, words: &[&str]) -> Option<usize> {
        let text = self.text_of(node, key)?;
        let found = words.iter().position(|word| *word == text);
        if found.is_none() {
            let place = node.get(key).map_or(node.place, |node| node.place);
            self.wrong(place, format!("`{key}: {text}`{}", suggestion(&text, words)));
        }
        found
    }

    /// One text or a list of them.
    pub(super) fn texts(&mut self, node: &Node) -> Vec<String> {
        if let yaml::Value::List(items) = &node.value {
            let mut texts = Vec::new();
            for item in items {
                match scalar(item) {
                    Some(text) => texts.push(text),
                    None => self.wrong(item.place, "expected text"),
                }
            }
            return texts;
        }
        match scalar(node) {
            Some(text) => vec![text],
            None => {
                self.wrong(node.place, "expected text, or a list of texts");
                Vec::new()
            }
        }
    }
}

/// Text, or a number or truth value as it is written.
pub(super) fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        yaml::Value::Text(text) => Some(text.clone()),
        yaml::Value::Integer(number) => Some(number.to_string()),
        yaml::Value::Number(number) => Some(number.to_string()),
        yaml::Value::Bool(value) => Some(value.to_string()),
        yaml::Value::Null => Some(String::new()),
        yaml::Value::List(_) | yaml::Value::Map(_) => None,
    }
}

pub(super) fn entries(node: Option<&Node>) -> &[(yaml::Key, Node)] {
    match node.map(|node| &node.value) {
        Some(yaml::Value::Map(entries)) => entries,
        _ => &[],
    }
}
