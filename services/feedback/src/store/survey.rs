//! Table `survey`.

use ::store::{Database, Error};

use crate::domain::survey::Survey;

const SAVE: &str =
    "insert into survey (tenant_id, survey_id, shard, demand_id, kind, score, event_us)
    select $1, $2, $3, $4, $5, $6, $7
    where exists (select from demand_fact
        where tenant_id = $1 and shard = $3 and demand_id = $4)
    on conflict (tenant_id, survey_id) do update set shard = excluded.shard,
        demand_id = excluded.demand_id, kind = excluded.kind, score = excluded.score,
        event_us = excluded.event_us";

/// Keeps or replaces an answer; false if the demand is not known.
pub(crate) async fn save(database: &Database, survey: &Survey) -> Result<bool, Error> {
    let mut connection = database.acquire().await?;
    let saved = sqlx::query(SAVE)
        .bind(survey.key.tenant.uuid())
        .bind(&survey.id)
        .bind(survey.key.shard().number())
        .bind(survey.key.demand.uuid())
        .bind(survey.scale.number())
        .bind(survey.score)
        .bind(survey.event_us)
        .execute(&mut *connection)
        .await?;
    Ok(saved.rows_affected() == 1)
}
