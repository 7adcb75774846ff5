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
    pub(crate) reached: Vec<Reached>,
    pub(crate) reasons: Vec<Contribution>,
}

impl Standing {
    /// Empty if below all thresholds.
    pub(crate) fn grade(&self) -> &str {
        self.reached.last().map_or("", |reached| reached.name.as_str())
    }
}

/// A threshold that a score reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) name: String,
    /// The score version at which it was crossed upwards. Versions of a customer only rise, so
    /// no two crossings of a threshold share one, whatever becomes of the scorer in between.
    pub(crate) since: i64,
}

/// New scores beside the old ones.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) scores: Vec<Standing>,
    /// Whether a value, a grade or the set of scorers differs.
    pub(crate) changed: bool,
}

/// Takes new scores, which are version `version` of the customer's if they differ; both lists are
/// by scorer name.
pub(crate) fn transition(before: &[Standing], scored: Vec<Scored>, version: i64) -> Change {
    let mut changed = before.len() != scored.len();
    let mut scores = Vec::with_capacity(scored.len());
    for new in scored {
        let old = before.iter().find(|old| old.scorer == new.scorer && old.kind == new.kind);
        let since = |name: &String| {
            let known = old.and_then(|old| old.reached.iter().find(|known| known.name == *name));
            known.map_or(version, |known| known.since)
        };
        let reasons = new.top_reasons();
        let reached: Vec<Reached> =
            new.reached.into_iter().map(|name| Reached { since: since(&name), name }).collect();
        changed |= old
            .is_none_or(|old| old.value.to_bits() != new.value.to_bits() || old.reached != reached);
        scores.push(Standing {
            reasons,
            scorer: new.scorer,
            kind: new.kind,
            value: new.value,
            probability: new.probability,
            version: new.version,
            reached,
        });
    }
    Change { scores, changed }
}
