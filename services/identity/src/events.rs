//! What other services hear of the graph: evidence that moved, ids that lead elsewhere.
//!
//! New evidence is not told: who brings it learns its customer from the answer of Resolve.
//! Nothing personal is in here: ids and counters only.

use bytes::Bytes;
use contracts::identity::v1::{
    CustomerErased, CustomerRedirected, ErasedEvidence, EventKind, EvidenceMoved,
};
use feed::Entry;
use kernel::{CustomerId, EvidenceId, TenantId};
use prost::Message;

use crate::domain::ErasedPart;

/// Evidence belongs to another customer.
#[must_use]
pub fn evidence_moved(
    tenant: TenantId,
    evidence: EvidenceId,
    (from, to): (CustomerId, CustomerId),
    map_version: i64,
) -> Entry {
    let data = EvidenceMoved { customer_id: bytes(to), previous_customer_id: bytes(from) };
    let kind = EventKind::EvidenceMoved as i16;
    Entry::new(tenant, evidence.uuid(), kind, map_version, data.encode_to_vec().into())
}

/// A customer id leads to another customer, or to itself again.
#[must_use]
pub fn customer_redirected(
    tenant: TenantId,
    customer: CustomerId,
    into: CustomerId,
    redirect_version: i64,
) -> Entry {
    let data = CustomerRedirected { into_customer_id: bytes(into) };
    let kind = EventKind::CustomerRedirected as i16;
    Entry::new(tenant, customer.uuid(), kind, redirect_version, data.encode_to_vec().into())
}

/// A customer, or a part of a large one, is gone for good.
pub(crate) fn customer_erased(part: &ErasedPart) -> Entry {
    let evidence = part.evidence.iter().map(|(id, map_version)| ErasedEvidence {
        evidence_id: Bytes::copy_from_slice(id.as_bytes()),
        map_version: *map_version,
    });
    let data = CustomerErased {
        customer_ids: part.customers.iter().map(|id| bytes(*id)).collect(),
        evidence: evidence.collect(),
        erase_us: part.erased_us,
    };
    let kind = EventKind::CustomerErased as i16;
    Entry::new(part.tenant, part.part, kind, 1, data.encode_to_vec().into())
}

fn bytes(id: CustomerId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}
