//! Pure types and decisions: what an event is, which attributes are declared, how a batch of
//! events changes fragments and customers.

pub(crate) mod event;
pub(crate) mod fold;
pub(crate) mod merge;
pub(crate) mod schema;
