//! An event that passed every check.

use aggregate::{EventFacts, EventKind, LedgerFact, TraitFact, TraitValue};
use kernel::EvidenceId;

/// The limits of `profile.proto`.
pub(crate) mod limit {
    pub(crate) const EVENTS: usize = 500;
    pub(crate) const MESSAGE_ID_BYTES: usize = 255;
    pub(crate) const ENTRY_ID_BYTES: usize = 128;
    pub(crate) const STRUCT_BYTES: usize = 32 * 1_024;
    /// How far ahead of the clock an event may lie.
    pub(crate) const AHEAD_US: i64 = 24 * 3_600 * 1_000_000;
    /// The year 1900: older is a mistake of units.
    pub(crate) const OLDEST_US: i64 = -2_208_988_800_000_000;
}

/// What the fold, the timeline and the ledger need of an event. The payload, with everything,
/// is sealed apart.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) message_id: String,
    pub(crate) kind: EventKind,
    /// The number of the kind in the contract.
    pub(crate) kind_number: i16,
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) occurred_us: i64,
    pub(crate) sent_us: Option<i64>,
    pub(crate) traits: Vec<Given>,
    pub(crate) ledger: Option<LedgerEntry>,
}

/// The value of a declared attribute.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) name: String,
    pub(crate) value: TraitValue,
    pub(crate) personal: bool,
}

/// A fact that adds up, and its number in the source system.
#[derive(Debug, Clone)]
pub(crate) struct LedgerEntry {
    pub(crate) fact: LedgerFact,
    pub(crate) kind_number: i16,
    pub(crate) entry_id: String,
}

impl Event {
    /// Hands the facts to `fold`.
    pub(crate) fn with_facts<R>(
        &self,
        evidence: EvidenceId,
        fold: impl FnOnce(&EventFacts<'_>) -> R,
    ) -> R {
        let traits: Vec<TraitFact<'_>> = self
            .traits
            .iter()
            .map(|given| TraitFact {
                name: &given.name,
                value: &given.value,
                personal: given.personal,
            })
            .collect();
        fold(&EventFacts {
            name: &self.name,
            kind: self.kind,
            event_us: self.occurred_us,
            ledger: self.ledger.as_ref().map(|entry| entry.fact),
            traits: &traits,
            source: &self.source,
            evidence,
            message_id: &self.message_id,
        })
    }
}
