//! Scoring on a real database behind all layers, following real logs of profile's and
//! feedback's contracts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod clock;
mod configuration;
mod damage;
mod learning;
mod race;
mod scores;
mod watching;
mod world;
