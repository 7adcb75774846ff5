//! Table `demand_fact`, and `used_score` which is written with it.

use std::collections::{BTreeMap, BTreeSet};

use ::store::Error;
use kernel::CustomerId;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::{Keys, key};
use crate::domain::Key;
use crate::domain::fact::{Change, Fact, Stage};

const LOCK: &str = "select f.* from demand_fact f
    join unnest($1::uuid[], $2::smallint[], $3::uuid[]) as k(tenant_id, shard, demand_id)
        using (tenant_id, shard, demand_id)
    order by f.tenant_id, f.shard, f.demand_id for update of f";

/// Reads the facts of those demands that are known and locks them until the end of the
/// transaction: whoever changes a demand's outcome holds its fact.
pub(crate) async fn lock(
    connection: &mut PgConnection,
    keys: &BTreeSet<Key>,
) -> Result<BTreeMap<Key, Fact>, Error> {
    let columns = Keys::of(keys.iter());
    let rows = sqlx::query(LOCK)
        .bind(columns.tenants)
        .bind(columns.shards)
        .bind(columns.demands)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((key(row)?, fact(row)?))).collect()
}

fn fact(row: &PgRow) -> Result<Fact, Error> {
    let reached = Stage::from_number(row.try_get("reached")?);
    Ok(Fact {
        version: row.try_get("version")?,
        customer: CustomerId::new(row.try_get("customer_id")?),
        kind: row.try_get("kind")?,
        team: row.try_get("team")?,
        agent: row.try_get("agent")?,
        event_us: row.try_get("event_us")?,
        created_us: row.try_get("created_us")?,
        offered_us: row.try_get("offered_us")?,
        accepted_us: row.try_get("accepted_us")?,
        started_us: row.try_get("started_us")?,
        closed_us: row.try_get("closed_us")?,
        reached: reached.ok_or_else(|| Error::internal("an unknown stage is stored"))?,
        scored: row.try_get("scored")?,
    })
}

const SAVE: &str = "insert into demand_fact (tenant_id, shard, demand_id, customer_id, kind, team,
        agent, version, event_us, created_us, offered_us, accepted_us, started_us, closed_us,
        reached, scored)
    select * from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::uuid[], $5::text[], $6::text[],
        $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
        $13::bigint[], $14::bigint[], $15::smallint[], $16::boolean[])
    on conflict (tenant_id, shard, demand_id) do update set
        customer_id = excluded.customer_id, team = excluded.team, agent = excluded.agent,
        version = excluded.version, offered_us = excluded.offered_us,
        accepted_us = excluded.accepted_us, started_us = excluded.started_us,
        closed_us = excluded.closed_us, reached = excluded.reached, scored = excluded.scored";

/// Writes new and changed facts.
pub(crate) async fn save(
    connection: &mut PgConnection,
    facts: &BTreeMap<Key, Fact>,
) -> Result<(), Error> {
    if facts.is_empty() {
        return Ok(());
    }
    fn column<T>(facts: &BTreeMap<Key, Fact>, of: impl Fn(&Fact) -> T) -> Vec<T> {
        facts.values().map(of).collect()
    }
    let keys = Keys::of(facts.keys());
    sqlx::query(SAVE)
        .bind(keys.tenants)
        .bind(keys.shards)
        .bind(keys.demands)
        .bind(column(facts, |fact| fact.customer.uuid()))
        .bind(column(facts, |fact| fact.kind.clone()))
        .bind(column(facts, |fact| fact.team.clone()))
        .bind(column(facts, |fact| fact.agent.clone()))
        .bind(column(facts, |fact| fact.version))
        .bind(column(facts, |fact| fact.event_us))
        .bind(column(facts, |fact| fact.created_us))
        .bind(column(facts, |fact| fact.offered_us))
        .bind(column(facts, |fact| fact.accepted_us))
        .bind(column(facts, |fact| fact.started_us))
        .bind(column(facts, |fact| fact.closed_us))
        .bind(column(facts, |fact| fact.reached.number()))
        .bind(column(facts, |fact| fact.scored))
        .execute(connection)
        .await?;
    Ok(())
}

const SAVE_SCORES: &str = "insert into used_score (tenant_id, shard, demand_id, scorer,
        scorer_version, value, probability, kind, event_us)
    select * from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::text[], $5::bigint[],
        $6::double precision[], $7::double precision[], $8::text[], $9::bigint[])
    on conflict do nothing";

/// Keeps the scores that the demands were routed with; the first answer of a version stays.
pub(crate) async fn save_scores(
    connection: &mut PgConnection,
    changes: &[&Change],
) -> Result<(), Error> {
    let scores: Vec<_> = changes
        .iter()
        .flat_map(|change| change.scores.iter().map(move |score| (*change, score)))
        .collect();
    if scores.is_empty() {
        return Ok(());
    }
    let keys = Keys::of(scores.iter().map(|(change, _)| &change.key));
    let scorers: Vec<&str> = scores.iter().map(|(_, score)| score.scorer.as_str()).collect();
    let versions: Vec<i64> = scores.iter().map(|(_, score)| score.scorer_version).collect();
    let values: Vec<f64> = scores.iter().map(|(_, score)| score.value).collect();
    let probabilities: Vec<Option<f64>> =
        scores.iter().map(|(_, score)| score.probability).collect();
    let kinds: Vec<&str> = scores.iter().map(|(change, _)| change.kind.as_str()).collect();
    let times: Vec<i64> = scores.iter().map(|(change, _)| change.event_us).collect();
    sqlx::query(SAVE_SCORES)
        .bind(keys.tenants)
        .bind(keys.shards)
        .bind(keys.demands)
        .bind(scorers)
        .bind(versions)
        .bind(values)
        .bind(probabilities)
        .bind(kinds)
        .bind(times)
        .execute(connection)
        .await?;
    Ok(())
}
