//! The vocabulary that every crate of Rapport shares: typed ids, the kinds of faults and
//! the violations of bad input.
//!
//! Pure: no tokio, tonic or sqlx, no clock and no randomness. A wrong id does not compile,
//! a fault says what the caller may do about it, and a check of input returns *all* that
//! is wrong with it, not the first thing.

pub mod fault;
pub mod id;
pub mod page;
pub mod shard;
pub mod violation;

pub use fault::{Fault, Kind};
pub use id::{
    AgentName, CustomerId, DecisionId, DemandId, EvidenceId, OfferId, OutcomeId, RequestId,
    TeamName, TenantId, UseId,
};
pub use shard::Shard;
pub use violation::{Violation, Violations};
