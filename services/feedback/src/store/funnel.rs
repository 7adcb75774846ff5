//! The funnel, read in one snapshot. Costs a scan of the demands of the time range; the
//! statement time-out bounds it.

use ::store::{Database, Error};
use kernel::TenantId;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row};

use crate::domain::funnel::{Filter, Funnel, Reached, Tally};
use crate::domain::outcome::OutcomeResult;
use crate::domain::survey::Answers;

const SNAPSHOT: &str = "set transaction isolation level repeatable read, read only";

/// Percentiles are exact (`percentile_cont`); clocks of two machines may differ, so a dwell
/// is never below 0.
const STAGES: &str = "with facts as (
        select f.*, case when f.reached = 4 and o.polarity then 5 else f.reached end as furthest,
            greatest(o.recorded_us, f.closed_us) as positive_us
        from demand_fact f left join outcome o using (tenant_id, shard, demand_id)
        where f.tenant_id = $1 and f.created_us >= $2 and f.created_us < $3
            and ($4 = '' or f.kind = $4) and ($5 = '' or f.team = $5)),
    steps as (
        select facts.furthest, step.stage,
            case when step.before_us is not null and step.at_us is not null
                then greatest(step.at_us - step.before_us, 0) end as dwell
        from facts cross join lateral (values
            (0, null::bigint, created_us), (1, created_us, offered_us),
            (2, offered_us, accepted_us), (3, accepted_us, started_us),
            (4, started_us, closed_us), (5, closed_us, positive_us)) as step(stage, before_us, at_us)
        where step.stage <= facts.furthest)
    select stage, count(*) as reached,
        percentile_cont(0.5) within group (order by dwell) as p50,
        percentile_cont(0.9) within group (order by dwell) as p90
    from steps group by stage";

const RESULTS: &str = "select o.result, o.currency, count(*) as demands,
        sum(o.value_micros)::text as value
    from demand_fact f join outcome o using (tenant_id, shard, demand_id)
    where f.tenant_id = $1 and f.created_us >= $2 and f.created_us < $3
        and ($4 = '' or f.kind = $4) and ($5 = '' or f.team = $5)
    group by o.result, o.currency order by o.result, o.currency";

const SURVEYS: &str = "select count(*) filter (where s.kind = 1) as nps,
        count(*) filter (where s.kind = 1 and s.score >= 9) as promoters,
        count(*) filter (where s.kind = 1 and s.score <= 6) as detractors,
        count(*) filter (where s.kind = 2) as csat,
        coalesce(sum(s.score) filter (where s.kind = 2), 0) as csat_sum
    from demand_fact f join survey s using (tenant_id, shard, demand_id)
    where f.tenant_id = $1 and f.created_us >= $2 and f.created_us < $3
        and ($4 = '' or f.kind = $4) and ($5 = '' or f.team = $5)";

/// Reads the funnel.
pub(crate) async fn read(
    database: &Database,
    tenant: TenantId,
    filter: &Filter,
) -> Result<Funnel, Error> {
    ::store::transaction!(database, async |connection| {
        sqlx::query(SNAPSHOT).execute(&mut *connection).await?;
        Ok::<_, Error>(Funnel {
            stages: stages(connection, tenant, filter).await?,
            results: results(connection, tenant, filter).await?,
            answers: answers(connection, tenant, filter).await?,
        })
    })
}

fn filtered<'q>(
    sql: &'static str,
    tenant: TenantId,
    filter: &'q Filter,
) -> Query<'q, Postgres, PgArguments> {
    sqlx::query(sql)
        .bind(tenant.uuid())
        .bind(filter.start_us)
        .bind(filter.end_us)
        .bind(&filter.kind)
        .bind(&filter.team)
}

async fn stages(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &Filter,
) -> Result<[Reached; 6], Error> {
    let mut stages = [Reached::default(); 6];
    for row in filtered(STAGES, tenant, filter).fetch_all(connection).await? {
        let stage: i32 = row.try_get("stage")?;
        let place = usize::try_from(stage).ok().and_then(|stage| stages.get_mut(stage));
        let (p50, p90): (Option<f64>, Option<f64>) = (row.try_get("p50")?, row.try_get("p90")?);
        if let Some(place) = place {
            *place = Reached { demands: row.try_get("reached")?, dwell: p50.zip(p90) };
        }
    }
    Ok(stages)
}

async fn results(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &Filter,
) -> Result<Vec<Tally>, Error> {
    let mut tallies: Vec<Tally> = Vec::new();
    for row in filtered(RESULTS, tenant, filter).fetch_all(connection).await? {
        let (result, demands, value) = tally(&row)?;
        match tallies.last_mut() {
            Some(last) if last.result == result => {
                last.demands += demands;
                last.values.extend(value);
            }
            _ => tallies.push(Tally { result, demands, values: value.into_iter().collect() }),
        }
    }
    Ok(tallies)
}

type Part = (OutcomeResult, i64, Option<(String, i128)>);

fn tally(row: &PgRow) -> Result<Part, Error> {
    let result: i16 = row.try_get("result")?;
    let result = OutcomeResult::from_number(result.into());
    let currency: String = row.try_get("currency")?;
    // A sum of bigint is numeric: it does not overflow there, so it must not here.
    let sum: String = row.try_get("value")?;
    let sum: i128 = sum.parse().map_err(|_| Error::internal("a sum does not parse"))?;
    Ok((
        result.ok_or_else(|| Error::internal("an unknown result is stored"))?,
        row.try_get("demands")?,
        (!currency.is_empty()).then_some((currency, sum)),
    ))
}

async fn answers(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &Filter,
) -> Result<Answers, Error> {
    let row = filtered(SURVEYS, tenant, filter).fetch_one(connection).await?;
    Ok(Answers {
        nps: row.try_get("nps")?,
        promoters: row.try_get("promoters")?,
        detractors: row.try_get("detractors")?,
        csat: row.try_get("csat")?,
        csat_sum: row.try_get("csat_sum")?,
    })
}
