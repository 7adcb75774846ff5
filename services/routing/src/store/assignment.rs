//! Assignments: who has a demand. The index `assignment_one_active` allows one per demand.

use kernel::{DemandId, OfferId, Shard, TenantId};
use sqlx::PgConnection;
use store::Error;

const OPEN: &str = "insert into assignment
        (tenant_id, shard, demand_id, offer_id, agent, active, begun_us)
    select tenant_id, shard, demand_id, offer_id, agent, true, begun_us
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[])
        n(tenant_id, shard, demand_id, offer_id, agent, begun_us)";
const CLOSE: &str = "update assignment a set active = false, ended_us = n.ended_us
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::bigint[])
        n(tenant_id, shard, demand_id, ended_us)
    where a.tenant_id = n.tenant_id and a.shard = n.shard and a.demand_id = n.demand_id
      and a.active";

/// An assignment that begins.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) tenant: TenantId,
    pub(crate) demand: DemandId,
    pub(crate) offer: OfferId,
    pub(crate) agent: String,
    pub(crate) at_us: i64,
}

/// One that ends.
#[derive(Debug, Clone)]
pub(crate) struct Closed {
    pub(crate) tenant: TenantId,
    pub(crate) demand: DemandId,
    pub(crate) at_us: i64,
}

/// Begins assignments.
pub(crate) async fn open(connection: &mut PgConnection, opened: &[Opened]) -> Result<(), Error> {
    if opened.is_empty() {
        return Ok(());
    }
    sqlx::query(OPEN)
        .bind(opened.iter().map(|o| o.tenant.uuid()).collect::<Vec<_>>())
        .bind(opened.iter().map(|o| Shard::of(o.demand.uuid()).number()).collect::<Vec<_>>())
        .bind(opened.iter().map(|o| o.demand.uuid()).collect::<Vec<_>>())
        .bind(opened.iter().map(|o| o.offer.uuid()).collect::<Vec<_>>())
        .bind(opened.iter().map(|o| o.agent.as_str()).collect::<Vec<_>>())
        .bind(opened.iter().map(|o| o.at_us).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Ends active assignments.
pub(crate) async fn close(connection: &mut PgConnection, closed: &[Closed]) -> Result<(), Error> {
    if closed.is_empty() {
        return Ok(());
    }
    let done = sqlx::query(CLOSE)
        .bind(closed.iter().map(|c| c.tenant.uuid()).collect::<Vec<_>>())
        .bind(closed.iter().map(|c| Shard::of(c.demand.uuid()).number()).collect::<Vec<_>>())
        .bind(closed.iter().map(|c| c.demand.uuid()).collect::<Vec<_>>())
        .bind(closed.iter().map(|c| c.at_us).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    if done.rows_affected() == closed.len() as u64 {
        Ok(())
    } else {
        Err(Error::internal("a demand and its assignment disagree"))
    }
}
