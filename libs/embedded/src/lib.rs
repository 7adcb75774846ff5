//! Private Postgres and Redis servers under a data directory: initialise, adopt, supervise.
//!
//! Invariants:
//! - one data directory has at most one server; starting is serialised by a file lock in it;
//! - a server that survived its owner (`kill -9`) is adopted by the next start if it runs
//!   with the wanted settings, otherwise it is stopped and started anew;
//! - a server sits in its own process group, so Ctrl-C reaches the owner only;
//! - as root the servers run under an unprivileged account (Postgres refuses root);
//! - without [`Listen::Loopback`] a server is reachable through a unix socket in a 0700
//!   directory and nowhere else.
//!
//! Deliberately absent: replication, upgrades between major versions, Windows, and any
//! persistence in Redis – it is a cache and a wake-up bell, never a store.

mod account;
mod binaries;
mod error;
mod layout;
mod postgres;
mod process;
mod redis;
mod server;
mod survey;

pub use error::Error;
pub use layout::lock;
pub use postgres::{Incoming, Listen, Postgres, PostgresOptions, Unpacking};
pub use redis::{Redis, RedisOptions};
pub use server::{Care, OnDrop};
