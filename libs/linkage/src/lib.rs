//! Record linkage: reading identifiers, naming evidence, and the identity graph.
//!
//! A map of the crate: raw text becomes an [`Identifier`] ([`normalise`], under [`Rules`]),
//! a set of them an [`EvidenceSet`] with its deterministic id, and [`graph`] says which
//! evidence is one customer, what must move when more arrives, and why.
//!
//! Invariants: normalisation is frozen per [`normalise::VERSION`], because it enters the
//! evidence id; clusters are a function of the evidence and the decisions, never of the
//! order of arrival; the graph sees keyed hashes of values only. No `Debug` or error text
//! of this crate shows a value.
//!
//! Deliberately absent: I/O, clocks and randomness (ids come in through a closure), fuzzy
//! matching of names and addresses, validity of values in time, and aliases of namespaces.

pub mod evidence;
pub mod graph;
pub mod identifier;
pub mod metrics;
pub mod namespace;
pub mod normalise;
pub mod rules;

pub use evidence::EvidenceSet;
pub use identifier::{Identifier, IgnoreReason};
pub use namespace::Namespace;
pub use rules::{NamespaceRule, Rules};
