//! The moving part of agents: presence and load, guarded by the database.

use std::collections::BTreeMap;

use kernel::TenantId;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgExecutor, PgRow};
use store::Error;
use uuid::Uuid;

use super::damaged;
use crate::domain::Presence;
use crate::domain::plan::Seat;

const SOME: &str = "select agent, presence, load, capacity, last_offer_us from agent_state
    where tenant_id = $1 and agent = any($2)";
/// One snapshot: what freed an agent has stirred in the same transaction.
const SITUATION: &str = "select f.held, f.stirred, a.agent, a.presence, a.load, a.capacity,
        a.last_offer_us
    from (select exists (select from router_lease where epoch = $2) held,
            exists (select from stir where tenant_id = $1) stirred) f
    left join agent_state a on a.tenant_id = $1";
/// In the order of locks; each gets as much as there is room for, as of the lock.
const OFFER: &str = "with room as (
        select a.agent, least(n.wanted, a.capacity - a.load) added from agent_state a
        join unnest($2::text[], $3::integer[]) n(agent, wanted) on a.agent = n.agent
        where a.tenant_id = $1 and a.presence = $5
        order by a.agent for no key update of a)
    update agent_state a set load = a.load + room.added, last_offer_us = $4 from room
    where a.tenant_id = $1 and a.agent = room.agent and room.added > 0
    returning a.agent, room.added";
const LOCK_MANY: &str = "select 1 from agent_state a
      join unnest($1::uuid[], $2::text[]) n(tenant_id, agent)
        on a.tenant_id = n.tenant_id and a.agent = n.agent
    order by a.tenant_id, a.agent for no key update of a";
const FREED: &str = "update agent_state a set load = a.load - n.freed,
        load_limit = greatest(a.capacity, a.load - n.freed)
    from unnest($1::uuid[], $2::text[], $3::integer[]) n(tenant_id, agent, freed)
    where a.tenant_id = n.tenant_id and a.agent = n.agent";
const SAVE: &str = "insert into agent_state as a
        (tenant_id, agent, presence, capacity, load_limit) values ($1, $2, 3, $3, $3)
    on conflict (tenant_id, agent) do update
        set capacity = $3, load_limit = greatest($3, a.load)
    returning agent, presence, load, capacity, last_offer_us";
const SET_PRESENCE: &str = "update agent_state set presence = $3
    where tenant_id = $1 and agent = $2
    returning agent, presence, load, capacity, last_offer_us";
const DELETE: &str = "delete from agent_state where tenant_id = $1 and agent = $2 and load = 0";

fn read(row: &PgRow) -> Result<(String, Seat), Error> {
    let presence: i16 = row.try_get("presence")?;
    let seat = Seat {
        presence: Presence::from_number(presence.into()).ok_or_else(|| damaged("presence"))?,
        load: row.try_get("load")?,
        capacity: row.try_get("capacity")?,
        last_offer_us: row.try_get("last_offer_us")?,
    };
    Ok((row.try_get("agent")?, seat))
}

/// What a router must know before it looks at the demands of a tenant.
#[derive(Debug, Default)]
pub(crate) struct Situation {
    /// False if somebody else took over.
    pub(crate) held: bool,
    /// Somebody became free and nobody has looked yet.
    pub(crate) stirred: bool,
    /// All agents, not locked.
    pub(crate) seats: BTreeMap<String, Seat>,
}

/// Asked in each transaction that makes offers.
pub(crate) async fn situation(
    connection: &mut PgConnection,
    tenant: TenantId,
    epoch: i64,
) -> Result<Situation, Error> {
    let rows = sqlx::query(SITUATION).bind(tenant.uuid()).bind(epoch).fetch_all(connection).await?;
    let mut situation = Situation::default();
    for row in &rows {
        situation.held = row.try_get("held")?;
        situation.stirred = row.try_get("stirred")?;
        if row.try_get::<Option<&str>, _>("agent")?.is_some() {
            situation.seats.extend([read(row)?]);
        }
    }
    Ok(situation)
}

/// Some agents, not locked.
pub(crate) async fn some(
    executor: impl PgExecutor<'_>,
    tenant: TenantId,
    agents: &[String],
) -> Result<BTreeMap<String, Seat>, Error> {
    let rows = sqlx::query(SOME).bind(tenant.uuid()).bind(agents).fetch_all(executor).await?;
    rows.iter().map(read).collect()
}

/// Gives agents offers while they are online, at most up to their capacity; answers how many
/// each got.
pub(crate) async fn offer(
    connection: &mut PgConnection,
    tenant: TenantId,
    wanted: &BTreeMap<&str, i32>,
    now_us: i64,
) -> Result<BTreeMap<String, i32>, Error> {
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<(String, i32)> = sqlx::query_as(OFFER)
        .bind(tenant.uuid())
        .bind(wanted.keys().copied().collect::<Vec<_>>())
        .bind(wanted.values().copied().collect::<Vec<_>>())
        .bind(now_us)
        .bind(Presence::Online as i16)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().collect())
}

/// Takes ended offers and assignments from agents.
pub(crate) async fn free_load(
    connection: &mut PgConnection,
    freed: &BTreeMap<(TenantId, String), i32>,
) -> Result<(), Error> {
    if freed.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = freed.keys().map(|(tenant, _)| tenant.uuid()).collect();
    let agents: Vec<&str> = freed.keys().map(|(_, agent)| agent.as_str()).collect();
    let counts: Vec<i32> = freed.values().copied().collect();
    sqlx::query(LOCK_MANY).bind(&tenants).bind(&agents).execute(&mut *connection).await?;
    let query = sqlx::query(FREED).bind(&tenants).bind(&agents).bind(counts);
    if query.execute(connection).await?.rows_affected() == freed.len() as u64 {
        Ok(())
    } else {
        Err(Error::internal("an agent with work is gone"))
    }
}

/// Creates the state of an agent, or changes the capacity.
pub(crate) async fn save(
    connection: &mut PgConnection,
    tenant: TenantId,
    agent: &str,
    capacity: i32,
) -> Result<Seat, Error> {
    let query = sqlx::query(SAVE).bind(tenant.uuid()).bind(agent).bind(capacity);
    Ok(read(&query.fetch_one(connection).await?)?.1)
}

/// Changes the presence; none if there is no such agent.
pub(crate) async fn set_presence(
    connection: &mut PgConnection,
    tenant: TenantId,
    agent: &str,
    presence: Presence,
) -> Result<Option<Seat>, Error> {
    let query = sqlx::query(SET_PRESENCE).bind(tenant.uuid()).bind(agent).bind(presence as i16);
    let row = query.fetch_optional(connection).await?;
    row.as_ref().map(|row| read(row).map(|(_, seat)| seat)).transpose()
}

/// Deletes the state of an agent without work; false if there is work.
pub(crate) async fn delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    agent: &str,
) -> Result<bool, Error> {
    let query = sqlx::query(DELETE).bind(tenant.uuid()).bind(agent);
    Ok(query.execute(connection).await?.rows_affected() == 1)
}
