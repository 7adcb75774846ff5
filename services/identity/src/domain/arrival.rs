//! New evidence on its way in, and what its caller is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kernel::{CustomerId, EvidenceId};
use linkage::Rules;
use linkage::graph::{Evidence, Merge, Placed, ValueKey};

/// Personal data at rest: a data key under the key of the tenant, content under the data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// The wrapped data key.
    pub(crate) wrapped_key: Vec<u8>,
    /// What it seals.
    pub(crate) content: Vec<u8>,
}

/// New evidence, ready to be stored.
pub(crate) struct Arrival {
    /// As the graph sees it.
    pub(crate) evidence: Evidence,
    /// As it is stored.
    pub(crate) sealed: Sealed,
    /// The rules that it was read by.
    pub(crate) rules: Arc<Rules>,
    /// When it came, in microseconds since 1970.
    pub(crate) now_us: i64,
    /// When it was seen.
    pub(crate) event_us: i64,
    /// The trace of the call that brought it.
    pub(crate) traceparent: Option<String>,
}

/// Where evidence belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// The evidence.
    pub(crate) evidence: EvidenceId,
    /// Its customer now.
    pub(crate) customer: CustomerId,
    /// How often it moved, from 1.
    pub(crate) map_version: i64,
    /// Until when everything that it brought is void, because a former customer was erased.
    pub(crate) erased_us: Option<i64>,
}

/// What an arrival brought about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// It opened its customer.
    pub(crate) created: bool,
    /// Customers that it joined to its own.
    pub(crate) merged: Vec<CustomerId>,
}

/// Says which arrival of a batch each merge is owed to: the first, in the order they came, that
/// carries a value of the customer that is no more; else the first in the winning customer.
pub(crate) fn credit(
    arrivals: &[(&Evidence, CustomerId)],
    placed: &[Placed],
    merges: &[Merge],
) -> BTreeMap<EvidenceId, Vec<CustomerId>> {
    let mut credited: BTreeMap<EvidenceId, Vec<CustomerId>> = BTreeMap::new();
    for merge in merges {
        let of_loser = placed.iter().filter(|known| known.customer == merge.loser);
        let values: BTreeSet<ValueKey> =
            of_loser.flat_map(|known| &known.evidence.values).map(|value| value.key).collect();
        let mut winners = arrivals.iter().filter(|(_, customer)| *customer == merge.winner);
        let first = winners.clone().next();
        let touching = winners
            .find(|(evidence, _)| evidence.values.iter().any(|value| values.contains(&value.key)));
        if let Some((evidence, _)) = touching.or(first) {
            credited.entry(evidence.id).or_default().push(merge.loser);
        }
    }
    credited
}
