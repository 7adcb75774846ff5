//! `--dry-run`: reads and converts everything, sends nothing, and says what it found.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hasher as _};

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table as Grid};
use contracts::profile::v1::{Event, EventType, LedgerEntryType};
use linkage::{Namespace, Rules};
use serde_json::{Value as Json, json};

use super::event::Converter;
use super::mapping::{Mapping, Value};
use super::row::{Cell, Item};
use super::state::Counts;
use super::table::Table;

/// Distinct values are counted up to here.
const MOST_DISTINCT: usize = 100_000;
const EXAMPLES: usize = 3;

/// What a dry run found.
#[derive(Debug)]
pub struct DryRun {
    /// In numbers; nothing is accepted, because nothing was sent.
    pub counts: Counts,
    /// Events that would be sent.
    pub events: u64,
    /// The report for people.
    pub report: String,
}

#[derive(Debug, Default)]
struct Column {
    uses: Vec<String>,
    empty: u64,
    distinct: HashSet<u64>,
    converted: u64,
    failing: u64,
    examples: Vec<String>,
}

#[derive(Debug, Default)]
struct Found {
    identifiers: BTreeMap<String, (u64, u64)>,
    from: Option<i64>,
    to: Option<i64>,
    untimed: u64,
    first: Vec<Event>,
    faults: BTreeMap<String, u64>,
    first_faults: Vec<String>,
}

pub(super) fn run(
    table: Table,
    mut mapping: Mapping,
    source: String,
    warnings: Vec<String>,
) -> anyhow::Result<DryRun> {
    let unused = mapping.unused(&table.header);
    let values = mapping.values();
    let mut columns: Vec<Column> = table.header.iter().map(|_| Column::default()).collect();
    for (value, _) in &values {
        for column in value.columns() {
            let uses = &mut columns[column.at].uses;
            let kind = value.kind.name().to_owned();
            if !uses.contains(&kind) {
                uses.push(kind);
            }
        }
    }
    let mut converter = Converter::new(mapping, source, table.header.clone());
    let mut found = Found::default();
    let (mut counts, mut events) = (Counts::default(), 0);
    table.rows(&mut |item| {
        if let Ok(cells) = &item.cells {
            watch(&mut columns, &values, cells);
        }
        let judged = converter.judge(&item);
        counts.rows += 1;
        counts.repeated += judged.repeated;
        counts.rejected_rows += u64::from(!judged.faults.is_empty());
        let is_nothing = judged.events.is_empty() && judged.faults.is_empty();
        counts.skipped_rows += u64::from(is_nothing && judged.repeated == 0);
        events += judged.events.len() as u64;
        found.add(&item, judged);
        Ok(true)
    })?;
    if counts.rows == 0 {
        anyhow::bail!("only a header, nothing to import");
    }
    let mut report = String::new();
    let mut notes = [table.notes.clone(), warnings].concat();
    if !unused.is_empty() {
        notes.push(format!("not used: {}", unused.join(", ")));
    }
    if converter.is_full() {
        notes.push("more natural keys than are compared within one run".to_owned());
    }
    for note in notes {
        report.push_str(&format!("{note}\n"));
    }
    report.push_str(&format!("\n{}\n\n", grid(&table.header, &columns)));
    found.tell(&counts, events, &mut report);
    Ok(DryRun { counts, events, report })
}

fn watch(columns: &mut [Column], values: &[(Value, Option<Value>)], cells: &[Cell]) {
    for (column, cell) in columns.iter_mut().zip(cells) {
        if cell.is_blank() {
            column.empty += 1;
        } else if column.distinct.len() < MOST_DISTINCT {
            let mut hasher = DefaultHasher::new();
            hasher.write(cell.text().as_bytes());
            column.distinct.insert(hasher.finish());
        }
    }
    for (value, currency) in values {
        let Some(at) = value.columns().first().map(|column| column.at) else { continue };
        let currency = currency.as_ref().and_then(|currency| currency.text(cells).ok()?);
        match value.of(cells, currency.as_deref()) {
            Ok(None) => {}
            Ok(Some(_)) => columns[at].converted += 1,
            Err(fault) => {
                columns[at].failing += 1;
                let examples = &mut columns[at].examples;
                let example = format!("{:?}: {}", short(&fault.value), fault.reason);
                if examples.len() < EXAMPLES && !examples.contains(&example) {
                    examples.push(example);
                }
            }
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

fn grid(header: &[String], columns: &[Column]) -> Grid {
    let mut grid = Grid::new();
    let titles = ["column", "read as", "empty", "distinct", "converted", "failing", "examples"];
    grid.load_style(UTF8_HORIZONTAL_ONLY).set_header(titles);
    for (name, column) in header.iter().zip(columns) {
        let distinct = match column.distinct.len() {
            MOST_DISTINCT => format!("{MOST_DISTINCT}+"),
            distinct => distinct.to_string(),
        };
        grid.add_row([
            name.clone(),
            column.uses.join(", "),
            column.empty.to_string(),
            distinct,
            column.converted.to_string(),
            column.failing.to_string(),
            column.examples.join("\n"),
        ]);
    }
    for at in 2..6 {
        if let Some(column) = grid.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    grid
}

impl Found {
    fn add(&mut self, item: &Item, judged: super::event::Judged) {
        for fault in judged.faults {
            *self.faults.entry(fault.column.clone()).or_default() += 1;
            if self.first_faults.len() < 10 {
                let at = if fault.column.is_empty() { "the row" } else { &fault.column };
                self.first_faults.push(format!("line {}: {at}: {}", item.line, fault.reason));
            }
        }
        for event in judged.events {
            for identifier in &event.identifiers {
                let (all, usable) =
                    self.identifiers.entry(identifier.namespace.clone()).or_default();
                *all += 1;
                let namespace = identifier.namespace.parse::<Namespace>();
                let rules = Rules::default();
                let is_usable =
                    namespace.is_ok_and(|name| rules.read(&name, &identifier.value).is_ok());
                *usable += u64::from(is_usable);
            }
            match &event.event_time {
                Some(time) => {
                    self.from = Some(self.from.map_or(time.seconds, |at| at.min(time.seconds)));
                    self.to = Some(self.to.map_or(time.seconds, |at| at.max(time.seconds)));
                }
                None => self.untimed += 1,
            }
            if self.first.len() < 3 {
                self.first.push(event);
            }
        }
    }

    fn tell(&self, counts: &Counts, events: u64, report: &mut String) {
        let Counts { rows, rejected_rows, skipped_rows, repeated, .. } = counts;
        report.push_str(&format!(
            "{rows} rows → {events} events; {rejected_rows} rows refused, {skipped_rows} left \
             out by conditions, {repeated} events repeated\n"
        ));
        for (namespace, (all, usable)) in &self.identifiers {
            let rest = match all - usable {
                0 => String::new(),
                rest => format!(" ({rest} are placeholders, masked or malformed, and ignored)"),
            };
            report.push_str(&format!("identifier {namespace}: {all} values{rest}\n"));
        }
        let day = |seconds: Option<i64>| {
            let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
            time.map(|time| time.to_string())
        };
        if let (Some(from), Some(to)) = (day(self.from), day(self.to)) {
            report.push_str(&format!("time: from {from} to {to}\n"));
        }
        if self.untimed > 0 {
            let untimed = self.untimed;
            report.push_str(&format!("{untimed} events have no time: that of the import counts\n"));
        }
        if !self.first_faults.is_empty() {
            report.push_str("\nThe first refused rows:\n");
            for fault in &self.first_faults {
                report.push_str(&format!("  {fault}\n"));
            }
        }
        report.push_str("\nThe first events:\n");
        for event in &self.first {
            let shown = serde_json::to_string_pretty(&json_of(event));
            report.push_str(&format!("{}\n", shown.unwrap_or_default()));
        }
    }
}

/// An event as JSON, without what is absent.
fn json_of(event: &Event) -> Json {
    let identifiers: Vec<Json> = event
        .identifiers
        .iter()
        .map(|identifier| json!({"namespace": identifier.namespace, "value": identifier.value}))
        .collect();
    let mut shown = json!({
        "messageId": event.message_id,
        "type": EventType::try_from(event.r#type).unwrap_or_default().as_str_name(),
        "name": event.name,
        "identifiers": identifiers,
        "source": event.source,
    });
    let time = event.event_time.as_ref();
    let time = time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok());
    if let Some(time) = time {
        shown["eventTime"] = json!(time.to_string());
    }
    let parts =
        [("properties", &event.properties), ("traits", &event.traits), ("context", &event.context)];
    for (name, part) in parts {
        if let Some(part) = part {
            let fields = part.fields.iter().map(|(name, value)| (name.clone(), json_value(value)));
            shown[name] = Json::Object(fields.collect());
        }
    }
    if let Some(entry) = &event.ledger_entry {
        let kind = LedgerEntryType::try_from(entry.r#type).unwrap_or_default().as_str_name();
        let amount = entry.amount.as_ref().map(|money| {
            json!({"currencyCode": money.currency_code, "units": money.units.to_string(),
                "nanos": money.nanos})
        });
        shown["ledgerEntry"] = json!({"type": kind, "entryId": entry.entry_id,
            "amount": amount, "points": entry.points.to_string()});
    }
    shown
}

fn json_value(value: &prost_types::Value) -> Json {
    match &value.kind {
        Some(prost_types::value::Kind::StringValue(text)) => json!(text),
        Some(prost_types::value::Kind::NumberValue(number)) if number.fract() == 0.0 => {
            json!(*number as i64) // exact: larger ones are not made
        }
        Some(prost_types::value::Kind::NumberValue(number)) => json!(number),
        Some(prost_types::value::Kind::BoolValue(value)) => json!(value),
        _ => Json::Null,
    }
}
