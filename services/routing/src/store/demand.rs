//! Demands: one row each, the lock of everything that belongs to it.

use kernel::{CustomerId, DemandId, OfferId, Shard, TenantId};
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::{AssertSqlSafe, PgExecutor, Row};
use store::Error;
use uuid::Uuid;

use super::damaged;
use crate::domain::{Closing, Demand, Money, Outcome, Score, State};

/// All columns, in the order that [`read`] names.
macro_rules! columns {
    () => {
        "d.tenant_id, d.demand_id, d.customer_id, d.kind, d.policy, d.policy_version, d.state, \
         d.version, d.required_skills, d.priority, d.agent, d.team, d.offer_id, d.event_us, \
         d.created_us, d.due_us, d.breached, d.wake_us, d.offers, d.attempts, d.score_due_us, \
         d.scores, d.result, d.value_currency, d.value_units, d.value_nanos, d.result_reason, \
         d.traceparent"
    };
}
pub(crate) use columns;

const FIND: &str = concat!(
    "select ",
    columns!(),
    " from demand d join unnest($1::uuid[], $2::smallint[], $3::uuid[]) k(tenant_id, shard, id)
        on d.tenant_id = k.tenant_id and d.shard = k.shard and d.demand_id = k.id"
);
const LOCK: &str = concat!(
    "select ",
    columns!(),
    " from demand d join unnest($1::uuid[], $2::smallint[], $3::uuid[]) k(tenant_id, shard, id)
        on d.tenant_id = k.tenant_id and d.shard = k.shard and d.demand_id = k.id
      order by d.tenant_id, d.shard, d.demand_id for no key update of d"
);
const GET: &str = concat!(
    "select ",
    columns!(),
    " from demand d where tenant_id = $1 and shard = $2 and demand_id = $3"
);
const INSERT: &str = "insert into demand (tenant_id, shard, demand_id, customer_id, kind, policy,
        policy_version, state, version, priority, event_us, created_us, due_us, wake_us,
        next_action_us, score_due_us, scores, required_skills, traceparent)
    select n.tenant_id, n.shard, n.demand_id, n.customer_id, n.kind, n.policy, n.policy_version,
        1, 1, n.priority, n.event_us, n.created_us, n.due_us, n.wake_us, n.next_action_us,
        n.score_due_us, n.scores, array(select jsonb_array_elements_text(n.skills)), n.traceparent
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::uuid[], $5::text[], $6::text[],
        $7::bigint[], $8::smallint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
        $13::bigint[], $14::bigint[], $15::bytea[], $16::jsonb[], $17::text[])
        n(tenant_id, shard, demand_id, customer_id, kind, policy, policy_version, priority,
          event_us, created_us, due_us, wake_us, next_action_us, score_due_us, scores, skills,
          traceparent)
    order by n.tenant_id, n.shard, n.demand_id
    on conflict do nothing returning tenant_id, demand_id";
const UPDATE: &str = "update demand d set policy_version = n.policy_version, state = n.state,
        version = n.version, agent = n.agent, team = n.team, offer_id = n.offer_id,
        breached = n.breached, wake_us = n.wake_us, next_action_us = n.next_action_us,
        offers = n.offers, attempts = n.attempts, score_due_us = n.score_due_us,
        customer_id = n.customer_id, traceparent = n.traceparent, scores = n.scores,
        result = n.result, value_currency = n.value_currency, value_units = n.value_units,
        value_nanos = n.value_nanos, result_reason = n.result_reason
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::bigint[], $5::smallint[],
        $6::bigint[], $7::text[], $8::text[], $9::uuid[], $10::boolean[], $11::bigint[],
        $12::bigint[], $13::integer[], $14::integer[], $15::bigint[], $16::bytea[], $17::smallint[],
        $18::text[], $19::bigint[], $20::integer[], $21::text[], $22::uuid[], $23::text[])
        n(tenant_id, shard, demand_id, policy_version, state, version, agent, team, offer_id,
          breached, wake_us, next_action_us, offers, attempts, score_due_us, scores, result,
          value_currency, value_units, value_nanos, result_reason, customer_id, traceparent)
    where d.tenant_id = n.tenant_id and d.shard = n.shard and d.demand_id = n.demand_id";

pub(crate) fn read(row: &PgRow) -> Result<Demand, Error> {
    let state: i16 = row.try_get("state")?;
    let scores: Vec<u8> = row.try_get("scores")?;
    let scores: Vec<Score> = serde_json::from_slice(&scores).map_err(|_| damaged("score"))?;
    let offer: Option<Uuid> = row.try_get("offer_id")?;
    Ok(Demand {
        tenant: TenantId::new(row.try_get("tenant_id")?),
        id: DemandId::new(row.try_get("demand_id")?),
        customer: CustomerId::new(row.try_get("customer_id")?),
        kind: row.try_get("kind")?,
        policy: row.try_get("policy")?,
        policy_version: row.try_get("policy_version")?,
        state: State::from_number(state).ok_or_else(|| damaged("state"))?,
        version: row.try_get("version")?,
        required_skills: row.try_get("required_skills")?,
        priority: row.try_get("priority")?,
        agent: row.try_get("agent")?,
        team: row.try_get("team")?,
        offer: offer.map(OfferId::new),
        event_us: row.try_get("event_us")?,
        created_us: row.try_get("created_us")?,
        due_us: row.try_get("due_us")?,
        breached: row.try_get("breached")?,
        wake_us: row.try_get("wake_us")?,
        offers: row.try_get("offers")?,
        attempts: row.try_get("attempts")?,
        score_due_us: row.try_get("score_due_us")?,
        scores,
        closing: read_closing(row)?,
        traceparent: row.try_get("traceparent")?,
    })
}

fn read_closing(row: &PgRow) -> Result<Option<Closing>, Error> {
    let Some(result) = row.try_get::<Option<i16>, _>("result")? else { return Ok(None) };
    let outcome = Outcome::from_number(result.into()).ok_or_else(|| damaged("result"))?;
    let currency: Option<String> = row.try_get("value_currency")?;
    let value = match currency {
        Some(currency) => {
            let units = row.try_get("value_units")?;
            Some(Money { currency, units, nanos: row.try_get("value_nanos")? })
        }
        None => None,
    };
    Ok(Some(Closing { outcome, value, reason: row.try_get("result_reason")? }))
}

fn encode_scores(scores: &[Score]) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(scores).map_err(|_| Error::internal("scores do not encode"))
}

/// What a statement found. A row that this release cannot read does not hide the others.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) demands: Vec<Demand>,
    pub(crate) damaged: Vec<Damaged>,
}

/// A row that cannot be read, and why.
pub(crate) type Damaged = (Key, Error);

/// Names a demand.
pub(crate) type Key = (TenantId, DemandId);

impl From<Vec<Demand>> for Found {
    fn from(demands: Vec<Demand>) -> Self {
        Self { demands, damaged: Vec::new() }
    }
}

/// Reads rows that belong to more than one demand.
pub(crate) fn read_all(rows: &[PgRow]) -> Result<Found, Error> {
    let mut found = Found::default();
    for row in rows {
        match read(row) {
            Ok(demand) => found.demands.push(demand),
            Err(error) => {
                let tenant = TenantId::new(row.try_get("tenant_id")?);
                let id = DemandId::new(row.try_get("demand_id")?);
                found.damaged.push(((tenant, id), error));
            }
        }
    }
    Ok(found)
}

/// Locks the demands, in the order of locks; absent ones are left out.
pub(crate) async fn lock(connection: &mut PgConnection, keys: &[Key]) -> Result<Found, Error> {
    by_key(connection, LOCK, keys).await
}

/// The demands, not locked; absent ones are left out.
pub(crate) async fn find(executor: impl PgExecutor<'_>, keys: &[Key]) -> Result<Found, Error> {
    by_key(executor, FIND, keys).await
}

async fn by_key(
    executor: impl PgExecutor<'_>,
    sql: &'static str,
    keys: &[Key],
) -> Result<Found, Error> {
    if keys.is_empty() {
        return Ok(Found::default());
    }
    let tenants: Vec<Uuid> = keys.iter().map(|(tenant, _)| tenant.uuid()).collect();
    let shards: Vec<i16> = keys.iter().map(|(_, id)| Shard::of(id.uuid()).number()).collect();
    let ids: Vec<Uuid> = keys.iter().map(|(_, id)| id.uuid()).collect();
    let query = sqlx::query(sql).bind(tenants).bind(shards).bind(ids);
    read_all(&query.fetch_all(executor).await?)
}

/// One demand, not locked.
pub(crate) async fn get(
    executor: impl PgExecutor<'_>,
    tenant: TenantId,
    id: DemandId,
) -> Result<Option<Demand>, Error> {
    let query = sqlx::query(GET).bind(tenant.uuid()).bind(Shard::of(id.uuid()).number());
    let row = query.bind(id.uuid()).fetch_optional(executor).await?;
    row.as_ref().map(read).transpose()
}

/// Inserts new demands; answers which of them were not there yet.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    demands: &[Demand],
) -> Result<Vec<(TenantId, DemandId)>, Error> {
    if demands.is_empty() {
        return Ok(Vec::new());
    }
    let scores: Result<Vec<_>, _> = demands.iter().map(|d| encode_scores(&d.scores)).collect();
    let skills: Vec<serde_json::Value> =
        demands.iter().map(|d| serde_json::Value::from(d.required_skills.clone())).collect();
    let column = |get: fn(&Demand) -> i64| demands.iter().map(get).collect::<Vec<i64>>();
    let optional =
        |get: fn(&Demand) -> Option<i64>| demands.iter().map(get).collect::<Vec<Option<i64>>>();
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(INSERT)
        .bind(demands.iter().map(|d| d.tenant.uuid()).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.shard().number()).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.id.uuid()).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.customer.uuid()).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.kind.as_str()).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.policy.as_str()).collect::<Vec<_>>())
        .bind(column(|d| d.policy_version))
        .bind(demands.iter().map(|d| d.priority).collect::<Vec<_>>())
        .bind(column(|d| d.event_us))
        .bind(column(|d| d.created_us))
        .bind(optional(|d| d.due_us))
        .bind(column(|d| d.wake_us))
        .bind(optional(Demand::next_action_us))
        .bind(optional(|d| d.score_due_us))
        .bind(scores?)
        .bind(skills)
        .bind(demands.iter().map(|d| d.traceparent.as_deref()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|(t, id)| (TenantId::new(t), DemandId::new(id))).collect())
}

/// Writes what changed of locked demands.
pub(crate) async fn update(
    connection: &mut PgConnection,
    demands: &[&Demand],
) -> Result<(), Error> {
    if demands.is_empty() {
        return Ok(());
    }
    let scores: Result<Vec<_>, _> = demands.iter().map(|d| encode_scores(&d.scores)).collect();
    let value = |d: &&Demand| d.closing.as_ref().and_then(|closing| closing.value.clone());
    let currencies: Vec<_> = demands.iter().map(|d| value(d).map(|m| m.currency)).collect();
    sqlx::query(UPDATE)
        .bind(demands.iter().map(|d| d.tenant.uuid()).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.shard().number()).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.id.uuid()).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.policy_version).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.state as i16).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.version).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.agent.as_str()).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.team.as_str()).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.offer.map(OfferId::uuid)).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.breached).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.wake_us).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.next_action_us()).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.offers).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.attempts).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.score_due_us).collect::<Vec<_>>())
        .bind(scores?)
        .bind(
            demands
                .iter()
                .map(|d| d.closing.as_ref().map(|c| c.outcome as i16))
                .collect::<Vec<_>>(),
        )
        .bind(currencies)
        .bind(demands.iter().map(|d| value(d).map(|m| m.units)).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| value(d).map(|m| m.nanos)).collect::<Vec<_>>())
        .bind(
            demands
                .iter()
                .map(|d| d.closing.as_ref().map_or("", |c| c.reason.as_str()))
                .collect::<Vec<_>>(),
        )
        .bind(demands.iter().map(|d| d.customer.uuid()).collect::<Vec<_>>())
        .bind(demands.iter().map(|d| d.traceparent.as_deref()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Which demands a list has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) customer: Option<CustomerId>,
    /// Empty means all.
    pub(crate) states: Vec<i16>,
    pub(crate) agent: Option<String>,
}

/// After which demand a list goes on: newest first.
pub(crate) type Place = (i64, Uuid);

/// One statement per leading column, so that each has its index.
macro_rules! list {
    ($leading:literal) => {
        concat!(
            "select ",
            columns!(),
            " from demand d where tenant_id = $1 and (created_us, demand_id) < ($2, $3)
              and (cardinality($4::smallint[]) = 0 or state = any($4))
              and ($5::uuid is null or customer_id = $5) and ($6::text is null or agent = $6)",
            $leading,
            " order by created_us desc, demand_id desc limit $7"
        )
    };
}
const LIST: &str = list!("");
const LIST_OF_CUSTOMER: &str = list!(" and customer_id = $5::uuid");
const LIST_OF_AGENT: &str = list!(" and agent = $6::text and agent <> ''");

/// Up to `limit` demands, newest first.
pub(crate) async fn list(
    pool: &PgPool,
    tenant: TenantId,
    filter: &Filter,
    after: Option<Place>,
    limit: usize,
) -> Result<Vec<Demand>, Error> {
    let sql = match (&filter.customer, &filter.agent) {
        (Some(_), _) => LIST_OF_CUSTOMER,
        (None, Some(_)) => LIST_OF_AGENT,
        (None, None) => LIST,
    };
    let (created_us, id) = after.unwrap_or((i64::MAX, Uuid::max()));
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(tenant.uuid())
        .bind(created_us)
        .bind(id)
        .bind(&filter.states)
        .bind(filter.customer.map(CustomerId::uuid))
        .bind(filter.agent.as_deref())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(pool)
        .await?;
    rows.iter().map(read).collect()
}

const SNAPSHOT: &str = concat!(
    "select ",
    columns!(),
    ", t.cause last_cause, t.event_us last_event_us, t.agent last_agent, t.offer_id last_offer
      from demand d join transition t on t.tenant_id = d.tenant_id and t.shard = d.shard
        and t.demand_id = d.demand_id and t.version = d.version
      where (d.tenant_id, d.shard, d.demand_id) > ($1, $2, $3) and d.shard = any($4)
      order by d.tenant_id, d.shard, d.demand_id limit $5"
);

/// A demand with its last transition.
pub(crate) struct Latest {
    pub(crate) demand: Demand,
    pub(crate) cause: String,
    pub(crate) event_us: i64,
    pub(crate) agent: String,
    pub(crate) offer: Option<OfferId>,
}

/// Demands of some shards in the order of (tenant, shard, id); none at the end. One that does not
/// decode is passed over: no reader would get past it.
pub(crate) async fn snapshot(
    pool: &PgPool,
    mut after: Option<(Uuid, Uuid)>,
    shards: &[i16],
    limit: i64,
) -> Result<Vec<Latest>, Error> {
    loop {
        let (tenant, id) = after.unwrap_or_default();
        let shard = after.map_or(-1, |(_, id)| Shard::of(id).number());
        let query = sqlx::query(SNAPSHOT).bind(tenant).bind(shard).bind(id).bind(shards);
        let query = query.bind(limit);
        let rows = query.fetch_all(pool).await?;
        let Some(last) = rows.last() else { return Ok(Vec::new()) };
        after = Some((last.try_get("tenant_id")?, last.try_get("demand_id")?));
        let mut sound = Vec::with_capacity(rows.len());
        for row in &rows {
            match latest(row) {
                Ok(latest) => sound.push(latest),
                Err(error) => {
                    let (tenant, demand): (Uuid, Uuid) =
                        (row.try_get("tenant_id")?, row.try_get("demand_id")?);
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(%tenant, %demand, error, "left out of a snapshot");
                }
            }
        }
        if !sound.is_empty() {
            return Ok(sound);
        }
    }
}

fn latest(row: &PgRow) -> Result<Latest, Error> {
    let offer: Option<Uuid> = row.try_get("last_offer")?;
    Ok(Latest {
        demand: read(row)?,
        cause: row.try_get("last_cause")?,
        event_us: row.try_get("last_event_us")?,
        agent: row.try_get("last_agent")?,
        offer: offer.map(OfferId::new),
    })
}
