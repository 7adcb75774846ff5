//! A reservation of a demand for an agent.

use kernel::{DemandId, OfferId, Shard, TenantId};

/// Where an offer stands. The numbers are stored and those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfferState {
    Pending = 1,
    Accepted = 2,
    Declined = 3,
    TimedOut = 4,
}

impl OfferState {
    pub(crate) fn from_number(number: i16) -> Option<Self> {
        use OfferState::{Accepted, Declined, Pending, TimedOut};
        [Pending, Accepted, Declined, TimedOut].into_iter().find(|state| *state as i16 == number)
    }
}

/// An offer as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) tenant: TenantId,
    pub(crate) id: OfferId,
    pub(crate) demand: DemandId,
    pub(crate) agent: String,
    pub(crate) state: OfferState,
    pub(crate) created_us: i64,
    pub(crate) expire_us: i64,
}

impl Offer {
    pub(crate) fn shard(&self) -> Shard {
        Shard::of(self.id.uuid())
    }
}
