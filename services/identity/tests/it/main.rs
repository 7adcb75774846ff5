//! The service behind its layers, on a real Postgres.
#![expect(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod decisions;
mod erasure;
mod feed;
mod history;
mod interleaving;
mod privacy;
mod resolve;
mod rules;
mod stream;
mod world;
