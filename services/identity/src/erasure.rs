//! The ledger of erasures for those who back up and restore: a backup that is older than an
//! erasure must not bring anybody back.
//!
//! Keep what [`ledger`] tells outside the backups, as new as possible. After a restore renew the
//! epoch of every feed and forget all receipts ([`feed::receipt::reset`]), [`replay`] the rows on
//! identity's database, start the suite without serving, and wait until [`pending`] is 0: the
//! other services have erased again what their databases had. Rows hold no personal data.

use std::sync::Arc;

use ::store::{Database, KeyRing};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, app};

/// A row of the ledger: an erasure, or a part of one of more than 1,000 pieces of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// Its place in the ledger, from 1, without gap.
    pub seq: i64,
    /// Whose.
    pub tenant_id: Uuid,
    /// The part.
    pub part_id: Uuid,
    /// The erasure: the id of its first part.
    pub erasure_id: Uuid,
    /// The customer.
    pub customer_id: Uuid,
    /// Ids that are gone with the part.
    pub customer_ids: Vec<Uuid>,
    /// The evidence of the part …
    pub evidence_ids: Vec<Uuid>,
    /// … and the last map version of each that is void.
    pub map_versions: Vec<i64>,
    /// When, in microseconds since 1970.
    pub erased_us: i64,
}

/// Rows after `after_seq`, in order; at most `limit`, and at most 1,000.
///
/// # Errors
/// The database.
pub async fn ledger(
    database: &Database,
    after_seq: i64,
    limit: i64,
) -> Result<Vec<LedgerRow>, ::store::Error> {
    app::ledger(database, after_seq, limit).await
}

/// Carries out on identity's own database the rows that its ledger does not have, in one
/// transaction each: evidence and keys are gone, tombstones stand, who is left is resolved again,
/// and the other services are told through the feed. Says how many were new. May be killed and
/// repeated.
///
/// # Errors
/// The database, or the keys of a tenant.
pub async fn replay(database: &Database, keys: &KeyRing, rows: &[LedgerRow]) -> Result<u64, Error> {
    app::replay(database, Arc::clone(keys.root()), rows).await
}

/// How many rows of the ledger lack the receipt of some service.
///
/// # Errors
/// The database.
pub async fn pending(database: &Database) -> Result<i64, ::store::Error> {
    app::pending(database).await
}
