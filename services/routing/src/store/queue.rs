//! What the router asks: what is due, who waits, who gave back what.

use std::collections::HashMap;

use kernel::{CustomerId, DemandId, Shard, TenantId};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{PgExecutor, Row};
use store::Error;
use uuid::Uuid;

use super::demand::{Found, Key, columns, read_all};
use crate::domain::plan::Returned;

/// One statement: the router asks this before every round, and whenever it idles.
const LOOK: &str = "select
    (select min(next_action_us) from demand where next_action_us is not null),
    exists (select from stir),
    exists (select from demand where next_action_us <= $1
        and (state <> 1 or (due_us <= $1 and not breached))),
    array(select distinct tenant_id from (select tenant_id from demand
        where next_action_us <= $1 and state = 1 order by next_action_us limit 1000) d)";
/// Time-outs, broken SLAs, reminders.
const TICKS: &str = concat!(
    "select ",
    columns!(),
    " from demand d where next_action_us <= $1
        and (state <> 1 or (due_us <= $1 and not breached))
        and ($3::uuid is null or (tenant_id = $3 and shard = $5 and demand_id = $4))
      order by next_action_us limit $2 for no key update skip locked"
);
const TICK_KEYS: &str = "select tenant_id, demand_id from demand where next_action_us <= $1
        and (state <> 1 or (due_us <= $1 and not breached))
      order by next_action_us limit $2";
const DUE: &str = concat!(
    "select ",
    columns!(),
    " from demand d where next_action_us <= $2 and tenant_id = $1 and state = 1
      order by priority desc, created_us, demand_id limit $3"
);
/// Negated, so that one comparison of rows is the order of the queue.
const WAITING: &str = concat!(
    "select ",
    columns!(),
    " from demand d where tenant_id = $1 and state = 1 and priority <= $2
        and (-priority, created_us, demand_id) > (-$2, $3, $4)
      order by priority desc, created_us, demand_id limit $5"
);
const RETURNED: &str = "select demand_id, agent, max(ended_us) from offer
    where tenant_id = $1 and demand_id = any($2) and state in (3, 4) and ended_us > $3
    group by demand_id, agent";
const LAST_AGENTS: &str = "select c.id, d.agent from unnest($2::uuid[]) c(id)
    cross join lateral (select agent from demand where tenant_id = $1 and customer_id = c.id
        and state in (4, 5) order by created_us desc, demand_id desc limit 1) d";

/// What there is for a router to do.
#[derive(Debug)]
pub(crate) struct Look {
    /// When something is due next.
    pub(crate) next_us: Option<i64>,
    /// Somebody became free.
    pub(crate) stirred: bool,
    /// A timer went off: an offer, a broken SLA, a reminder.
    pub(crate) ticks: bool,
    due: Vec<Uuid>,
}

impl Look {
    /// Tenants with demands that are due to be attempted.
    pub(crate) fn due_tenants(&self) -> impl Iterator<Item = TenantId> {
        self.due.iter().copied().map(TenantId::new)
    }
}

/// What is to be done at `now_us`.
pub(crate) async fn look(executor: impl PgExecutor<'_>, now_us: i64) -> Result<Look, Error> {
    let (next_us, stirred, ticks, due) =
        sqlx::query_as(LOOK).bind(now_us).fetch_one(executor).await?;
    Ok(Look { next_us, stirred, ticks, due })
}

/// Locks demands whose timer went off, or one of them; those locked by others come next time.
pub(crate) async fn ticks(
    connection: &mut PgConnection,
    only: Option<Key>,
    now_us: i64,
    limit: i64,
) -> Result<Found, Error> {
    let query = sqlx::query(TICKS).bind(now_us).bind(limit);
    let query = query.bind(only.map(|(tenant, _)| tenant.uuid()));
    let query = query.bind(only.map(|(_, id)| id.uuid()));
    let query = query.bind(only.map(|(_, id)| Shard::of(id.uuid()).number()));
    let rows = query.fetch_all(connection).await?;
    read_all(&rows)
}

/// Which demands those are, not locked.
pub(crate) async fn tick_keys(
    executor: impl PgExecutor<'_>,
    now_us: i64,
    limit: i64,
) -> Result<Vec<Key>, Error> {
    let query = sqlx::query_as(TICK_KEYS).bind(now_us).bind(limit);
    let rows: Vec<(Uuid, Uuid)> = query.fetch_all(executor).await?;
    Ok(rows.into_iter().map(|(t, id)| (TenantId::new(t), DemandId::new(id))).collect())
}

/// A place in the queue.
pub(crate) type Place = (i16, i64, Uuid);

/// Before everybody.
pub(crate) const FRONT: Place = (i16::MAX, i64::MIN, Uuid::nil());

/// A part of the queue, in the order in which demands are served. Not locked: a row that
/// somebody holds for a moment must not lose its turn.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) found: Found,
    /// Where the queue goes on, if the page is full.
    pub(crate) next: Option<Place>,
}

fn page(rows: &[PgRow], limit: i64) -> Result<Page, Error> {
    let last = rows.last().filter(|_| rows.len() as i64 == limit);
    let place = |row: &PgRow| -> Result<Place, Error> {
        Ok((row.try_get("priority")?, row.try_get("created_us")?, row.try_get("demand_id")?))
    };
    Ok(Page { found: read_all(rows)?, next: last.map(place).transpose()? })
}

/// Queued demands that are due.
pub(crate) async fn due(
    connection: &mut PgConnection,
    tenant: TenantId,
    now_us: i64,
    limit: i64,
) -> Result<Page, Error> {
    let query = sqlx::query(DUE).bind(tenant.uuid()).bind(now_us).bind(limit);
    page(&query.fetch_all(connection).await?, limit)
}

/// Queued demands after a place, due or not.
pub(crate) async fn waiting(
    connection: &mut PgConnection,
    tenant: TenantId,
    after: Place,
    limit: i64,
) -> Result<Page, Error> {
    let (priority, created_us, id) = after;
    let query = sqlx::query(WAITING).bind(tenant.uuid()).bind(priority).bind(created_us).bind(id);
    page(&query.bind(limit).fetch_all(connection).await?, limit)
}

/// Who gave back which of the demands since a time.
pub(crate) async fn returned(
    connection: &mut PgConnection,
    tenant: TenantId,
    demands: &[Uuid],
    since_us: i64,
) -> Result<Returned, Error> {
    let mut returned = Returned::new();
    if demands.is_empty() {
        return Ok(returned);
    }
    let query = sqlx::query_as(RETURNED).bind(tenant.uuid()).bind(demands).bind(since_us);
    let rows: Vec<(Uuid, String, i64)> = query.fetch_all(connection).await?;
    for (demand, agent, at_us) in rows {
        returned.entry(DemandId::new(demand)).or_default().insert(agent, at_us);
    }
    Ok(returned)
}

/// Who last worked for the customers.
pub(crate) async fn last_agents(
    connection: &mut PgConnection,
    tenant: TenantId,
    customers: &[Uuid],
) -> Result<HashMap<CustomerId, String>, Error> {
    let query = sqlx::query_as(LAST_AGENTS).bind(tenant.uuid()).bind(customers);
    let rows: Vec<(Uuid, String)> = query.fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(customer, agent)| (CustomerId::new(customer), agent)).collect())
}
