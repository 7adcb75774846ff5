//! The tables: one file per aggregate, SQL beside the function that uses it.
//!
//! All functions take the connection of the caller's transaction or read. Rows are found by key
//! through `lateral (… limit 1)`: one index probe per key, whatever the planner believes of
//! the size of an array. What changes the graph is called under [`lock::tenant`] only.

pub(crate) mod customer;
pub(crate) mod decision;
pub(crate) mod erasure;
pub(crate) mod evidence;
pub(crate) mod lock;
pub(crate) mod refs;
pub(crate) mod snapshot;
pub(crate) mod tombstone;
pub(crate) mod value;

use kernel::Shard;
use uuid::Uuid;

/// The shards of some keys, for `unnest` beside them.
pub(crate) fn shards(keys: &[Uuid]) -> Vec<i16> {
    keys.iter().map(|key| Shard::of(*key).number()).collect()
}
