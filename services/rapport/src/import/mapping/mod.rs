//! What the columns of a file mean: a mapping, read from YAML and bound to a header. Small
//! typed steps in a fixed order, no scripting: what a mapping does can be read off it.

pub(crate) mod keys;
mod kind;
mod outputs;
mod read;
#[cfg(test)]
mod tests;
mod value;

use jiff::tz::TimeZone;

pub(crate) use read::read;
pub(crate) use value::Value;

use super::convert::{DecimalMark, Kind};
use super::table::Reading;
use crate::apply::resource::{Problem, suggestion};
use crate::apply::yaml::Place;
use contracts::profile::v1::{EventType, LedgerEntryType};

/// What a file's rows become.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    /// The source system; the file's name if absent.
    pub(crate) source: Option<String>,
    /// About the file.
    pub(crate) reading: Reading,
    /// Whether any value has a default zone that nobody chose.
    pub(crate) assumes_zone: bool,
    /// Named values, for the report.
    pub(crate) named: Vec<(String, Value)>,
    /// What each row becomes.
    pub(crate) outputs: Vec<Output>,
}

/// What every value inherits.
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    pub(crate) zone: TimeZone,
    pub(crate) empty: Vec<String>,
    pub(crate) mark: DecimalMark,
    pub(crate) currency: Option<String>,
}

/// A column of the file, by name until it is bound.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// Its position in the header.
    pub(crate) at: usize,
}

/// One event that each row becomes.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// As the mapping calls it: `records[0]`.
    pub(crate) path: String,
    pub(crate) kind: OutputKind,
    /// What stands in the natural key besides the columns.
    pub(crate) tag: String,
    pub(crate) key: Vec<Value>,
    pub(crate) name: Option<Value>,
    pub(crate) time: Option<Value>,
    pub(crate) identifiers: Vec<(String, Value)>,
    pub(crate) traits: Vec<(String, Value)>,
    pub(crate) properties: Vec<(String, Value)>,
    pub(crate) context: Vec<(String, Value)>,
    pub(crate) when: Vec<Condition>,
    pub(crate) unless: Vec<Condition>,
}

/// Which kind of fact.
#[derive(Debug, Clone)]
pub(crate) enum OutputKind {
    /// The state of a person: the content is part of the key.
    Record,
    /// Something that happened.
    Event(EventType),
    /// A fact that adds up.
    Ledger(Box<Ledger>),
}

/// A ledger entry.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    pub(crate) kind: LedgerEntryType,
    pub(crate) entry: Option<Value>,
    pub(crate) amount: Option<Value>,
    pub(crate) currency: Option<Value>,
    pub(crate) points: Option<Value>,
    pub(crate) negative: Negative,
}

/// What an order with a negative amount is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Negative {
    Reject,
    Refund,
    Skip,
}

/// A column that is one of some texts.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) value: Value,
    pub(crate) texts: Vec<String>,
}

impl Output {
    /// All values of it, for binding and for reports.
    fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        let ledger = match &mut self.kind {
            OutputKind::Ledger(ledger) => {
                let Ledger { entry, amount, currency, points, .. } = ledger.as_mut();
                [entry, amount, currency, points].map(Option::as_mut)
            }
            _ => [None, None, None, None],
        };
        let lists =
            [&mut self.identifiers, &mut self.traits, &mut self.properties, &mut self.context];
        let conditions = self.when.iter_mut().chain(&mut self.unless);
        self.key
            .iter_mut()
            .chain(self.name.as_mut())
            .chain(self.time.as_mut())
            .chain(lists.into_iter().flatten().map(|(_, value)| value))
            .chain(ledger.into_iter().flatten())
            .chain(conditions.map(|condition| &mut condition.value))
    }
}

impl Mapping {
    /// Every different value, once; amounts with the value of their currency.
    pub(crate) fn values(&self) -> Vec<(Value, Option<Value>)> {
        let mut values: Vec<(Value, Option<Value>)> = Vec::new();
        for mut output in self.outputs.clone() {
            let currency = match &output.kind {
                OutputKind::Ledger(ledger) => ledger.currency.clone(),
                _ => None,
            };
            for value in output.values_mut() {
                let is_known = values.iter().any(|(known, _)| {
                    known.shown() == value.shown() && known.kind.name() == value.kind.name()
                });
                if !is_known && !value.columns().is_empty() {
                    let is_amount = matches!(value.kind, Kind::Money { .. });
                    values.push((value.clone(), currency.clone().filter(|_| is_amount)));
                }
            }
        }
        values
    }

    /// Finds every column in a header.
    ///
    /// # Errors
    /// The columns that are not there, each with the closest one that is.
    pub(crate) fn bind(&mut self, header: &[String]) -> Result<(), Vec<Problem>> {
        let mut problems: Vec<Problem> = Vec::new();
        let named = self.named.iter_mut().map(|(_, value)| value);
        for value in named.chain(self.outputs.iter_mut().flat_map(Output::values_mut)) {
            for column in value.columns_mut() {
                match header.iter().position(|name| *name == column.name) {
                    Some(at) => column.at = at,
                    None => {
                        let problem = absent(column, header);
                        if !problems.contains(&problem) {
                            problems.push(problem);
                        }
                    }
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The columns that nothing uses.
    pub(crate) fn unused(&mut self, header: &[String]) -> Vec<String> {
        let mut is_used = vec![false; header.len()];
        for value in self.outputs.iter_mut().flat_map(Output::values_mut) {
            for column in value.columns_mut() {
                if let Some(used) = is_used.get_mut(column.at) {
                    *used = true;
                }
            }
        }
        let unused = header.iter().zip(is_used).filter(|(_, is_used)| !is_used);
        unused.map(|(name, _)| name.clone()).collect()
    }
}

fn absent(column: &Column, header: &[String]) -> Problem {
    let name = &column.name;
    let first = format!("{name} (1)");
    let message = if header.contains(&first) {
        format!("the column `{name}` stands twice: write `{first}` or `{name} (2)`")
    } else {
        let known: Vec<&str> = header.iter().take(40).map(String::as_str).collect();
        format!("the file has no column `{name}`{}", suggestion(name, &known))
    };
    Problem { place: column.place, message }
}
