//! Routing on a real Postgres and Redis, behind all layers.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod configuration;
mod faults;
mod lifecycle;
mod offers;
mod race;
mod router;
mod trigger;
mod world;
