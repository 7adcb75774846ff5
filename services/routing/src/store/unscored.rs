//! Demands that are to be scored (again).

use kernel::Shard;
use sqlx::postgres::PgPool;
use store::Error;
use uuid::Uuid;

use super::demand::{Found, Key, columns, read_all};

const UNSCORED: &str = concat!(
    "select ",
    columns!(),
    " from demand d where score_due_us <= $1 order by score_due_us limit $2"
);
const NEXT: &str = "select min(score_due_us) from demand where score_due_us is not null";
/// In the order of locks.
const PUT_OFF: &str = "with k as (
        select d.tenant_id, d.shard, d.demand_id, n.due_us from demand d
        join unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::bigint[])
            n(tenant_id, shard, demand_id, due_us)
          on d.tenant_id = n.tenant_id and d.shard = n.shard and d.demand_id = n.demand_id
        where d.score_due_us is not null
        order by d.tenant_id, d.shard, d.demand_id for no key update of d)
    update demand d set score_due_us = k.due_us from k
    where d.tenant_id = k.tenant_id and d.shard = k.shard and d.demand_id = k.demand_id";

/// Demands that are due to be scored, not locked.
pub(crate) async fn due(pool: &PgPool, now_us: i64, limit: i64) -> Result<Found, Error> {
    read_all(&sqlx::query(UNSCORED).bind(now_us).bind(limit).fetch_all(pool).await?)
}

/// When the next one is due.
pub(crate) async fn next(pool: &PgPool) -> Result<Option<i64>, Error> {
    Ok(sqlx::query_scalar(NEXT).fetch_one(pool).await?)
}

/// Tries again later, or (`None`) not at all.
pub(crate) async fn put_off(pool: &PgPool, demands: &[(Key, Option<i64>)]) -> Result<(), Error> {
    if demands.is_empty() {
        return Ok(());
    }
    let keys = || demands.iter().map(|((tenant, id), _)| (tenant.uuid(), id.uuid()));
    sqlx::query(PUT_OFF)
        .bind(keys().map(|(tenant, _)| tenant).collect::<Vec<Uuid>>())
        .bind(keys().map(|(_, id)| Shard::of(id).number()).collect::<Vec<i16>>())
        .bind(keys().map(|(_, id)| id).collect::<Vec<Uuid>>())
        .bind(demands.iter().map(|(_, due_us)| *due_us).collect::<Vec<_>>())
        .execute(pool)
        .await?;
    Ok(())
}
