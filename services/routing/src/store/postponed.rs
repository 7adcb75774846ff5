//! Putting off what cannot be carried out, without reading it: the row itself may be damaged.
//!
//! Both the own timer and the SLA wait then: the latter cannot be told either. What somebody
//! holds is passed over, so the order of locks does not matter; it is put off next time.

use kernel::{Shard, TenantId};
use sqlx::PgExecutor;
use store::Error;
use uuid::Uuid;

use super::demand::Key;
use crate::domain::Timing;

/// How long, as `domain::Timing::retry_us` says it; attempts are counted at the same time.
macro_rules! update {
    ($which:literal) => {
        concat!(
            "with k as (select d.tenant_id, d.shard, d.demand_id,
                $1 + least($2 << least(d.attempts, 16), $3) at_us from demand d ",
            $which,
            " for no key update of d skip locked)
            update demand d set attempts = d.attempts + 1, wake_us = k.at_us,
                next_action_us = k.at_us
            from k where d.tenant_id = k.tenant_id and d.shard = k.shard
              and d.demand_id = k.demand_id"
        )
    };
}
const THESE: &str = update!(
    "join unnest($4::uuid[], $5::smallint[], $6::uuid[]) n(tenant_id, shard, demand_id)
       on d.tenant_id = n.tenant_id and d.shard = n.shard and d.demand_id = n.demand_id
     where d.next_action_us <= $1"
);
const OF_TENANT: &str = update!(
    "where d.next_action_us <= $1 and d.tenant_id = $4 and d.state = 1
     order by d.next_action_us limit $5"
);

/// Puts off demands that are due.
pub(crate) async fn these(
    executor: impl PgExecutor<'_>,
    keys: &[Key],
    now_us: i64,
    timing: &Timing,
) -> Result<(), Error> {
    sqlx::query(THESE)
        .bind(now_us)
        .bind(timing.retry_min_us)
        .bind(timing.retry_max_us)
        .bind(keys.iter().map(|(tenant, _)| tenant.uuid()).collect::<Vec<Uuid>>())
        .bind(keys.iter().map(|(_, id)| Shard::of(id.uuid()).number()).collect::<Vec<i16>>())
        .bind(keys.iter().map(|(_, id)| id.uuid()).collect::<Vec<Uuid>>())
        .execute(executor)
        .await?;
    Ok(())
}

/// Puts off up to `limit` of the queued demands of a tenant that are due.
pub(crate) async fn of_tenant(
    executor: impl PgExecutor<'_>,
    tenant: TenantId,
    limit: i64,
    now_us: i64,
    timing: &Timing,
) -> Result<(), Error> {
    sqlx::query(OF_TENANT)
        .bind(now_us)
        .bind(timing.retry_min_us)
        .bind(timing.retry_max_us)
        .bind(tenant.uuid())
        .bind(limit)
        .execute(executor)
        .await?;
    Ok(())
}
