//! The SQL of routing, one file per table, each statement a constant beside its function.
//! Knows domain types only.

pub(crate) mod agent;
pub(crate) mod assignment;
pub(crate) mod decision;
pub(crate) mod demand;
pub(crate) mod erase;
pub(crate) mod lease;
pub(crate) mod offer;
pub(crate) mod policy;
pub(crate) mod postponed;
pub(crate) mod queue;
pub(crate) mod stir;
pub(crate) mod transition;
pub(crate) mod unscored;

use ::store::{Error, Resource};

use crate::domain::{Agent, Policy, Team};

impl Resource for Team {
    const KIND: &'static str = "Team";
}

impl Resource for Agent {
    const KIND: &'static str = "Agent";
}

impl Resource for Policy {
    const KIND: &'static str = "RoutingPolicy";
}

/// A stored value that this release cannot read.
pub(crate) fn damaged(what: &str) -> Error {
    Error::damaged(format_args!("a stored {what} does not decode"))
}
