//! Sealing identifiers and reasons: a data key for each subject, under the tenant's key.

use ::store::envelope::{self, place};
use ::store::{DataKey, Error, TenantKey};
use kernel::TenantId;
use uuid::Uuid;

use crate::domain::Sealed;

/// What is sealed; part of what binds a sealed value to its place.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// The identifiers of evidence.
    Identifiers,
    /// The reason of a decision.
    Reason,
    /// The blocked values of the rules.
    Blocked,
}

impl What {
    const fn columns(self) -> (&'static str, &'static str) {
        match self {
            Self::Identifiers => ("evidence.wrapped_key", "evidence.identifiers"),
            Self::Reason => ("decision.wrapped_key", "decision.reason"),
            Self::Blocked => ("resource.blocked_key", "resource.blocked"),
        }
    }
}

/// Seals under a new data key.
pub(super) fn seal(
    what: What,
    (tenant, key): (TenantId, &TenantKey),
    subject: Uuid,
    plain: &[u8],
) -> Result<Sealed, Error> {
    let (key_column, column) = what.columns();
    let data_key = DataKey::generate()?;
    let wrapped_key = data_key.wrap(key, &place(tenant, key_column, subject.as_bytes()))?;
    let aad = place(tenant, column, subject.as_bytes());
    let content = envelope::seal(&data_key, &aad, plain)?;
    Ok(Sealed { wrapped_key, content })
}

/// Opens what [`seal`] made.
pub(super) fn open(
    what: What,
    (tenant, key): (TenantId, &TenantKey),
    subject: Uuid,
    sealed: &Sealed,
) -> Result<Vec<u8>, Error> {
    let (key_column, column) = what.columns();
    let aad = place(tenant, key_column, subject.as_bytes());
    let data_key = DataKey::unwrap(key, &aad, &sealed.wrapped_key)?;
    envelope::open(&data_key, &place(tenant, column, subject.as_bytes()), &sealed.content)
}
