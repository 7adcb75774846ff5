//! Refused events, sealed.

use ::store::{Database, Error};
use kernel::{EvidenceId, Shard, TenantId};
use uuid::Uuid;

/// A refused event with its reasons, sealed.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) id: Uuid,
    /// Whose it would have been, if that is known.
    pub(crate) evidence: Option<EvidenceId>,
    pub(crate) received_us: i64,
    pub(crate) wrapped_key: Vec<u8>,
    pub(crate) sealed: Vec<u8>,
}

const INSERT: &str = "insert into rejected_event
    (tenant_id, shard, rejection_id, received_us, wrapped_key, sealed, evidence_id)
    select $1, * from unnest($2::smallint[], $3::uuid[], $4::bigint[], $5::bytea[], $6::bytea[],
        $7::uuid[])
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
        .bind(
            events
                .iter()
                .map(|event| event.evidence.map(EvidenceId::uuid))
                .collect::<Vec<Option<Uuid>>>(),
        )
        .execute(database.pool())
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
