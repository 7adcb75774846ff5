//! The whole stack around a probe service: what a caller sees, and what it cannot do.
#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests, their helpers too")]

mod calls;
mod connections;
mod logs;
mod peers;
mod probe;
mod tokens;
mod wire;
