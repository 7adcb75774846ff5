//! Refused events, sealed.

use ::store::{Database, Error};
use kernel::{Shard, TenantId};
use uuid::Uuid;

/// A refused event with its reasons, sealed.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) id: Uuid,
    pub(crate) received_us: i64,
    pub(crate) wrapped_key: Vec<u8>,
    pub(crate) sealed: Vec<u8>,
}

const INSERT: &str = "insert into rejected_event
    (tenant_id, shard, rejection_id, received_us, wrapped_key, sealed)
    select $1, * from unnest($2::smallint[], $3::uuid[], $4::bigint[], $5::bytea[], $6::bytea[])
    on conflict do nothing";

/// Keeps refused events that are not kept yet.
pub(crate) async fn insert(
    database: &Database,
    tenant: TenantId,
    events: &mut [Rejected],
) -> Result<(), Error> {
    let shard = |event: &Rejected| Shard::of(event.id).number();
    // One order for all: inserts of equal ids wait for each other.
    events.sort_unstable_by_key(|event| (shard(event), event.id));
    sqlx::query(INSERT)
        .bind(tenant.uuid())
        .bind(events.iter().map(shard).collect::<Vec<i16>>())
        .bind(events.iter().map(|event| event.id).collect::<Vec<Uuid>>())
        .bind(events.iter().map(|event| event.received_us).collect::<Vec<i64>>())
        .bind(events.iter().map(|event| event.wrapped_key.as_slice()).collect::<Vec<&[u8]>>())
        .bind(events.iter().map(|event| event.sealed.as_slice()).collect::<Vec<&[u8]>>())
        .execute(database.pool())
        .await?;
    Ok(())
}

const LIST: &str = "select rejection_id, received_us, wrapped_key, sealed from rejected_event
    where tenant_id = $1 and (received_us, rejection_id) < ($2, $3::uuid)
    order by received_us desc, rejection_id desc limit $4";

/// At most `limit` events, newest first, before (time, id).
pub(crate) async fn list(
    database: &Database,
    tenant: TenantId,
    before: (i64, Uuid),
    limit: i64,
) -> Result<Vec<Rejected>, Error> {
    let rows: Vec<(Uuid, i64, Vec<u8>, Vec<u8>)> = sqlx::query_as(LIST)
        .bind(tenant.uuid())
        .bind(before.0)
        .bind(before.1)
        .bind(limit)
        .fetch_all(database.pool())
        .await?;
    let rejected =
        |(id, received_us, wrapped_key, sealed)| Rejected { id, received_us, wrapped_key, sealed };
    Ok(rows.into_iter().map(rejected).collect())
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
