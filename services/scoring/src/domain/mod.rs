//! What a score is: pure functions of (scorers, weights, behaviour, instant).

mod check;
mod contribution;
mod due;
mod features;
mod model;
mod scorecard;
mod scorer;
mod spec;
mod standing;
#[cfg(test)]
mod tests;
mod traits;

pub(crate) use contribution::Contribution;
pub(crate) use due::next_crossing;
pub(crate) use features::{Features, Logged, Moment};
pub(crate) use model::Knowledge;
pub(crate) use scorer::{Kind, Scored, ScorerSet, Weights};
pub(crate) use spec::{
    GroupSpec, Learning, MAX_SCORERS, ModelSpec, RuleSpec, ScorecardSpec, ThresholdSpec,
};
pub(crate) use standing::{Reached, Standing, transition};
pub(crate) use traits::{TraitKind, TraitSchema};

/// Microseconds of a day.
pub(crate) const DAY_US: i64 = 86_400_000_000;
