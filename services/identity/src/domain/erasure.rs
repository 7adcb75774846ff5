//! What an erasure takes, and what is left of it.

use kernel::{CustomerId, EvidenceId, TenantId};
use uuid::Uuid;

/// What is left of evidence that was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tombstone {
    /// All places that it had up to this version are void.
    pub(crate) map_version: i64,
    /// Whatever it brought up to this time is void.
    pub(crate) erased_us: i64,
}

/// A row of the ledger: an erasure, or a part of a large one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErasedPart {
    /// Whose.
    pub(crate) tenant: TenantId,
    /// The id of the part.
    pub(crate) part: Uuid,
    /// The erasure that it is part of; the id of its first part.
    pub(crate) erasure: Uuid,
    /// The customer that was in force.
    pub(crate) customer: CustomerId,
    /// The ids that the evidence of the part had founded.
    pub(crate) customers: Vec<CustomerId>,
    /// The evidence with its last map versions.
    pub(crate) evidence: Vec<(EvidenceId, i64)>,
    /// When.
    pub(crate) erased_us: i64,
}

/// What a service says of the parts of an erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// Which service.
    pub(crate) service: String,
    /// How many parts it has committed.
    pub(crate) parts: i64,
    /// When the last of them.
    pub(crate) done_us: i64,
}
