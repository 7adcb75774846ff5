//! The ordered change log between services.
//!
//! A service [`append`]s what it changed as the last statement of the transaction that changed
//! it; [`Tail`] reads the end of the log, [`FeedService`] serves it to other services, [`watch`]
//! to the public Watch RPCs. Another service's [`Consumer`] applies it with a [`Handler`].
//! [`SCHEMA`] has the tables, [`retention`] keeps them; [`receipt`]s of erasures go the other way.
//!
//! Invariants: `seq` is gapless and in commit order; a checkpoint moves in the transaction of its
//! effect, so an effect is there exactly once; entries of a subject are applied in order, also
//! after one was parked ([`dead_letter`]); a reader that cannot go on from its position is told,
//! never served with a hole. Deliberately absent: an order between feeds, effects outside the
//! database, a broker.

mod append;
pub mod consumer;
pub mod dead_letter;
mod entry;
mod error;
mod handler;
mod metrics;
pub mod receipt;
pub mod retention;
pub mod schema;
mod service;
mod shards;
pub mod tail;
mod upstream;
pub mod watch;

pub use append::{MAX_APPEND, append};
pub use consumer::Consumer;
pub use entry::{Entry, MAX_DATA};
pub use error::Error;
pub use handler::{HandleError, Handler};
pub use metrics::Metrics;
pub use schema::{Head, SCHEMA};
pub use service::{FeedService, SnapshotKey, SnapshotSource};
pub use shards::Shards;
pub use tail::Tail;
pub use upstream::Upstream;
pub use watch::Watch;
