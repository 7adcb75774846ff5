//! The profile service against a real Postgres, a real Redis and a real identity service.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod damage;
mod erasure;
mod fold;
mod ingest;
mod large;
mod privacy;
mod race;
mod read;
mod traits;
mod watch;
mod world;
