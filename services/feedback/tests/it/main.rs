//! Feedback on a real database behind all layers, following a real log of routing's contract.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod labels;
mod outcomes;
mod reports;
mod world;
