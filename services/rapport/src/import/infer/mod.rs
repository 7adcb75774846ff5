//! `--infer`: a mapping proposed from headers and values, as YAML with the reason of every
//! choice beside it. It is a proposal that works unchanged on a typical file, and a text that
//! is easier to mend than to write.

mod header;
mod shape;
mod write;

use std::path::Path;

use anyhow::bail;

use super::table::{Reading, Table};
use header::{Role, role, slug};
use shape::Shape;
use write::{Lines, quoted, value};

/// The source of every proposal, and so the prefix of its customer numbers: customers and
/// orders of one system meet, whatever their files are called.
const SOURCE: &str = "crm";

/// A column and what it was found to be.
struct Found {
    name: String,
    role: Option<Role>,
    shape: Shape,
}

/// Proposes a mapping.
pub(super) fn propose(file: &Path, table: &Table, reading: &Reading) -> anyhow::Result<String> {
    let names = table.header.iter().cloned();
    let mut columns: Vec<Found> =
        names.map(|name| Found { role: role(&name), name, shape: Shape::new() }).collect();
    let mut rows = 0_u64;
    table.rows(&mut |item| {
        rows += 1;
        if let Ok(cells) = &item.cells {
            for (column, cell) in columns.iter_mut().zip(cells) {
                column.shape.add(cell);
            }
        }
        Ok(true)
    })?;
    if rows == 0 {
        bail!("{}: only a header, nothing to infer from", file.display());
    }
    for column in &mut columns {
        column.role = role_by_values(column, rows);
    }
    let proposal = Proposal::new(file, table, reading, columns, rows);
    Ok(proposal.write())
}

/// A header promises, the values decide.
fn role_by_values(column: &Found, rows: u64) -> Option<Role> {
    let shape = &column.shape;
    let is_time = || shape.typed_times > 0 || is_time(shape);
    let keeps = match column.role {
        Some(Role::Email) => shape.mostly(shape.emails, 50),
        Some(Role::Phone) => shape.mostly(shape.phones, 50),
        Some(Role::Amount) => shape.mostly(shape.point.max(shape.comma).max(signed(shape)), 80),
        Some(Role::OrderTime | Role::Time) => is_time(),
        Some(Role::Age) => shape.mostly(shape.integers, 95),
        Some(_) => shape.filled > 0,
        None => false,
    };
    if keeps {
        return column.role;
    }
    if shape.mostly(shape.emails, 90) {
        return Some(Role::Email);
    }
    // Order numbers may have eleven digits too, but do not all begin as mobiles do.
    let is_often = shape.filled * 10 > rows;
    (shape.mostly(shape.mobiles, 95) && is_often && column.role.is_none()).then_some(Role::Phone)
}

fn signed(shape: &Shape) -> u64 {
    shape.signs.values().sum()
}

/// Whether nearly all values are times.
fn is_time(shape: &Shape) -> bool {
    let fitting: u64 = shape.formats().iter().map(|(_, count)| count).sum();
    shape.mostly(fitting.max(shape.typed_times), 90)
}

/// The lines of a mapping, each with its reason.
struct Proposal {
    columns: Vec<Found>,
    rows: u64,
    has_decimal_comma: bool,
    is_chinese: bool,
    head: Vec<(String, String)>,
    notes: Vec<String>,
    title: String,
}

impl Proposal {
    fn new(file: &Path, table: &Table, reading: &Reading, columns: Vec<Found>, rows: u64) -> Self {
        let sum = |of: fn(&Shape) -> u64| columns.iter().map(|c| of(&c.shape)).sum::<u64>();
        let has_decimal_comma = sum(|s| s.only_comma) > sum(|s| s.only_point);
        let is_han = |name: &str| name.chars().any(|c| matches!(c, '\u{4e00}'..='\u{9fff}'));
        let is_chinese = table.header.iter().any(|name| is_han(name));
        let mut head = Vec::new();
        if let Some(sheet) = &reading.sheet {
            head.push((format!("sheet: {}", quoted(sheet)), "as told".to_owned()));
        }
        if let Some(encoding) = &reading.encoding {
            head.push((format!("encoding: {}", quoted(encoding)), "as told".to_owned()));
        }
        let title = file.file_name().map(|name| name.to_string_lossy().into_owned());
        Self {
            columns,
            rows,
            has_decimal_comma,
            is_chinese,
            head,
            notes: table.notes.clone(),
            title: title.unwrap_or_default(),
        }
    }

    fn first(&self, role: Role) -> Option<&Found> {
        self.columns.iter().find(|column| column.role == Some(role))
    }

    fn write(&self) -> String {
        let mut lines = Lines::default();
        lines.comment(
            0,
            &format!("Proposed from {} ({} rows). Read it, and try it with", self.title, self.rows),
        );
        lines.comment(0, "`rapport import FILE --mapping THIS --dry-run` before importing.");
        for note in &self.notes {
            lines.comment(0, note);
        }
        let reason = "assumed: name the system, the same in the mappings of all its files";
        lines.add(0, &format!("source: {SOURCE}"), reason);
        for (line, reason) in &self.head {
            lines.add(0, line, reason);
        }
        if self.has_decimal_comma {
            lines.add(0, "decimal: \",\"", "more numbers make sense with a decimal comma");
        }
        let zone = if self.is_chinese { "Asia/Shanghai" } else { "UTC" };
        let reason = if self.is_chinese { "as the headers are Chinese" } else { "assumed" };
        lines.add(0, &format!("zone: {zone}"), &format!("{reason}: of times that carry no zone"));
        lines.blank();
        let order = self.first(Role::OrderNo);
        let amount = self.first(Role::Amount);
        match (order, amount) {
            (Some(order), Some(amount)) if order.shape.is_unique() => {
                self.order(&mut lines, order, amount);
            }
            (Some(order), _) => self.event(&mut lines, Some(order)),
            (None, Some(_)) if self.time().is_some() => self.event(&mut lines, None),
            (None, _) if self.first(Role::EventName).is_some() && self.time().is_some() => {
                self.event(&mut lines, None);
            }
            (None, _) => self.record(&mut lines),
        }
        lines.text
    }

    /// When it happened: the time of an order before other times.
    fn time(&self) -> Option<&Found> {
        self.first(Role::OrderTime).or_else(|| self.first(Role::Time))
    }

    fn order(&self, lines: &mut Lines, order: &Found, amount: &Found) {
        lines.add(0, "ledger:", "an order number and an amount: each row is an order");
        lines.add(2, "- type: order_completed", "");
        lines.add(
            4,
            &format!("entry: {}", quoted(&order.name)),
            "no number stands twice: the natural key",
        );
        lines.add(4, &format!("amount: {}", quoted(&amount.name)), "by its header");
        match (self.first(Role::Currency), amount.shape.signs.iter().max_by_key(|(_, n)| **n)) {
            (Some(currency), _) => {
                let line = format!("currency: {{column: {}}}", quoted(&currency.name));
                lines.add(4, &line, "by its header");
            }
            (None, Some((code, count))) => {
                let line = format!("currency: {code}");
                lines.add(4, &line, &format!("{count} amounts show its sign"));
            }
            (None, None) if self.is_chinese => {
                lines.add(4, "currency: CNY", "assumed: no amount shows a currency");
            }
            (None, None) => {
                lines.add(4, "currency: USD", "assumed: no amount shows a currency");
            }
        }
        if amount.shape.negative > 0 {
            let reason = format!("{} amounts are negative", amount.shape.negative);
            lines.add(4, "negative: refund", &reason);
        }
        if let Some((column, words)) = self.cancelled() {
            let line = format!("unless: {{{}: [{words}]}}", quoted(&column.name));
            lines.add(4, &line, "orders that did not come about");
        }
        let used = [Some(order), Some(amount), self.first(Role::Currency)];
        self.rest(lines, &used, "properties");
    }

    /// A column with words for orders that were cancelled, and the words.
    fn cancelled(&self) -> Option<(&Found, String)> {
        const SIGNS: [&str; 5] = ["cancel", "取消", "已关闭", "交易关闭", "作废"];
        let is_sign = |word: &str| {
            let lower = word.to_lowercase();
            SIGNS.iter().any(|sign| lower.contains(sign))
        };
        self.columns.iter().find_map(|column| {
            let words = column.shape.words.keys().filter(|word| is_sign(word));
            let words: Vec<String> = words.map(|word| quoted(word)).collect();
            (!words.is_empty() && column.shape.words.len() <= 12)
                .then(|| (column, words.join(", ")))
        })
    }

    fn event(&self, lines: &mut Lines, order: Option<&Found>) {
        let named = self.first(Role::EventName).filter(|_| order.is_none());
        let reason = match order {
            Some(order) if order.shape.is_unique() => "an order number, but no amount".to_owned(),
            Some(order) => format!(
                "`{}` stands in several rows: they seem to be the lines of orders, and as orders \
                 they would count more than once",
                order.name
            ),
            None => "a time in each row: something happened".to_owned(),
        };
        lines.add(0, "events:", &reason);
        lines.add(2, "- type: track", "");
        match (named, order) {
            (Some(named), _) => {
                lines.add(
                    4,
                    &format!("name: {{column: {}}}", quoted(&named.name)),
                    "by its header",
                );
            }
            (None, Some(_)) => lines.add(4, "name: Product Ordered", "name it as you like"),
            (None, None) => lines.add(4, "name: Imported", "name it as you like"),
        }
        match order.filter(|order| order.shape.is_unique()) {
            Some(order) => {
                lines.add(4, &format!("key: [{}]", quoted(&order.name)), "no number stands twice");
            }
            None => lines.comment(4, "key: [ … ]  – no column tells the rows apart; until you name one, the whole row does"),
        }
        self.rest(lines, &[named], "properties");
    }

    fn record(&self, lines: &mut Lines) {
        lines.add(0, "records:", "neither orders nor events: each row is about a person");
        let id = [Role::CustomerNo, Role::UserId, Role::MemberNo].into_iter();
        let mut id = id.filter_map(|role| self.first(role));
        let id = id.next().or_else(|| self.fallback()).unwrap_or(&self.columns[0]);
        let line = format!("- key: [{}]", quoted(&id.name));
        lines.add(2, &line, "names the row in its source");
        self.rest(lines, &[], "traits");
    }

    /// Whose row it is if nothing else says so: the first column that tells rows apart.
    fn fallback(&self) -> Option<&Found> {
        let is_code = |column: &&Found| {
            let shape = &column.shape;
            column.role.is_none_or(|role| role.namespace().is_some())
                && shape.is_unique()
                && shape.mostly(shape.filled, 100)
                && !is_time(shape)
        };
        self.columns.iter().find(is_code).or_else(|| self.columns.first())
    }

    /// Time, identifiers, traits and everything else.
    fn rest(&self, lines: &mut Lines, used: &[Option<&Found>], others: &str) {
        let time = self.time();
        if let Some(time) = time {
            let (value, reason) = value(time, "time", self.has_decimal_comma);
            lines.add(4, &format!("time: {value}"), &reason);
        }
        let identifies = self.identifiers(lines);
        let mut rest: [Vec<(String, String, String)>; 2] = [Vec::new(), Vec::new()];
        for column in &self.columns {
            let is_used = used.iter().flatten().any(|other| other.name == column.name)
                || time.is_some_and(|time| time.name == column.name)
                || column.shape.filled == 0;
            let trait_name = column.role.and_then(Role::built_in);
            if is_used || identifies.contains(&column.name) && trait_name.is_none() {
                continue;
            }
            let (value, reason) = value(column, "", self.has_decimal_comma);
            match trait_name {
                Some(name) if rest[0].iter().all(|(known, _, _)| known != name) => {
                    rest[0].push((name.to_owned(), value, reason));
                }
                _ if others == "traits" => rest[0].push((slug(&column.name), value, reason)),
                _ => rest[1].push((slug(&column.name), value, reason)),
            }
        }
        for (title, fields) in ["traits:", "properties:"].into_iter().zip(rest) {
            if fields.is_empty() {
                continue;
            }
            let reason = match title {
                "traits:" => {
                    "attributes of the person; others than the usual ones are shown once declared (kind: Trait)"
                }
                _ => "details, kept with the event",
            };
            lines.add(4, title, reason);
            let mut known: Vec<String> = Vec::new();
            for (name, value, reason) in fields {
                let twice = known.iter().filter(|other| **other == name).count();
                known.push(name.clone());
                let name = if twice > 0 { format!("{name}_{}", twice + 1) } else { name };
                lines.add(6, &format!("{}: {value}", quoted(&name)), &reason);
            }
        }
    }

    fn identifiers(&self, lines: &mut Lines) -> Vec<String> {
        lines.add(4, "identifiers:", "whose it is: at least one in each row");
        let mut known: Vec<&str> = Vec::new();
        let mut names = Vec::new();
        for column in &self.columns {
            let Some(namespace) = column.role.and_then(Role::namespace) else { continue };
            if known.contains(&namespace) || column.shape.filled == 0 {
                continue;
            }
            known.push(namespace);
            names.push(column.name.clone());
            let line = format!("{namespace}: {}", identifier(namespace, &column.name));
            let shape = &column.shape;
            let reason = match namespace {
                "email" => {
                    format!("{} of {} values are e-mail addresses", shape.emails, shape.filled)
                }
                "phone" => format!("{} of {} values are phone numbers", shape.phones, shape.filled),
                "crm_id" => {
                    "by its header; the prefix is the source: other systems need another".to_owned()
                }
                _ => "by its header".to_owned(),
            };
            lines.add(6, &line, &reason);
        }
        if names.is_empty()
            && let Some(column) = self.fallback()
        {
            let line = format!("crm_id: {}", identifier("crm_id", &column.name));
            let reason = "no column is known to identify persons: this one tells rows apart";
            lines.add(6, &line, reason);
            names.push(column.name.clone());
        }
        names
    }
}

fn identifier(namespace: &str, column: &str) -> String {
    if namespace != "crm_id" {
        return quoted(column);
    }
    let prefix = quoted(&format!("{SOURCE}:"));
    format!("{{column: {}, prefix: {prefix}}}", quoted(column))
}
