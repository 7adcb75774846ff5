//! The feed against a real Postgres.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod consumer;
mod log;
mod retention;
mod tail;
mod trouble;
mod world;
