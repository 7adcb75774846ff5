//! The gateway on a socket, with the real profile and identity behind it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod batches;
mod bounds;
mod doors;
mod refusals;
mod world;
