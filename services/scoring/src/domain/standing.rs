//! The scores a customer has, and how they change.

use super::contribution::Contribution;
use super::scorer::{Kind, Scored};

/// A score as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standing {
    pub(crate) scorer: String,
    pub(crate) kind: Kind,
    pub(crate) value: f64,
    pub(crate) probability: Option<f64>,
    pub(crate) version: i64,
    /// The thresholds that the value reaches, lowest first.
    pub(crate) reached: Vec<String>,
    /// Counts the upward crossings.
    pub(crate) crossing: i64,
    pub(crate) reasons: Vec<Contribution>,
}

impl Standing {
    /// Empty if below all thresholds.
    pub(crate) fn grade(&self) -> &str {
        self.reached.last().map_or("", String::as_str)
    }
}

/// New scores beside the old ones.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) scores: Vec<Standing>,
    /// For each score, the thresholds that it reaches now and did not reach before.
    pub(crate) crossed_up: Vec<Vec<String>>,
    /// Whether a value, a grade or the set of scorers differs.
    pub(crate) changed: bool,
}

/// Takes new scores; both lists are by scorer name.
pub(crate) fn transition(before: &[Standing], scored: Vec<Scored>) -> Change {
    let mut changed = before.len() != scored.len();
    let mut scores = Vec::with_capacity(scored.len());
    let mut all_crossed = Vec::with_capacity(scored.len());
    for new in scored {
        let old = before.iter().find(|old| old.scorer == new.scorer && old.kind == new.kind);
        let known = |name: &String| old.is_some_and(|old| old.reached.contains(name));
        let crossed: Vec<String> =
            new.reached.iter().filter(|name| !known(name)).cloned().collect();
        let same = old.is_some_and(|old| {
            old.value.to_bits() == new.value.to_bits() && old.reached == new.reached
        });
        changed |= !same;
        let crossings = old.map_or(0, |old| old.crossing);
        scores.push(Standing {
            reasons: new.top_reasons(),
            scorer: new.scorer,
            kind: new.kind,
            value: new.value,
            probability: new.probability,
            version: new.version,
            reached: new.reached,
            crossing: crossings + i64::from(!crossed.is_empty()),
        });
        all_crossed.push(crossed);
    }
    Change { scores, crossed_up: all_crossed, changed }
}
