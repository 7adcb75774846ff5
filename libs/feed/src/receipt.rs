//! Receipts of erasures: who has committed which part.
//!
//! A handler [`record`]s the receipt in the transaction of the effect, so there is none without
//! it. [`relay`] passes receipts, the service's own and those of the services that follow it, to
//! the owner of the feed that told of the erasure: against the direction of the feeds, over the
//! connections that are there anyway, until they are with the one who began. At least once;
//! recording twice is harmless.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use bytes::Bytes;
use contracts::common::v1::CustomersErased;
use contracts::feed::v1::Receipt;
use kernel::{CustomerId, Shard, TenantId};
use prost::Message;
use sqlx::{PgConnection, PgExecutor};
use store::Database;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Entry, Error, Shards, Tail, Upstream};

/// How many receipts one call takes.
pub const MAX_RECEIPTS: usize = 500;
/// The floor when nobody wakes the relay.
const POLL: Duration = Duration::from_secs(2);
/// The pause after a call that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the owner may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest name of a service, in bytes.
const MAX_NAME: usize = 32;

const RECORD: &str = "insert into receipt (tenant_id, part_id, service, done_us)
    select t, p, s, coalesce(d, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
    from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[]) as r(t, p, s, d)
    order by t, p, s
    on conflict (tenant_id, part_id, service)
    do update set done_us = excluded.done_us, passed = false";

/// A part of an erasure: all services name it alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Whose.
    pub tenant: TenantId,
    /// Its id: the subject of the entries that tell of it.
    pub id: Uuid,
    /// The customer ids that are gone with it.
    pub customers: Vec<CustomerId>,
}

impl Part {
    /// Reads an entry whose data are `CustomersErased`.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn read(entry: &Entry) -> Result<Self, Error> {
        let malformed = || Error::Malformed("customer_ids");
        let erased = CustomersErased::decode(entry.data.clone()).map_err(|_| malformed())?;
        let ids = erased.customer_ids.iter().map(|id| CustomerId::from_slice(id));
        let customers = ids.collect::<Result<Vec<CustomerId>, _>>().map_err(|_| malformed())?;
        Ok(Self { tenant: entry.tenant, id: entry.subject, customers })
    }

    /// An entry of the service's `EventKind` for it.
    #[must_use]
    pub fn entry(&self, kind: i16) -> Entry {
        let id = |id: &CustomerId| Bytes::copy_from_slice(id.as_bytes());
        let customer_ids = self.customers.iter().map(id).collect();
        let data = CustomersErased { customer_ids, evidence_ids: Vec::new() }.encode_to_vec();
        Entry::new(self.tenant, self.id, kind, 1, data.into())
    }
}

// Advisory locks are per database; 7201 to 7203 have other meanings.
const HOLD_ALONE: &str = "select pg_advisory_xact_lock(7204, hashtext($1::uuid::text))";
const HOLD: &str = "select pg_advisory_xact_lock_shared(7204, hashtext($1::uuid::text))";
const ERASED: &str = "select k.tenant_id, k.customer_id
    from unnest($1::uuid[], $2::uuid[]) k(tenant_id, customer_id)
    where exists (select from erased e
        where e.tenant_id = k.tenant_id and e.customer_ids @> array[k.customer_id])";

/// Which of these customers are erased. Until the transaction ends no further erasure of these
/// tenants is [`record`]ed, so that one that comes then finds what was written of the others.
/// To be called first in a transaction.
///
/// # Errors
/// [`Error::Database`].
pub async fn erased_of(
    connection: &mut PgConnection,
    customers: &[(TenantId, CustomerId)],
) -> Result<HashSet<(TenantId, CustomerId)>, Error> {
    if customers.is_empty() {
        return Ok(HashSet::new());
    }
    hold(connection, HOLD, customers.iter().map(|(tenant, _)| *tenant)).await?;
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(ERASED)
        .bind(customers.iter().map(|(tenant, _)| tenant.uuid()).collect::<Vec<Uuid>>())
        .bind(customers.iter().map(|(_, id)| id.uuid()).collect::<Vec<Uuid>>())
        .fetch_all(connection)
        .await?;
    let erased = rows.into_iter();
    Ok(erased.map(|(tenant, id)| (TenantId::new(tenant), CustomerId::new(id))).collect())
}

async fn hold(
    connection: &mut PgConnection,
    lock: &'static str,
    tenants: impl Iterator<Item = TenantId>,
) -> Result<(), Error> {
    for tenant in tenants.collect::<BTreeSet<TenantId>>() {
        sqlx::query(lock).bind(tenant.uuid()).execute(&mut *connection).await?;
    }
    Ok(())
}

// Of all consumers: what an entry of who is gone wanted is void.
const FORGET_LETTERS: &str = "delete from dead_letter d
    using unnest($1::uuid[], $2::uuid[]) k(tenant_id, subject)
    where d.tenant_id = k.tenant_id and d.subject = k.subject";

const REMEMBER: &str = "insert into erased (tenant_id, part_id, shard, customer_ids)
    values ($1, $2, $3, $4) on conflict (tenant_id, part_id) do nothing";

/// Notes that this service has carried out parts of erasures, and remembers them for those who
/// follow it; entries of these customers that were put aside are forgotten. In the transaction of
/// the effect, before what it appends, and before the effect where others write of customers
/// after [`erased_of`]. The relay is woken by
/// [`Tail::pass_receipts`] after the commit.
///
/// # Errors
/// [`Error::Database`].
pub async fn record(
    connection: &mut PgConnection,
    service: &str,
    parts: &[Part],
) -> Result<(), Error> {
    hold(connection, HOLD_ALONE, parts.iter().map(|part| part.tenant)).await?;
    let mut keys: Vec<(TenantId, Uuid)> = Vec::with_capacity(parts.len());
    let gone = || parts.iter().flat_map(|part| part.customers.iter().map(|id| (part.tenant, id)));
    sqlx::query(FORGET_LETTERS)
        .bind(gone().map(|(tenant, _)| tenant.uuid()).collect::<Vec<Uuid>>())
        .bind(gone().map(|(_, id)| id.uuid()).collect::<Vec<Uuid>>())
        .execute(&mut *connection)
        .await?;
    for part in parts {
        keys.push((part.tenant, part.id));
        sqlx::query(REMEMBER)
            .bind(part.tenant.uuid())
            .bind(part.id)
            .bind(Shard::of(part.id).number())
            .bind(part.customers.iter().map(|id| id.uuid()).collect::<Vec<Uuid>>())
            .execute(&mut *connection)
            .await?;
    }
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query(RECORD)
        .bind(keys.iter().map(|(tenant, _)| tenant.uuid()).collect::<Vec<Uuid>>())
        .bind(keys.iter().map(|(_, part)| *part).collect::<Vec<Uuid>>())
        .bind(vec![service; keys.len()])
        .bind(vec![None::<i64>; keys.len()])
        .execute(connection)
        .await?;
    Ok(())
}

const KNOWN: &str = "select tenant_id, part_id, customer_ids from erased
    where (tenant_id, part_id) > ($1, $2) and shard = any($3)
    order by tenant_id, part_id limit $4";

/// The next parts that were heard of, in the order of (tenant, part), for a snapshot.
///
/// # Errors
/// [`Error::Database`].
pub async fn known(
    executor: impl PgExecutor<'_>,
    shards: Shards,
    after: (Uuid, Uuid),
    limit: usize,
) -> Result<Vec<Part>, Error> {
    let rows: Vec<(Uuid, Uuid, Vec<Uuid>)> = sqlx::query_as(KNOWN)
        .bind(after.0)
        .bind(after.1)
        .bind(shards.numbers().collect::<Vec<i16>>())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(executor)
        .await?;
    let part = |(tenant, id, customers): (Uuid, Uuid, Vec<Uuid>)| Part {
        tenant: TenantId::new(tenant),
        id,
        customers: customers.into_iter().map(CustomerId::new).collect(),
    };
    Ok(rows.into_iter().map(part).collect())
}

/// Keeps what another service says.
pub(crate) async fn keep(
    executor: impl PgExecutor<'_>,
    receipts: Vec<Receipt>,
) -> Result<(), Error> {
    if receipts.len() > MAX_RECEIPTS {
        return Err(Error::Malformed("receipts"));
    }
    let mut rows = Vec::with_capacity(receipts.len());
    for receipt in receipts {
        let tenant =
            Uuid::from_slice(&receipt.tenant_id).map_err(|_| Error::Malformed("tenant_id"))?;
        let part = Uuid::from_slice(&receipt.part_id).map_err(|_| Error::Malformed("part_id"))?;
        if receipt.service.is_empty() || receipt.service.len() > MAX_NAME {
            return Err(Error::Malformed("service"));
        }
        rows.push((tenant, part, receipt.service, receipt.done_us));
    }
    // One statement may not touch a row twice.
    rows.sort_unstable();
    rows.dedup_by(|later, first| (later.0, later.1, &later.2) == (first.0, first.1, &first.2));
    sqlx::query(RECORD)
        .bind(rows.iter().map(|row| row.0).collect::<Vec<Uuid>>())
        .bind(rows.iter().map(|row| row.1).collect::<Vec<Uuid>>())
        .bind(rows.iter().map(|row| row.2.as_str()).collect::<Vec<&str>>())
        .bind(rows.iter().map(|row| row.3).collect::<Vec<i64>>())
        .execute(executor)
        .await?;
    Ok(())
}

const WAITING: &str = "select tenant_id, part_id, service, done_us from receipt
    where not passed order by tenant_id, part_id, service limit $1";
const PASSED: &str = "update receipt r set passed = true
    from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[])
        as p(tenant_id, part_id, service, done_us)
    where r.tenant_id = p.tenant_id and r.part_id = p.part_id and r.service = p.service
        and r.done_us = p.done_us";

/// Passes receipts to the owner of the followed feed, until cancelled.
pub async fn relay(database: Database, tail: Tail, upstream: Upstream, stop: CancellationToken) {
    loop {
        let pause = match stop.run_until_cancelled(pass(&database, &upstream)).await {
            None => return,
            Some(Ok(passed)) if passed == MAX_RECEIPTS => continue,
            Some(Ok(_)) => POLL,
            Some(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "receipts not passed on");
                PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tail.receipts_to_pass() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

type Row = (Uuid, Uuid, String, i64);

/// Passes some on; says how many.
async fn pass(database: &Database, upstream: &Upstream) -> Result<usize, Error> {
    let rows: Vec<Row> = sqlx::query_as(WAITING)
        .bind(i64::try_from(MAX_RECEIPTS).unwrap_or(i64::MAX))
        .fetch_all(database.pool())
        .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let receipt = |(tenant, part, service, done_us): &Row| Receipt {
        tenant_id: tenant.as_bytes().to_vec().into(),
        part_id: part.as_bytes().to_vec().into(),
        service: service.clone(),
        done_us: *done_us,
    };
    let receipts = rows.iter().map(receipt).collect();
    let told = tokio::time::timeout(PATIENCE, upstream.record_receipts(receipts)).await;
    told.map_err(|_| Error::Silent)??;
    sqlx::query(PASSED)
        .bind(rows.iter().map(|row| row.0).collect::<Vec<Uuid>>())
        .bind(rows.iter().map(|row| row.1).collect::<Vec<Uuid>>())
        .bind(rows.iter().map(|row| row.2.as_str()).collect::<Vec<&str>>())
        .bind(rows.iter().map(|row| row.3).collect::<Vec<i64>>())
        .execute(database.pool())
        .await?;
    Ok(rows.len())
}

/// Forgets all receipts of a database that was restored: what they say was true of another one.
///
/// # Errors
/// [`Error::Database`].
pub async fn reset(database: &Database) -> Result<(), Error> {
    sqlx::query("delete from receipt").execute(database.pool()).await?;
    Ok(())
}
