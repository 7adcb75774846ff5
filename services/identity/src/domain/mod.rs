//! Pure decisions and the values that they are made from. No I/O, no clock, no randomness.

mod arrival;
mod erasure;
mod split;
mod triage;

pub(crate) use arrival::{Arrival, Mapping, Origin, Sealed, credit};
pub(crate) use erasure::{ErasedPart, Receipt, Tombstone};
pub(crate) use split::sides;
pub(crate) use triage::triage;
