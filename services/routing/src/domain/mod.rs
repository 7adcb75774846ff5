//! Pure types and decisions: no clock, no database, no protobuf.

pub(crate) mod agent;
pub(crate) mod demand;
pub(crate) mod eligibility;
pub(crate) mod hours;
pub(crate) mod machine;
pub(crate) mod offer;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod rank;

pub(crate) use agent::{Agent, Presence, Team};
pub(crate) use demand::{Closing, Demand, Money, Outcome, Score, State};
pub(crate) use machine::{Change, Command, Refusal, Timing, Transition};
pub(crate) use offer::{Offer, OfferState};
pub(crate) use policy::Policy;
