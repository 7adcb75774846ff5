//! Tables `outcome` and `outcome_history`. The caller holds the demands' facts locked.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ::store::{Database, Error};
use kernel::TenantId;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::{Keys, key};
use crate::domain::Key;
use crate::domain::outcome::{Label, Outcome, OutcomeResult, Recording, Statement, Value};

const READ: &str = "select o.* from outcome o
    join unnest($1::uuid[], $2::smallint[], $3::uuid[]) as k(tenant_id, shard, demand_id)
        using (tenant_id, shard, demand_id)";

/// The outcomes in force.
pub(crate) async fn read(
    connection: &mut PgConnection,
    keys: &BTreeSet<Key>,
) -> Result<BTreeMap<Key, Outcome>, Error> {
    let columns = Keys::of(keys.iter());
    let rows = sqlx::query(READ)
        .bind(columns.tenants)
        .bind(columns.shards)
        .bind(columns.demands)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((key(row)?, outcome(row)?))).collect()
}

fn outcome(row: &PgRow) -> Result<Outcome, Error> {
    let label: (Option<bool>, Option<i64>, Option<i64>) =
        (row.try_get("label")?, row.try_get("label_version")?, row.try_get("label_event_us")?);
    let label = match label {
        (Some(positive), Some(version), Some(event_us)) => {
            Some(Label { positive, version, event_us })
        }
        _ => None,
    };
    Ok(Outcome {
        statement: statement(row)?,
        recorded_us: row.try_get("recorded_us")?,
        version: row.try_get("version")?,
        label,
    })
}

fn statement(row: &PgRow) -> Result<Statement, Error> {
    let result: i16 = row.try_get("result")?;
    let currency: String = row.try_get("currency")?;
    let micros = row.try_get("value_micros")?;
    Ok(Statement {
        result: OutcomeResult::from_number(result.into())
            .ok_or_else(|| Error::internal("an unknown result is stored"))?,
        value: (!currency.is_empty()).then_some(Value { micros, currency }),
        reason: row.try_get("reason")?,
        event_us: row.try_get("event_us")?,
    })
}

const PAGE: &str = "select o.*, d.customer_id, d.kind, d.team, d.agent
    from outcome o join demand_fact d using (tenant_id, shard, demand_id)
    where o.tenant_id = $1 and (o.shard, o.demand_id) > ($2, $3)
    order by o.shard, o.demand_id limit $4";

/// An outcome with what is known of its demand.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) key: Key,
    pub(crate) outcome: Outcome,
    /// The nil UUID once the customer was erased.
    pub(crate) customer: Uuid,
    pub(crate) kind: String,
    pub(crate) team: String,
    pub(crate) agent: String,
}

/// At most `limit` outcomes in force after a key, in the order of their keys.
pub(crate) async fn after(
    database: &Database,
    tenant: TenantId,
    after: Option<Key>,
    limit: usize,
) -> Result<Vec<Listed>, Error> {
    let (shard, demand) =
        after.map_or((-1, Uuid::nil()), |key| (key.shard().number(), key.demand.uuid()));
    let rows = sqlx::query(PAGE)
        .bind(tenant.uuid())
        .bind(shard)
        .bind(demand)
        .bind(limit as i64)
        .fetch_all(database.pool())
        .await?;
    let listed = |row: &PgRow| {
        Ok(Listed {
            key: key(row)?,
            outcome: outcome(row)?,
            customer: row.try_get("customer_id")?,
            kind: row.try_get("kind")?,
            team: row.try_get("team")?,
            agent: row.try_get("agent")?,
        })
    };
    rows.iter().map(listed).collect()
}

const READ_HISTORY: &str = "select h.* from outcome_history h
    join (select distinct * from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::bigint[])
            as k(tenant_id, shard, demand_id, event_us)) k
        using (tenant_id, shard, demand_id, event_us)";

/// Which of the statements, or others about the same instants, were made before.
pub(crate) async fn known(
    connection: &mut PgConnection,
    recordings: &[&Recording],
) -> Result<HashSet<(Key, Statement)>, Error> {
    let keys = Keys::of(recordings.iter().map(|recording| &recording.key));
    let times: Vec<i64> = recordings.iter().map(|recording| recording.statement.event_us).collect();
    let rows = sqlx::query(READ_HISTORY)
        .bind(keys.tenants)
        .bind(keys.shards)
        .bind(keys.demands)
        .bind(times)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((key(row)?, statement(row)?))).collect()
}

const SAVE_HISTORY: &str = "insert into outcome_history (tenant_id, shard, demand_id, event_us,
        result, value_micros, currency, reason, recorded_us)
    select * from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::bigint[], $5::smallint[],
        $6::bigint[], $7::text[], $8::text[], $9::bigint[])
    on conflict do nothing";

/// Keeps statements for good.
pub(crate) async fn save_history(
    connection: &mut PgConnection,
    recordings: &[&Recording],
) -> Result<(), Error> {
    if recordings.is_empty() {
        return Ok(());
    }
    let keys = Keys::of(recordings.iter().map(|recording| &recording.key));
    let columns = Columns::of(recordings.iter().map(|recording| &recording.statement));
    let recorded: Vec<i64> = recordings.iter().map(|recording| recording.recorded_us).collect();
    sqlx::query(SAVE_HISTORY)
        .bind(keys.tenants)
        .bind(keys.shards)
        .bind(keys.demands)
        .bind(columns.times)
        .bind(columns.results)
        .bind(columns.micros)
        .bind(columns.currencies)
        .bind(columns.reasons)
        .bind(recorded)
        .execute(connection)
        .await?;
    Ok(())
}

/// Statements as columns.
struct Columns<'s> {
    times: Vec<i64>,
    results: Vec<i16>,
    micros: Vec<i64>,
    currencies: Vec<&'s str>,
    reasons: Vec<&'s str>,
}

impl<'s> Columns<'s> {
    fn of(statements: impl Iterator<Item = &'s Statement> + Clone) -> Self {
        let value = |statement: &'s Statement| statement.value.as_ref();
        Self {
            times: statements.clone().map(|statement| statement.event_us).collect(),
            results: statements.clone().map(|statement| statement.result.number()).collect(),
            micros: statements.clone().map(|s| value(s).map_or(0, |value| value.micros)).collect(),
            currencies: statements
                .clone()
                .map(|s| value(s).map_or("", |value| value.currency.as_str()))
                .collect(),
            reasons: statements.map(|statement| statement.reason.as_str()).collect(),
        }
    }
}

const SAVE: &str = "insert into outcome (tenant_id, shard, demand_id, event_us, result,
        value_micros, currency, reason, polarity, recorded_us, version, label, label_version,
        label_event_us)
    select * from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::bigint[], $5::smallint[],
        $6::bigint[], $7::text[], $8::text[], $9::boolean[], $10::bigint[], $11::bigint[],
        $12::boolean[], $13::bigint[], $14::bigint[])
    on conflict (tenant_id, shard, demand_id) do update set
        event_us = excluded.event_us, result = excluded.result,
        value_micros = excluded.value_micros, currency = excluded.currency,
        reason = excluded.reason, polarity = excluded.polarity,
        recorded_us = excluded.recorded_us, version = excluded.version, label = excluded.label,
        label_version = excluded.label_version, label_event_us = excluded.label_event_us";

/// Writes outcomes that are in force from now on.
pub(crate) async fn save(
    connection: &mut PgConnection,
    outcomes: &BTreeMap<Key, &Outcome>,
) -> Result<(), Error> {
    if outcomes.is_empty() {
        return Ok(());
    }
    let keys = Keys::of(outcomes.keys());
    let columns = Columns::of(outcomes.values().map(|outcome| &outcome.statement));
    let polarities: Vec<Option<bool>> =
        outcomes.values().map(|outcome| outcome.statement.result.polarity()).collect();
    let recorded: Vec<i64> = outcomes.values().map(|outcome| outcome.recorded_us).collect();
    let versions: Vec<i64> = outcomes.values().map(|outcome| outcome.version).collect();
    let labels = || outcomes.values().map(|outcome| outcome.label);
    sqlx::query(SAVE)
        .bind(keys.tenants)
        .bind(keys.shards)
        .bind(keys.demands)
        .bind(columns.times)
        .bind(columns.results)
        .bind(columns.micros)
        .bind(columns.currencies)
        .bind(columns.reasons)
        .bind(polarities)
        .bind(recorded)
        .bind(versions)
        .bind(labels().map(|label| Some(label?.positive)).collect::<Vec<Option<bool>>>())
        .bind(labels().map(|label| Some(label?.version)).collect::<Vec<Option<i64>>>())
        .bind(labels().map(|label| Some(label?.event_us)).collect::<Vec<Option<i64>>>())
        .execute(connection)
        .await?;
    Ok(())
}
