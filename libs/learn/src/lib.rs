//! Models that learn from outcomes as they arrive, and the measures that say how good a
//! model is.
//!
//! Invariants
//! - A [`Model`] is the fold of an ordered log of labelled examples: the same log gives the
//!   same bytes, and a checkpoint in the middle changes nothing ([`Model::encode`]).
//! - A prediction explains itself: bias plus contributions, added in the listed order, *is*
//!   the logit, to the last bit, recalibration included.
//! - The state is bounded: at most 1,024 weights a model, names and levels at most 128 bytes.
//! - Metrics are pure functions of (probability, label) pairs, fair to ties.
//!
//! Pure: no clock, no randomness, no I/O. Deliberately absent: delay of labels and joining
//! (the label log is the caller's), boosted trees, drift tests.

mod calibration;
mod checkpoint;
mod features;
mod ftrl;
pub mod metrics;
mod model;
mod numeric;

pub use calibration::Recalibration;
pub use checkpoint::CheckpointError;
pub use features::{Example, FeatureValue, Features};
pub use ftrl::Rates;
pub use model::{CALIBRATION, Contribution, MAX_WEIGHTS, Model, Prediction, Settings};
