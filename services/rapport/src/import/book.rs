//! What is answered, written down: counts, rejects, how far the import is, and the bar that
//! shows it. The rejects of a batch are on disk before its position is.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use contracts::profile::v1::{Event, FieldViolation, StreamEventsResponse};
use indicatif::{ProgressBar, ProgressStyle};

use super::mapping::{Mapping, Output};
use super::rejects::{Reject, Rejects};
use super::row::Fault;
use super::send::Batch;
use super::state::{Counts, State};

/// How often the position is written down, and the bar moved.
const OFTEN: Duration = Duration::from_millis(250);

/// The account of an import.
#[derive(Debug)]
pub(crate) struct Book {
    state: State,
    path: PathBuf,
    rejects: Rejects,
    saved: Option<Instant>,
    bar: ProgressBar,
    began: Instant,
    rows_at_begin: u64,
    columns: Vec<(String, String)>,
}

impl Book {
    /// From a state on; the bar goes to `size`.
    pub(crate) fn new(
        state: State,
        path: PathBuf,
        rejects: Rejects,
        mapping: &Mapping,
        size: u64,
    ) -> Self {
        let bar = ProgressBar::new(size);
        let template = "  {msg:<44} {wide_bar:.cyan/dim} {percent:>3} %  {eta:>4} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━━─"));
        }
        bar.enable_steady_tick(OFTEN);
        let rows_at_begin = state.rows;
        let columns = columns(&mapping.outputs);
        let (began, saved) = (Instant::now(), None);
        Self { state, path, rejects, saved, bar, began, rows_at_begin, columns }
    }

    /// Rows that are done with.
    pub(crate) const fn rows(&self) -> u64 {
        self.state.rows
    }

    /// Says a line beside the bar.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(std::io::stderr(), "rapport: {line}"); // the terminal may be gone
        });
    }

    /// Books a batch that was answered, or that had nothing to be sent.
    pub(crate) fn settle(
        &mut self,
        mut batch: Batch,
        answer: Option<StreamEventsResponse>,
    ) -> anyhow::Result<()> {
        let mut rejects = std::mem::take(&mut batch.rejects);
        let counts = &mut self.state.counts;
        counts.add(&batch.counts);
        if let Some(answer) = answer {
            counts.accepted += u64::from(answer.accepted.unsigned_abs());
            counts.duplicates += u64::from(answer.duplicates.unsigned_abs());
            let mut lines: Vec<u64> = Vec::new();
            for refused in &answer.rejected {
                let at = refused.index.unsigned_abs() as usize;
                let (Some(event), Some(row)) = (batch.events.get(at), batch.row_of.get(at)) else {
                    continue;
                };
                let (line, raw) = &batch.rows[*row];
                lines.push(*line);
                rejects.extend(refused.violations.iter().map(|violation| Reject {
                    line: *line,
                    fault: fault_of(violation, event, &self.columns),
                    raw: raw.clone(),
                }));
            }
            lines.dedup();
            counts.rejected_rows += lines.len() as u64;
            rejects.sort_by_key(|reject| reject.line);
        }
        self.rejects.add(&rejects)?;
        self.state.rejects_bytes = self.rejects.bytes();
        self.state.rows += batch.counts.rows;
        if self.saved.is_none_or(|saved| saved.elapsed() >= OFTEN) {
            self.save()?;
            self.show(batch.position);
        }
        Ok(())
    }

    /// Writes down how far it is.
    pub(crate) fn save(&mut self) -> anyhow::Result<()> {
        self.saved = Some(Instant::now());
        self.state.save(&self.path)
    }

    fn show(&self, position: u64) {
        let rows = self.state.rows;
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let rate = (rows - self.rows_at_begin) as f64 / seconds;
        self.bar.set_position(position);
        self.bar.set_message(format!("{rows} rows, {rate:.0} per second"));
    }

    /// Takes the bar away, and with a finished import the position too.
    pub(crate) fn close(mut self, is_finished: bool) -> anyhow::Result<Counts> {
        self.bar.finish_and_clear();
        if !is_finished {
            self.save()?;
        } else if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error.into());
        }
        Ok(self.state.counts)
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.repeated += other.repeated;
        self.skipped_rows += other.skipped_rows;
        self.rejected_rows += other.rejected_rows;
    }
}

/// Fields of events and the columns that fill them.
fn columns(outputs: &[Output]) -> Vec<(String, String)> {
    let mut columns = Vec::new();
    for output in outputs {
        let lists = [
            ("identifiers", &output.identifiers),
            ("traits", &output.traits),
            ("properties", &output.properties),
        ];
        for (list, values) in lists {
            for (name, value) in values {
                columns.push((format!("{list}.{name}"), value.shown()));
            }
        }
        columns.extend(output.time.as_ref().map(|time| ("event_time".to_owned(), time.shown())));
    }
    columns
}

/// What the service says of an event, with the column it is about as far as that can be told.
fn fault_of(violation: &FieldViolation, event: &Event, columns: &[(String, String)]) -> Fault {
    let field = violation.field.as_str();
    let index = field.strip_prefix("identifiers[").and_then(|rest| rest.split(']').next());
    let identifier = index.and_then(|index| event.identifiers.get(index.parse::<usize>().ok()?));
    let path = identifier.map_or_else(
        || field.to_owned(),
        |identifier| format!("identifiers.{}", identifier.namespace),
    );
    let column = columns.iter().find(|(known, _)| *known == path);
    let given = |list: &Option<prost_types::Struct>, prefix: &str| {
        let kind = list.as_ref()?.fields.get(path.strip_prefix(prefix)?)?.kind.clone()?;
        Some(shown(&kind))
    };
    let value = identifier
        .map(|identifier| identifier.value.clone())
        .or_else(|| given(&event.traits, "traits."))
        .or_else(|| given(&event.properties, "properties."))
        .unwrap_or_default();
    let column = column.map_or_else(|| path.clone(), |(_, column)| column.clone());
    Fault { column, value, reason: violation.description.clone() }
}

fn shown(kind: &prost_types::value::Kind) -> String {
    match kind {
        prost_types::value::Kind::StringValue(text) => text.clone(),
        prost_types::value::Kind::NumberValue(number) => number.to_string(),
        prost_types::value::Kind::BoolValue(value) => value.to_string(),
        _ => String::new(),
    }
}
