//! How demands move through their stages.

use super::outcome::OutcomeResult;
use super::survey::Answers;

/// Which demands.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) start_us: i64,
    pub(crate) end_us: i64,
    /// Empty means all.
    pub(crate) kind: String,
    /// Empty means all.
    pub(crate) team: String,
}

/// Names of the stages, in order. A demand that was only seen further on has passed the
/// stages before, so no conversion is above 1.
pub(crate) const STAGES: [&str; 6] =
    ["created", "offered", "accepted", "started", "closed", "positive"];

/// One stage.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Reached {
    pub(crate) demands: i64,
    /// Microseconds from the stage before: median and 90th percentile.
    pub(crate) dwell: Option<(f64, f64)>,
}

/// How often a result occurred.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tally {
    pub(crate) result: OutcomeResult,
    pub(crate) demands: i64,
    /// Per currency, in millionths.
    pub(crate) values: Vec<(String, i128)>,
}

/// The funnel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Funnel {
    /// As [`STAGES`].
    pub(crate) stages: [Reached; 6],
    pub(crate) results: Vec<Tally>,
    pub(crate) answers: Answers,
}

/// Share of the stage before; 0 if nobody was there.
pub(crate) fn conversion(before: i64, reached: i64) -> f64 {
    if before == 0 { 0.0 } else { reached as f64 / before as f64 }
}
