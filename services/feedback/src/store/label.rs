//! The labels in force, in the order of a snapshot.

use ::store::{Database, Error};
use sqlx::Row;
use uuid::Uuid;

use super::key;
use crate::domain::Key;
use crate::domain::outcome::Label;

const PAGE: &str = "select o.tenant_id, o.demand_id, o.label, o.label_version, o.label_event_us,
        f.kind
    from outcome o join demand_fact f using (tenant_id, shard, demand_id)
    where o.label is not null and o.shard = any($1) and (o.tenant_id, o.demand_id) > ($2, $3)
    order by o.tenant_id, o.demand_id limit $4";

/// At most `limit` labels of the shards after a key, each with the demand's kind.
pub(crate) async fn page(
    database: &Database,
    shards: Vec<i16>,
    after: (Uuid, Uuid),
    limit: i64,
) -> Result<Vec<(Key, String, Label)>, Error> {
    let mut connection = database.acquire().await?;
    let rows = sqlx::query(PAGE)
        .bind(shards)
        .bind(after.0)
        .bind(after.1)
        .bind(limit)
        .fetch_all(&mut *connection)
        .await?;
    rows.iter()
        .map(|row| {
            let label = Label {
                positive: row.try_get("label")?,
                version: row.try_get("label_version")?,
                event_us: row.try_get("label_event_us")?,
            };
            Ok((key(row)?, row.try_get("kind")?, label))
        })
        .collect()
}
