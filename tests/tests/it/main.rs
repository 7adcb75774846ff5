//! The whole house, seen from outside: journeys through every service, the contracts as
//! promised, bad input, faults, and the rules that the source itself keeps.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod apart;
mod apply;
mod backup;
mod bad_input;
mod bi;
mod clients;
mod coverage;
mod edge;
mod erasure;
mod export;
mod faults;
mod house;
mod import;
mod journey;
mod metrics;
mod sdks;
mod segment;
mod snippet;
mod trace;
mod wire;
mod world;
