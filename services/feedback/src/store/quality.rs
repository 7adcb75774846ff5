//! Scores joined to what came of their demands.

use ::store::{Database, Error};
use futures::TryStreamExt;
use kernel::TenantId;
use sqlx::Row;

use crate::domain::quality::{Filter, Judged, Sample};

const READ: &str = "select s.value, s.probability, o.result is not null as known, o.polarity
    from used_score s left join outcome o using (tenant_id, shard, demand_id)
    where s.tenant_id = $1 and s.scorer = $2 and s.event_us >= $3 and s.event_us < $4
        and ($5 = '' or s.kind = $5) and s.scorer_version >= $6 and s.scorer_version <= $7
    order by s.event_us desc limit $8";

/// Reads at most `limit` scores, the latest ones by event time. Rows are streamed: only what
/// the judgement needs is kept, 32 bytes a score.
pub(crate) async fn read(
    database: &Database,
    tenant: TenantId,
    filter: &Filter,
    limit: u32,
) -> Result<Sample, Error> {
    let mut connection = database.acquire().await?;
    let mut rows = sqlx::query(READ)
        .bind(tenant.uuid())
        .bind(&filter.scorer)
        .bind(filter.start_us)
        .bind(filter.end_us)
        .bind(&filter.kind)
        .bind(filter.min_version)
        .bind(filter.max_version)
        .bind(i64::from(limit))
        .fetch(&mut *connection);
    let mut sample = Sample::default();
    while let Some(row) = rows.try_next().await? {
        let polarity: Option<bool> = row.try_get("polarity")?;
        match polarity {
            Some(positive) => sample.judged.push(Judged {
                value: row.try_get("value")?,
                probability: row.try_get("probability")?,
                positive,
            }),
            None if !row.try_get::<bool, _>("known")? => sample.waiting += 1,
            None => {} // spam, out of reach: no label, and none to wait for
        }
    }
    Ok(sample)
}
