//! Types and decisions, pure: time comes in as microseconds since 1970.

pub(crate) mod fact;
pub(crate) mod funnel;
pub(crate) mod outcome;
pub(crate) mod quality;
pub(crate) mod survey;

use kernel::{DemandId, Shard, TenantId};

/// Which demand. The order is the one in which rows are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) tenant: TenantId,
    pub(crate) demand: DemandId,
}

impl Key {
    pub(crate) fn shard(self) -> Shard {
        Shard::of(self.demand.uuid())
    }

    fn order(self) -> (TenantId, Shard, DemandId) {
        (self.tenant, self.shard(), self.demand)
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
