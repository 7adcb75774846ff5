//! Transitions: what happened to a demand.

use kernel::{DemandId, Shard, TenantId};
use sqlx::postgres::{PgConnection, PgPool};
use store::Error;

use super::damaged;
use crate::domain::{State, Transition};

const INSERT: &str = "insert into transition
        (tenant_id, shard, demand_id, version, state, agent, offer_id, cause, event_us)
    select * from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::bigint[], $5::smallint[],
        $6::text[], $7::uuid[], $8::text[], $9::bigint[])";
const HISTORY: &str = "select version, state, agent, cause, event_us from transition
    where tenant_id = $1 and shard = $2 and demand_id = $3 order by version limit $4";

/// A transition of a demand.
#[derive(Debug, Clone)]
pub(crate) struct Of {
    pub(crate) tenant: TenantId,
    pub(crate) demand: DemandId,
    pub(crate) transition: Transition,
}

/// Keeps transitions.
pub(crate) async fn insert(connection: &mut PgConnection, rows: &[Of]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(INSERT)
        .bind(rows.iter().map(|r| r.tenant.uuid()).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| Shard::of(r.demand.uuid()).number()).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.demand.uuid()).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.transition.version).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.transition.state as i16).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.transition.agent.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.transition.offer.map(|o| o.uuid())).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.transition.cause).collect::<Vec<_>>())
        .bind(rows.iter().map(|r| r.transition.event_us).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// A transition as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    pub(crate) version: i64,
    pub(crate) state: State,
    pub(crate) agent: String,
    pub(crate) cause: String,
    pub(crate) event_us: i64,
}

/// The first `limit` transitions, oldest first.
pub(crate) async fn history(
    pool: &PgPool,
    tenant: TenantId,
    demand: DemandId,
    limit: i64,
) -> Result<Vec<Past>, Error> {
    let rows: Vec<(i64, i16, String, String, i64)> = sqlx::query_as(HISTORY)
        .bind(tenant.uuid())
        .bind(Shard::of(demand.uuid()).number())
        .bind(demand.uuid())
        .bind(limit)
        .fetch_all(pool)
        .await?;
    let past = |(version, state, agent, cause, event_us)| {
        let state = State::from_number(state).ok_or_else(|| damaged("state"))?;
        Ok(Past { version, state, agent, cause, event_us })
    };
    rows.into_iter().map(past).collect()
}
