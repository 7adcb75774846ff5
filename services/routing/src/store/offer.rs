//! Offers: who was asked, and what became of it.

use kernel::{DemandId, OfferId, Shard, TenantId};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use store::Error;
use uuid::Uuid;

use super::damaged;
use crate::domain::{Offer, OfferState};

const FIND: &str = "select o.tenant_id, o.offer_id, o.demand_id, o.agent, o.state, o.created_us,
        o.expire_us
    from offer o join unnest($1::uuid[], $2::smallint[], $3::uuid[]) k(tenant_id, shard, id)
      on o.tenant_id = k.tenant_id and o.shard = k.shard and o.offer_id = k.id";
const INSERT: &str = "insert into offer
        (tenant_id, shard, offer_id, demand_id, agent, state, created_us, expire_us)
    select tenant_id, shard, offer_id, demand_id, agent, 1, created_us, expire_us
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[],
        $7::bigint[]) n(tenant_id, shard, offer_id, demand_id, agent, created_us, expire_us)";
const END: &str = "update offer o set state = n.state, ended_us = n.ended_us, reason = n.reason
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::smallint[], $5::bigint[], $6::text[])
        n(tenant_id, shard, offer_id, state, ended_us, reason)
    where o.tenant_id = n.tenant_id and o.shard = n.shard and o.offer_id = n.offer_id
      and o.state = 1";
const PENDING: &str = "select tenant_id, offer_id, demand_id, agent, state, created_us, expire_us
    from offer where tenant_id = $1 and state = 1 and ($2::text is null or agent = $2)
      and (created_us, offer_id) > ($3, $4) order by created_us, offer_id limit $5";

/// How an offer ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) tenant: TenantId,
    pub(crate) offer: OfferId,
    pub(crate) state: OfferState,
    pub(crate) at_us: i64,
    pub(crate) reason: String,
}

fn read(row: &PgRow) -> Result<Offer, Error> {
    let state: i16 = row.try_get("state")?;
    Ok(Offer {
        tenant: TenantId::new(row.try_get("tenant_id")?),
        id: OfferId::new(row.try_get("offer_id")?),
        demand: DemandId::new(row.try_get("demand_id")?),
        agent: row.try_get("agent")?,
        state: OfferState::from_number(state).ok_or_else(|| damaged("offer"))?,
        created_us: row.try_get("created_us")?,
        expire_us: row.try_get("expire_us")?,
    })
}

/// The offers, not locked: the lock is their demand's.
pub(crate) async fn find(
    connection: &mut PgConnection,
    keys: &[(TenantId, OfferId)],
) -> Result<Vec<Offer>, Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let tenants: Vec<Uuid> = keys.iter().map(|(tenant, _)| tenant.uuid()).collect();
    let shards: Vec<i16> = keys.iter().map(|(_, id)| Shard::of(id.uuid()).number()).collect();
    let ids: Vec<Uuid> = keys.iter().map(|(_, id)| id.uuid()).collect();
    let query = sqlx::query(FIND).bind(tenants).bind(shards).bind(ids);
    query.fetch_all(connection).await?.iter().map(read).collect()
}

/// Begins offers.
pub(crate) async fn insert(connection: &mut PgConnection, offers: &[Offer]) -> Result<(), Error> {
    if offers.is_empty() {
        return Ok(());
    }
    sqlx::query(INSERT)
        .bind(offers.iter().map(|o| o.tenant.uuid()).collect::<Vec<_>>())
        .bind(offers.iter().map(|o| o.shard().number()).collect::<Vec<_>>())
        .bind(offers.iter().map(|o| o.id.uuid()).collect::<Vec<_>>())
        .bind(offers.iter().map(|o| o.demand.uuid()).collect::<Vec<_>>())
        .bind(offers.iter().map(|o| o.agent.as_str()).collect::<Vec<_>>())
        .bind(offers.iter().map(|o| o.created_us).collect::<Vec<_>>())
        .bind(offers.iter().map(|o| o.expire_us).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Ends pending offers.
pub(crate) async fn end(connection: &mut PgConnection, ended: &[Ended]) -> Result<(), Error> {
    if ended.is_empty() {
        return Ok(());
    }
    let shard = |offer: OfferId| Shard::of(offer.uuid()).number();
    let done = sqlx::query(END)
        .bind(ended.iter().map(|e| e.tenant.uuid()).collect::<Vec<_>>())
        .bind(ended.iter().map(|e| shard(e.offer)).collect::<Vec<_>>())
        .bind(ended.iter().map(|e| e.offer.uuid()).collect::<Vec<_>>())
        .bind(ended.iter().map(|e| e.state as i16).collect::<Vec<_>>())
        .bind(ended.iter().map(|e| e.at_us).collect::<Vec<_>>())
        .bind(ended.iter().map(|e| e.reason.as_str()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    if done.rows_affected() == ended.len() as u64 {
        Ok(())
    } else {
        Err(Error::internal("a demand and its offer disagree"))
    }
}

/// Pending offers, oldest first, after a place.
pub(crate) async fn pending(
    pool: &PgPool,
    tenant: TenantId,
    agent: Option<&str>,
    after: (i64, Uuid),
    limit: i64,
) -> Result<Vec<Offer>, Error> {
    let query = sqlx::query(PENDING).bind(tenant.uuid()).bind(agent).bind(after.0).bind(after.1);
    query.bind(limit).fetch_all(pool).await?.iter().map(read).collect()
}

const FORGET_REASONS: &str = "update offer o set reason = ''
    from unnest($1::uuid[], $2::uuid[]) as k(tenant_id, demand_id)
    where o.tenant_id = k.tenant_id and o.demand_id = k.demand_id and o.reason <> ''";

/// Forgets why offers of the demands were declined: it may say something of the customer.
pub(crate) async fn forget_reasons(
    connection: &mut PgConnection,
    demands: &[(TenantId, DemandId)],
) -> Result<(), Error> {
    sqlx::query(FORGET_REASONS)
        .bind(demands.iter().map(|(tenant, _)| tenant.uuid()).collect::<Vec<Uuid>>())
        .bind(demands.iter().map(|(_, demand)| demand.uuid()).collect::<Vec<Uuid>>())
        .execute(connection)
        .await?;
    Ok(())
}
