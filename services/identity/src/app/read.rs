//! Reading: one snapshot for several statements, and identifiers in clear.

use ::store::{Error as StoreError, TenantKey};
use kernel::TenantId;
use linkage::graph::Value;
use linkage::{EvidenceSet, Identifier};
use sqlx::PgConnection;

use super::seal::{What, open};
use crate::domain::Sealed;

const SNAPSHOT: &str = "set transaction isolation level repeatable read, read only";

/// Makes the statements that follow see one snapshot. The first of a transaction.
pub(super) async fn isolate(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query(SNAPSHOT).execute(connection).await?;
    Ok(())
}

/// Reads in one snapshot: evidence that moves meanwhile is seen before or after, not both.
macro_rules! snapshot {
    ($database:expr, async |$connection:ident| $work:expr $(,)?) => {
        ::store::transaction!($database, async |$connection| {
            $crate::app::read::isolate($connection).await?;
            $work
        })
    };
}

pub(super) use snapshot;

/// The identifiers of evidence in clear.
pub(super) fn identifiers(
    tenant: (TenantId, &TenantKey),
    evidence: kernel::EvidenceId,
    sealed: &Sealed,
) -> Result<Vec<Identifier>, StoreError> {
    let plain = open(What::Identifiers, tenant, evidence.uuid(), sealed)?;
    let set = EvidenceSet::decode(&plain).map_err(|_| StoreError::Decrypt)?;
    Ok(set.identifiers().to_vec())
}

/// As the graph sees a set.
pub(super) fn values(set: &EvidenceSet, key: &[u8; 32]) -> Vec<Value> {
    let value = |identifier: &Identifier| Value {
        namespace: identifier.namespace().clone(),
        key: identifier.value_key(key),
    };
    set.identifiers().iter().map(value).collect()
}
