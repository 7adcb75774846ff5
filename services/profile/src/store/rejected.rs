//! Refused events, sealed.
//!
//! Who keeps some and who erases meet on an advisory lock per tenant, not on the fragments: the
//! evidence of a refused event may have no row there yet. So each finds what the other did.

use ::store::{Database, Error};
use kernel::{EvidenceId, Shard, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::fold::EvidenceKey;

/// A refused event with its reasons, sealed.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) id: Uuid,
    /// Whose it would have been, if that is known.
    pub(crate) evidence: Option<EvidenceId>,
    pub(crate) received_us: i64,
    /// When it happened, not after it was received.
    pub(crate) event_us: i64,
    pub(crate) wrapped_key: Vec<u8>,
    pub(crate) sealed: Vec<u8>,
}

// Advisory locks are per database; 7201 and 7202 are the feed's.
const HOLD: &str = "select pg_advisory_xact_lock_shared(7203, hashtext($1::uuid::text))";
const INSERT: &str = "insert into rejected_event (tenant_id, shard, rejection_id, received_us,
        event_us, wrapped_key, sealed, evidence_id)
    select $1, r.shard, r.id, r.received_us, r.event_us, r.wrapped_key, r.sealed, r.evidence_id
    from unnest($2::smallint[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bytea[],
            $8::uuid[], $9::smallint[]) as r(shard, id, received_us, event_us, wrapped_key,
            sealed, evidence_id, evidence_shard)
    where not exists (select from fragment f
        where f.tenant_id = $1 and f.shard = r.evidence_shard and f.evidence_id = r.evidence_id
            and f.erased_us >= r.event_us)
    on conflict do nothing";

/// Keeps refused events that are not kept yet, except those of who was erased since they
/// happened.
pub(crate) async fn insert(
    database: &Database,
    tenant: TenantId,
    events: &mut [Rejected],
) -> Result<(), Error> {
    let shard = |event: &Rejected| Shard::of(event.id).number();
    // One order for all: inserts of equal ids wait for each other.
    events.sort_unstable_by_key(|event| (shard(event), event.id));
    let evidence: Vec<Option<Uuid>> =
        events.iter().map(|event| event.evidence.map(EvidenceId::uuid)).collect();
    let evidence_shards: Vec<Option<i16>> =
        evidence.iter().map(|id| id.map(|id| Shard::of(id).number())).collect();
    let mut transaction = database.begin().await?;
    // A statement of its own: the next one sees what an erasure did that was waited for.
    sqlx::query(HOLD).bind(tenant.uuid()).execute(&mut *transaction).await?;
    sqlx::query(INSERT)
        .bind(tenant.uuid())
        .bind(events.iter().map(shard).collect::<Vec<i16>>())
        .bind(events.iter().map(|event| event.id).collect::<Vec<Uuid>>())
        .bind(events.iter().map(|event| event.received_us).collect::<Vec<i64>>())
        .bind(events.iter().map(|event| event.event_us).collect::<Vec<i64>>())
        .bind(events.iter().map(|event| event.wrapped_key.as_slice()).collect::<Vec<&[u8]>>())
        .bind(events.iter().map(|event| event.sealed.as_slice()).collect::<Vec<&[u8]>>())
        .bind(evidence)
        .bind(evidence_shards)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

const HOLD_ALONE: &str = "select pg_advisory_xact_lock(7203, hashtext($1::uuid::text))";
const ERASE: &str = "delete from rejected_event e
    using unnest($1::uuid[], $2::uuid[], $3::bigint[]) k(tenant_id, evidence_id, erased_us)
    where e.tenant_id = k.tenant_id and e.evidence_id = k.evidence_id
        and e.event_us <= k.erased_us";

/// Deletes refused events of evidence that happened up to a time. The keys are in the order of
/// tenants. Until the commit nobody keeps others of these tenants.
pub(crate) async fn erase(
    connection: &mut PgConnection,
    keys: &[(EvidenceKey, i64)],
) -> Result<(), Error> {
    let mut tenants: Vec<Uuid> = keys.iter().map(|((tenant, _), _)| tenant.uuid()).collect();
    tenants.dedup();
    for tenant in tenants {
        sqlx::query(HOLD_ALONE).bind(tenant).execute(&mut *connection).await?;
    }
    sqlx::query(ERASE)
        .bind(keys.iter().map(|((tenant, _), _)| tenant.uuid()).collect::<Vec<Uuid>>())
        .bind(keys.iter().map(|((_, evidence), _)| evidence.uuid()).collect::<Vec<Uuid>>())
        .bind(keys.iter().map(|(_, erased_us)| *erased_us).collect::<Vec<i64>>())
        .execute(connection)
        .await?;
    Ok(())
}

const LIST: &str = "with newest as (
        select rejection_id, received_us, wrapped_key, sealed from rejected_event
        where tenant_id = $1 and (received_us, rejection_id) < ($2, $3::uuid)
        order by received_us desc, rejection_id desc limit $4 + 1),
    measured as (
        select *, row_number() over newest_first as place,
            sum(octet_length(sealed)) over newest_first as bytes
        from newest window newest_first as (order by received_us desc, rejection_id desc))
    select rejection_id, received_us, wrapped_key, sealed, (select count(*) from newest)
    from measured where place <= $4 and (place = 1 or bytes <= $5) order by place";

type Listed = (Uuid, i64, Vec<u8>, Vec<u8>, i64);

/// The newest events before (time, id): at most `limit`, and at most `bytes` in all unless the
/// first alone has more. Says also whether there are more.
pub(crate) async fn list(
    database: &Database,
    tenant: TenantId,
    before: (i64, Uuid),
    limit: usize,
    bytes: i64,
) -> Result<(Vec<Rejected>, bool), Error> {
    let rows: Vec<Listed> = sqlx::query_as(LIST)
        .bind(tenant.uuid())
        .bind(before.0)
        .bind(before.1)
        .bind(limit as i64)
        .bind(bytes)
        .fetch_all(database.pool())
        .await?;
    let has_more = rows.first().is_some_and(|row| row.4 > rows.len() as i64);
    let rejected = |(id, received_us, wrapped_key, sealed, _)| Rejected {
        id,
        evidence: None, // not shown
        received_us,
        event_us: received_us, // not shown
        wrapped_key,
        sealed,
    };
    Ok((rows.into_iter().map(rejected).collect(), has_more))
}

const SWEEP: &str = "delete from rejected_event where ctid = any(array(
    select ctid from rejected_event where received_us < $1 order by received_us limit 1000
    for update skip locked))";

/// Forgets what was received before `before_us`, in chunks; answers how many.
pub(crate) async fn sweep(database: &Database, before_us: i64) -> Result<u64, Error> {
    let mut swept = 0;
    loop {
        let deleted =
            sqlx::query(SWEEP).bind(before_us).execute(database.pool()).await?.rows_affected();
        swept += deleted;
        if deleted < 1_000 {
            return Ok(swept);
        }
    }
}
