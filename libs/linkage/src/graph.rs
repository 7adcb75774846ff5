//! The identity graph: evidence joined by the values that it has in common.
//!
//! Two pieces of evidence are one customer if a chain of common values or merge decisions
//! joins them. A value that was seen with too many values of a unique namespace is *shared*
//! (a hotline, a kiosk) and joins nothing ([`companions`]); a separation keeps its two sides
//! apart whatever they have in common ([`decision`]).
//!
//! [`partition`](fn@partition) is a pure function of the set of evidence, the set of shared
//! values and the decisions. [`plan`](fn@plan) is the same function applied to the part of
//! the graph that new evidence can change, turned into moves. Values come as keyed hashes.

pub mod companions;
pub mod decision;
pub mod explain;
pub mod partition;
pub mod plan;

use std::hash::{BuildHasherDefault, Hash, Hasher};

use kernel::EvidenceId;

pub use companions::{Companion, Ledger};
pub use decision::{Decisions, Link, Separation};
pub use explain::{Joint, Refusal, Step, path, refusals};
pub use partition::{Partition, partition};
pub use plan::{Founding, Merge, Move, Neighbourhood, Placed, Placement, Plan, Split, plan};

use crate::Namespace;

/// The keyed hash of one identifier; values of different namespaces have different keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueKey([u8; 16]);

impl ValueKey {
    /// Wraps the first 16 bytes of a keyed hash.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, as they are stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Hash for ValueKey {
    /// Eight bytes are enough: they are a keyed hash already.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// Takes a value key as its own hash. Nobody without the tenant's key can choose one.
#[derive(Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A map by value key.
pub type ByValue<T> = std::collections::HashMap<ValueKey, T, BuildHasherDefault<KeyHasher>>;

/// One value of a piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// What kind of value.
    pub namespace: Namespace,
    /// Which one.
    pub key: ValueKey,
}

/// A piece of evidence as the graph sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Its id.
    pub id: EvidenceId,
    /// Its different values, in any order.
    pub values: Vec<Value>,
}

impl Evidence {
    /// True if at least one value may link. Evidence that is not anchored (nothing but a hotline
    /// number) identifies nobody: it is a customer of its own, and as equal sets have one
    /// id, all events that carry just this set meet in it. A caller that lists events
    /// rather than evidence should count each of them alone.
    #[must_use]
    pub fn is_anchored(&self, shared: impl Fn(&ValueKey) -> bool) -> bool {
        self.values.iter().any(|value| !shared(&value.key))
    }
}
