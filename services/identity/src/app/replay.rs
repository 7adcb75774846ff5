//! The ledger as rows that can be kept outside the database, and carried out again on a database
//! that was restored to an older state.

use std::sync::Arc;

use ::store::keys::RootKeys;
use ::store::{Database, Error as StoreError, Resources, TenantKeys};
use kernel::{CustomerId, EvidenceId, TenantId};

use super::rules::RuleBook;
use super::{FOLLOWERS, append, erase};
use crate::Error;
use crate::domain::ErasedPart;
use crate::erasure::LedgerRow;
use crate::store::{erasure, lock};

/// The most rows of the ledger that are read at once.
const MAX_ROWS: i64 = 1_000;

/// Rows after a place, in order.
pub(crate) async fn ledger(
    database: &Database,
    after_seq: i64,
    limit: i64,
) -> Result<Vec<LedgerRow>, StoreError> {
    let rows = erasure::after(database, after_seq, limit.clamp(1, MAX_ROWS)).await?;
    let row = |(seq, part): (i64, ErasedPart)| LedgerRow {
        seq,
        tenant_id: part.tenant.uuid(),
        part_id: part.part,
        erasure_id: part.erasure,
        customer_id: part.customer.uuid(),
        customer_ids: part.customers.iter().map(|id| id.uuid()).collect(),
        evidence_ids: part.evidence.iter().map(|(id, _)| id.uuid()).collect(),
        map_versions: part.evidence.iter().map(|(_, version)| *version).collect(),
        erased_us: part.erased_us,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Carries out the rows that the database does not know; says how many.
pub(crate) async fn replay(
    database: &Database,
    root: Arc<RootKeys>,
    rows: &[LedgerRow],
) -> Result<u64, Error> {
    let tenant_keys = TenantKeys::new(database.clone(), root);
    let rules = RuleBook::new(Resources::new(database.clone()), tenant_keys);
    let mut new = 0;
    for row in rows {
        let part = ErasedPart {
            tenant: TenantId::new(row.tenant_id),
            part: row.part_id,
            erasure: row.erasure_id,
            customer: CustomerId::new(row.customer_id),
            customers: row.customer_ids.iter().copied().map(CustomerId::new).collect(),
            evidence: row
                .evidence_ids
                .iter()
                .copied()
                .map(EvidenceId::new)
                .zip(row.map_versions.iter().copied())
                .collect(),
            erased_us: row.erased_us,
        };
        let tenant = part.tenant;
        let rules = rules.get(tenant).await?;
        let carried = ::store::transaction!(database, async |connection| {
            lock::tenant(connection, tenant).await?;
            if erasure::is_known(connection, tenant, part.part).await? {
                return Ok(false);
            }
            let parts = std::slice::from_ref(&part);
            let entries = erase::carry_out(connection, tenant, parts, &rules).await?;
            append(connection, &entries).await?;
            Ok::<_, Error>(true)
        })?;
        new += u64::from(carried);
    }
    Ok(new)
}

/// How many rows some service has not committed yet.
pub(crate) async fn pending(database: &Database) -> Result<i64, StoreError> {
    erasure::pending(database, &FOLLOWERS).await
}
