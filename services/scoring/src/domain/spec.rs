//! Scorecards and model policies as they are saved.

use serde::{Deserialize, Serialize};

/// Scorers of one tenant, both kinds together: all their scores go into one feed entry.
pub(crate) const MAX_SCORERS: usize = 30;
/// Rules of one scorecard.
pub(crate) const MAX_RULES: usize = 200;
/// Thresholds of one scorer.
pub(crate) const MAX_THRESHOLDS: usize = 15;
/// Features of one model.
pub(crate) const MAX_FEATURES: usize = 64;
/// Points are between minus and plus this, so that every sum is exact.
pub(crate) const MAX_POINTS: f64 = 10_000.0;

/// Points per predicate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScorecardSpec {
    pub(crate) base_points: f64,
    pub(crate) rules: Vec<RuleSpec>,
    pub(crate) groups: Vec<GroupSpec>,
    pub(crate) thresholds: Vec<ThresholdSpec>,
    pub(crate) description: String,
}

/// One rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RuleSpec {
    pub(crate) name: String,
    pub(crate) when: String,
    pub(crate) points: f64,
    /// Empty for none.
    pub(crate) group: String,
    pub(crate) half_life_us: Option<i64>,
    /// Empty without half-life.
    pub(crate) decay_since: String,
}

/// A cap on the sum of some rules.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupSpec {
    pub(crate) name: String,
    pub(crate) max_points: Option<f64>,
    pub(crate) min_points: Option<f64>,
}

/// A value that matters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ThresholdSpec {
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// A model that learns from outcomes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModelSpec {
    pub(crate) features: Vec<String>,
    pub(crate) learning: Learning,
    /// Empty means all.
    pub(crate) demand_kinds: Vec<String>,
    pub(crate) thresholds: Vec<ThresholdSpec>,
    pub(crate) description: String,
}

/// Whether labels change a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Learning {
    /// Each label is learned once, in order.
    On,
    /// The weights stay as they are.
    Frozen,
}
