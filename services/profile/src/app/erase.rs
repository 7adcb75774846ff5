//! Following identity's erasures: keys are destroyed, what hung on the evidence is deleted, and
//! customers are merged anew from what they have left.
//!
//! The map row stays as the tombstone, because everybody who writes locks it: who has an older
//! key or an older answer of identity learns there that it is void. An erasure that is told again
//! finds its time there and does nothing.

use std::collections::{BTreeMap, BTreeSet};

use feed::Entry;
use feed::receipt::{self, Part};
use kernel::{CustomerId, EvidenceId, Shard, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::moves::{changed, merged_anew};
use crate::NAME;
use crate::domain::fold::{Customer, CustomerKey, EvidenceKey};
use crate::domain::merge::{How, Share};
use crate::error::Error;
use crate::events;
use crate::store::erase::Voided;
use crate::store::fragment::{self, NewMapping, Wanted};
use crate::store::{customer, erase, rejected};

/// A part of an erasure, as identity tells it.
#[derive(Debug, Clone)]
pub(crate) struct Erased {
    pub(crate) tenant: TenantId,
    pub(crate) part: Uuid,
    pub(crate) customers: Vec<CustomerId>,
    /// With the last map version that is void.
    pub(crate) evidence: Vec<(EvidenceId, i64)>,
    pub(crate) erased_us: i64,
}

/// The customer of evidence that has none any more.
const NOBODY: CustomerId = CustomerId::new(Uuid::nil());

/// Erases in the consumer's transaction; answers what to append.
pub(crate) async fn apply(
    connection: &mut PgConnection,
    erased: &[Erased],
) -> Result<Vec<Entry>, Error> {
    if erased.is_empty() {
        return Ok(Vec::new());
    }
    let affected = void(connection, erased).await?;
    let gone: BTreeSet<(TenantId, Shard, CustomerId)> = erased
        .iter()
        .flat_map(|it| it.customers.iter().map(|id| customer::key_order((it.tenant, *id))))
        .collect();
    let mut entries = remerge(connection, &affected, &gone).await?;
    let gone: Vec<CustomerKey> = gone.into_iter().map(|(tenant, _, id)| (tenant, id)).collect();
    erase::customers(connection, &gone).await?;
    let part =
        |it: &Erased| Part { tenant: it.tenant, id: it.part, customers: it.customers.clone() };
    let parts: Vec<Part> = erased.iter().map(part).collect();
    receipt::record(connection, NAME, &parts).await?;
    entries.extend(erased.iter().map(events::customers_erased));
    Ok(entries)
}

type Affected = BTreeMap<(TenantId, Shard, CustomerId), i32>;

/// Makes fragments void; how many with events each customer lost.
async fn void(connection: &mut PgConnection, erased: &[Erased]) -> Result<Affected, Error> {
    // By key, with the latest erasure of each.
    let mut wanted: BTreeMap<(TenantId, Shard, EvidenceId), (i64, i64)> = BTreeMap::new();
    for it in erased {
        for (evidence, version) in &it.evidence {
            let key = fragment::key_order((it.tenant, *evidence));
            let kept = wanted.entry(key).or_insert((it.erased_us, *version));
            *kept = (*kept).max((it.erased_us, *version));
        }
    }
    let keys: Vec<EvidenceKey> = wanted.keys().map(|(tenant, _, id)| (*tenant, *id)).collect();
    let mapping = |(key, (_, version)): (&EvidenceKey, &(i64, i64))| NewMapping {
        tenant: key.0,
        evidence: key.1,
        customer: NOBODY,
        map_version: *version,
        wrapped_key: None,
        erased_us: None, // told from a row that was there by what follows
    };
    let mut mappings: Vec<NewMapping> = keys.iter().zip(wanted.values()).map(mapping).collect();
    fragment::insert(connection, &mut mappings).await?;
    let all: Vec<Wanted> =
        keys.iter().map(|key| Wanted { key: *key, state: false, personal: false }).collect();
    let locked = fragment::lock(connection, &all).await?;
    let mut affected = Affected::new();
    let mut voided = Vec::with_capacity(locked.len());
    for (old, (erased_us, version)) in locked.iter().zip(wanted.values()) {
        if old.erased_us.is_some_and(|known| known >= *erased_us) {
            continue;
        }
        if old.version > 0 {
            let key = customer::key_order((old.tenant, old.customer));
            *affected.entry(key).or_default() += 1;
        }
        let moved_on = old.map_version > *version;
        voided.push(Voided {
            key: (old.tenant, old.evidence),
            customer: if moved_on { old.customer } else { NOBODY },
            map_version: old.map_version.max(*version),
            erased_us: *erased_us,
        });
    }
    erase::void(connection, &voided).await?;
    // Of all: the time of an erasure may be here before it, by an answer of identity.
    let times = wanted.values().map(|(erased_us, _)| *erased_us);
    rejected::erase(connection, &keys.iter().copied().zip(times).collect::<Vec<_>>()).await?;
    Ok(affected)
}

/// Merges customers from what they have left. Of those that are gone nothing is told.
async fn remerge(
    connection: &mut PgConnection,
    affected: &Affected,
    gone: &BTreeSet<(TenantId, Shard, CustomerId)>,
) -> Result<Vec<Entry>, Error> {
    let keys: Vec<CustomerKey> = affected.keys().map(|key| (key.0, key.2)).collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let customers = customer::lock(connection, &keys).await?;
    let (mut anew, mut later): (Vec<Customer>, Vec<_>) = (Vec::new(), Vec::new());
    for (row, lost) in customers.into_iter().zip(affected.values()) {
        let share = Share { lost: *lost, gained: Vec::new() };
        match share.how(&row) {
            How::Later => later.push(share.counted(row)),
            How::Add | How::Anew => anew.push(row),
        }
    }
    let merged = merged_anew(connection, anew).await?;
    customer::write(connection, &merged).await?;
    customer::write(connection, &later).await?;
    let is_gone = |row: &&crate::domain::fold::NewCustomer| {
        gone.contains(&customer::key_order((row.tenant, row.customer)))
    };
    Ok(merged.iter().filter(|row| !is_gone(row)).map(changed).collect())
}
