//! What is sealed, under which key, bound to which place.

use ::store::envelope::{self, place};
use ::store::{DataKey, Error, TenantKey};
use kernel::{EvidenceId, TenantId};
use uuid::Uuid;

/// A new key of an evidence, and its wrapped form.
pub(crate) fn new_key(
    tenant: TenantId,
    tenant_key: &TenantKey,
    evidence: EvidenceId,
) -> Result<Vec<u8>, Error> {
    let aad = place(tenant, "fragment.wrapped_key", evidence.as_bytes());
    DataKey::generate()?.wrap(tenant_key, &aad)
}

/// The key of an evidence.
pub(crate) fn open_key(
    tenant: TenantId,
    tenant_key: &TenantKey,
    evidence: EvidenceId,
    wrapped: &[u8],
) -> Result<DataKey, Error> {
    let aad = place(tenant, "fragment.wrapped_key", evidence.as_bytes());
    DataKey::unwrap(tenant_key, &aad, wrapped)
}

fn event_place(tenant: TenantId, evidence: EvidenceId, message_id: &str) -> Vec<u8> {
    let mut aad = place(tenant, "event.payload", evidence.as_bytes());
    aad.extend_from_slice(message_id.as_bytes());
    aad
}

/// Seals the payload of an event.
pub(crate) fn event(
    key: &DataKey,
    (tenant, evidence): (TenantId, EvidenceId),
    message_id: &str,
    plain: &[u8],
) -> Result<Vec<u8>, Error> {
    envelope::seal(key, &event_place(tenant, evidence, message_id), plain)
}

/// Opens the payload of an event.
pub(crate) fn open_event(
    key: &DataKey,
    (tenant, evidence): (TenantId, EvidenceId),
    message_id: &str,
    sealed: &[u8],
) -> Result<Vec<u8>, Error> {
    envelope::open(key, &event_place(tenant, evidence, message_id), sealed)
}

/// Seals the personal part of a fragment.
pub(crate) fn personal(
    key: &DataKey,
    (tenant, evidence): (TenantId, EvidenceId),
    plain: &[u8],
) -> Result<Vec<u8>, Error> {
    envelope::seal(key, &place(tenant, "fragment.personal", evidence.as_bytes()), plain)
}

/// Opens the personal part of a fragment.
pub(crate) fn open_personal(
    key: &DataKey,
    (tenant, evidence): (TenantId, EvidenceId),
    sealed: &[u8],
) -> Result<Vec<u8>, Error> {
    envelope::open(key, &place(tenant, "fragment.personal", evidence.as_bytes()), sealed)
}

/// Seals a refused event under a key of its own; answers the wrapped key and the sealed form.
pub(crate) fn rejected(
    tenant: TenantId,
    tenant_key: &TenantKey,
    id: Uuid,
    plain: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let key = DataKey::generate()?;
    let aad = place(tenant, "rejected_event.wrapped_key", id.as_bytes());
    let wrapped = key.wrap(tenant_key, &aad)?;
    let aad = place(tenant, "rejected_event.sealed", id.as_bytes());
    Ok((wrapped, envelope::seal(&key, &aad, plain)?))
}

/// Opens a refused event.
pub(crate) fn open_rejected(
    tenant: TenantId,
    tenant_key: &TenantKey,
    id: Uuid,
    (wrapped, sealed): (&[u8], &[u8]),
) -> Result<Vec<u8>, Error> {
    let aad = place(tenant, "rejected_event.wrapped_key", id.as_bytes());
    let key = DataKey::unwrap(tenant_key, &aad, wrapped)?;
    envelope::open(&key, &place(tenant, "rejected_event.sealed", id.as_bytes()), sealed)
}
