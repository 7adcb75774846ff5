//! What a column may be by its values: all of them are looked at, so that a date format is
//! decided by the rows that tell day from month, wherever they stand.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hasher as _};

use linkage::{Namespace, Rules};

use crate::import::convert::when::{Format, fits};
use crate::import::convert::{currency_of, decimal_mark, is_boolean};
use crate::import::row::Cell;

/// Ways to write a time that are tried, the more common first.
const PATTERNS: [&str; 34] = [
    "iso",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%Y-%m-%d %H:%M",
    "%Y.%m.%d %H:%M:%S",
    "%Y.%m.%d",
    "%Y年%m月%d日 %H:%M:%S",
    "%Y年%m月%d日 %H:%M",
    "%Y年%m月%d日",
    "%Y%m%d%H%M%S",
    "%Y%m%d",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
    "%d-%m-%Y %H:%M",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%d-%m-%y",
    "%m-%d-%y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%b %d, %Y",
    "%Y-%m-%d %H:%M:%S %z",
];
/// After so many values, a format that none of them fits is no longer tried.
const TRIAL: u64 = 200;
/// Words that mean nothing are the mapping's; these are for counting only.
const NOTHING: [&str; 14] =
    ["n/a", "na", "#n/a", "null", "none", "nil", "-", "--", "—", "/", "无", "空", "未知", "暂无"];
const MOST_WORDS: usize = 24;

/// A column's values in numbers.
pub(super) struct Shape {
    pub(super) filled: u64,
    /// Hashes of all values, until one stands twice.
    unique: Option<HashSet<u64>>,
    pub(super) words: BTreeMap<String, u64>,
    pub(super) emails: u64,
    pub(super) phones: u64,
    pub(super) mobiles: u64,
    pub(super) booleans: u64,
    pub(super) typed_times: u64,
    pub(super) integers: u64,
    pub(super) point: u64,
    pub(super) comma: u64,
    pub(super) only_point: u64,
    pub(super) only_comma: u64,
    pub(super) negative: u64,
    /// A number with a zero in front, or too long: a code.
    pub(super) codes: u64,
    pub(super) signs: BTreeMap<&'static str, u64>,
    times: Vec<(Format, u64)>,
    rules: Rules,
}

impl Shape {
    pub(super) fn new() -> Self {
        let times = PATTERNS.iter().filter_map(|name| Some((Format::named(name).ok()?, 0)));
        Self {
            filled: 0,
            unique: Some(HashSet::new()),
            words: BTreeMap::new(),
            emails: 0,
            phones: 0,
            mobiles: 0,
            booleans: 0,
            typed_times: 0,
            integers: 0,
            point: 0,
            comma: 0,
            only_point: 0,
            only_comma: 0,
            negative: 0,
            codes: 0,
            signs: BTreeMap::new(),
            times: times.collect(),
            rules: Rules::default(),
        }
    }

    /// Looks at one value.
    pub(super) fn add(&mut self, cell: &Cell) {
        if matches!(cell, Cell::Unreadable { .. }) {
            return;
        }
        let text = cell.text();
        let text = text.trim();
        if text.is_empty() || NOTHING.contains(&text.to_lowercase().as_str()) {
            return;
        }
        self.filled += 1;
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        if self.unique.as_mut().is_some_and(|seen| !seen.insert(hasher.finish())) {
            self.unique = None;
        }
        if self.words.len() < MOST_WORDS || self.words.contains_key(text) {
            *self.words.entry(text.chars().take(64).collect()).or_default() += 1;
        }
        self.booleans += u64::from(matches!(cell, Cell::Bool(_)) || is_boolean(text));
        self.typed_times += u64::from(matches!(cell, Cell::Time(_)));
        if text.contains('@') {
            let is_email = self.rules.read(&Namespace::EMAIL, text).is_ok();
            self.emails += u64::from(is_email);
            return;
        }
        if text.len() <= 40 && text.chars().any(char::is_numeric) {
            self.number(text);
            self.time(text);
        }
    }

    fn number(&mut self, text: &str) {
        if (7..=24).contains(&text.len()) {
            let digits = text.chars().filter(char::is_ascii_digit).count();
            let is_phone = digits >= 7 && self.rules.read(&Namespace::PHONE, text).is_ok();
            self.phones += u64::from(is_phone);
            let is_mobile = text.len() == 11
                && text.starts_with('1')
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && is_phone;
            self.mobiles += u64::from(is_mobile);
        }
        if let Some(currencies) = currency_of(text) {
            *self.signs.entry(currencies[0]).or_default() += 1;
        }
        let is_code =
            text.len() > 1 && text.starts_with('0') && text.as_bytes()[1].is_ascii_digit();
        self.codes += u64::from(
            is_code
                || text.chars().filter(char::is_ascii_digit).count() > 15 && !text.contains('.'),
        );
        let bare: String =
            text.chars().filter(|c| c.is_ascii_digit() || ".,-+()' ".contains(*c)).collect();
        let is_number = bare.len() == text.len();
        let (point, comma) = decimal_mark(&bare);
        self.negative +=
            u64::from((point || comma) && (bare.starts_with('-') || bare.starts_with('(')));
        self.only_point += u64::from(point && !comma);
        self.only_comma += u64::from(comma && !point);
        if is_number {
            self.point += u64::from(point);
            self.comma += u64::from(comma);
            self.integers +=
                u64::from(text.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit()));
        }
    }

    fn time(&mut self, text: &str) {
        if self.filled > TRIAL {
            self.times.retain(|(_, count)| *count > 0);
        }
        for (format, count) in &mut self.times {
            *count += u64::from(fits(text, format));
        }
    }

    /// Whether no value stands twice.
    pub(super) fn is_unique(&self) -> bool {
        self.unique.is_some() && self.filled > 0
    }

    /// Whether at least so many per cent of the values are of a kind.
    pub(super) const fn mostly(&self, count: u64, percent: u64) -> bool {
        self.filled > 0 && count * 100 >= self.filled * percent
    }

    /// The formats of its times, the best first, and how many values they fit; several where
    /// the column is mixed, but never both orders of day and month.
    pub(super) fn formats(&self) -> Vec<(&str, u64)> {
        let mut ranked: Vec<&(Format, u64)> =
            self.times.iter().filter(|(_, count)| *count > 0).collect();
        ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count)); // stable: the common first
        let mut chosen: Vec<(&str, u64)> = Vec::new();
        let mut covered = 0;
        for (format, count) in ranked {
            let is_other_order =
                chosen.iter().any(|(known, _)| orderless(known) == orderless(format.name()));
            if covered < self.filled && !is_other_order {
                chosen.push((format.name(), *count));
                covered += count;
            }
        }
        chosen
    }

    /// How many values a format fits that has day and month the other way round.
    pub(super) fn other_order(&self, format: &str) -> Option<u64> {
        let is_other = |other: &&(Format, u64)| {
            other.0.name() != format && orderless(other.0.name()) == orderless(format)
        };
        self.times.iter().find(is_other).map(|(_, count)| *count)
    }
}

/// A pattern without the order of day and month.
fn orderless(pattern: &str) -> String {
    pattern.replace("%d", "%m")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(values: &[&str]) -> Shape {
        let mut shape = Shape::new();
        for value in values {
            shape.add(&Cell::Text((*value).to_owned()));
        }
        shape
    }

    #[test]
    fn day_and_month_are_told_by_all_rows() {
        let us = shape(&["01/02/2026", "03/04/2026", "05/31/2026"]);
        assert_eq!(us.formats()[0], ("%m/%d/%Y", 3));
        assert_eq!(us.other_order("%m/%d/%Y"), Some(2));
        let eu = shape(&["01/02/2026 10:00", "31/04/2026 9:00", "30/04/2026 9:00"]);
        assert_eq!(eu.formats()[0], ("%d/%m/%Y %H:%M", 2));
        assert_eq!(shape(&["20-10-16", "01-03-17"]).formats()[0], ("%d-%m-%y", 2));
        assert_eq!(shape(&["2026年4月5日", "2026/4/5"]).formats().len(), 2, "a mixed column");
    }

    #[test]
    fn values_have_shapes() {
        let amounts = shape(&["¥1,234.50", "¥12.00", "-"]);
        assert_eq!((amounts.filled, amounts.signs["CNY"], amounts.only_point), (2, 2, 2));
        let codes = shape(&["00123", "00456"]);
        assert_eq!((codes.codes, codes.is_unique()), (2, true));
        let phones = shape(&["13912345678", "138 1234 5678"]);
        assert_eq!((phones.phones, phones.mobiles, phones.is_unique()), (2, 1, true));
        assert!(!shape(&["a", "b", "a"]).is_unique());
    }
}
