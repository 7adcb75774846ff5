//! The label log: what came of uses, in the order in which it is learned.
//!
//! One consumer writes it (its lease is the fence), so a number is only visible after all
//! lower ones: a reader that follows the numbers misses nothing.

use std::collections::HashMap;

use kernel::{Shard, TenantId, UseId};
use sqlx::{PgConnection, PgPool};
use store::Error;
use uuid::Uuid;

use super::{codec, uuids};
use crate::domain::Features;

/// A label as it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) tenant: TenantId,
    pub(crate) use_id: UseId,
    pub(crate) version: i64,
    pub(crate) positive: bool,
    pub(crate) demand_kind: String,
    pub(crate) event_us: i64,
}

const LATEST: &str = "select distinct on (l.tenant_id, l.use_id)
        l.tenant_id, l.use_id, l.version, l.positive
    from unnest($1::uuid[], $2::uuid[]) as wanted(tenant_id, use_id)
    join label_log l using (tenant_id, use_id)
    order by l.tenant_id, l.use_id, l.version desc";

/// (version, positive) of the latest label of each use.
pub(crate) async fn latest_of(
    connection: &mut PgConnection,
    uses: &[(TenantId, UseId)],
) -> Result<HashMap<(TenantId, UseId), (i64, bool)>, Error> {
    let tenants: Vec<Uuid> = uses.iter().map(|(tenant, _)| tenant.uuid()).collect();
    let ids: Vec<Uuid> = uses.iter().map(|(_, id)| id.uuid()).collect();
    let rows: Vec<(Uuid, Uuid, i64, bool)> =
        sqlx::query_as(LATEST).bind(tenants).bind(ids).fetch_all(connection).await?;
    let entry = |(tenant, id, version, positive)| {
        ((TenantId::new(tenant), UseId::new(id)), (version, positive))
    };
    Ok(rows.into_iter().map(entry).collect())
}

const HEADS: &str = "select t.id,
        coalesce((select max(seq) from label_log l where l.tenant_id = t.id), 0)
    from unnest($1::uuid[]) as t(id)";
const APPEND: &str = "insert into label_log
        (tenant_id, seq, use_id, use_shard, version, positive, demand_kind, event_us)
    select * from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::smallint[], $5::bigint[],
        $6::boolean[], $7::text[], $8::bigint[])";

/// Appends labels in their order, numbered on from the last of their tenant.
pub(crate) async fn append(connection: &mut PgConnection, labels: &[Label]) -> Result<(), Error> {
    if labels.is_empty() {
        return Ok(());
    }
    let mut tenants: Vec<TenantId> = labels.iter().map(|label| label.tenant).collect();
    tenants.sort_unstable();
    tenants.dedup();
    let heads: Vec<(Uuid, i64)> =
        sqlx::query_as(HEADS).bind(uuids(&tenants)).fetch_all(&mut *connection).await?;
    let mut heads: HashMap<Uuid, i64> = heads.into_iter().collect();
    let mut seqs = Vec::with_capacity(labels.len());
    for label in labels {
        let head = heads.entry(label.tenant.uuid()).or_default();
        *head += 1;
        seqs.push(*head);
    }
    let of_uses: Vec<Uuid> = labels.iter().map(|label| label.use_id.uuid()).collect();
    let shards: Vec<i16> = of_uses.iter().map(|id| Shard::of(*id).number()).collect();
    let kinds: Vec<&str> = labels.iter().map(|label| label.demand_kind.as_str()).collect();
    sqlx::query(APPEND)
        .bind(labels.iter().map(|label| label.tenant.uuid()).collect::<Vec<_>>())
        .bind(seqs)
        .bind(of_uses)
        .bind(shards)
        .bind(labels.iter().map(|label| label.version).collect::<Vec<_>>())
        .bind(labels.iter().map(|label| label.positive).collect::<Vec<_>>())
        .bind(kinds)
        .bind(labels.iter().map(|label| label.event_us).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// A label with what was known when the score was used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LearnableLabel {
    pub(crate) seq: i64,
    pub(crate) positive: bool,
    pub(crate) demand_kind: String,
    pub(crate) known: Known,
}

/// What was known when a score was used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Known {
    /// As of when, and what.
    Use(i64, Features),
    /// The use was never logged: there is nothing to learn from.
    Nothing,
    /// What was logged does not decode.
    Damaged,
}

const AFTER: &str = "select l.seq, l.positive, l.demand_kind, u.as_of_us, u.features
    from label_log l left join feature_log u
        on u.tenant_id = l.tenant_id and u.shard = l.use_shard and u.use_id = l.use_id
    where l.tenant_id = $1 and l.seq > $2 order by l.seq limit $3";

type Row = (i64, bool, String, Option<i64>, Option<Vec<u8>>);

/// The labels after a position, in order.
pub(crate) async fn after(
    pool: &PgPool,
    tenant: TenantId,
    position: i64,
    limit: i64,
) -> Result<Vec<LearnableLabel>, Error> {
    let rows: Vec<Row> = sqlx::query_as(AFTER)
        .bind(tenant.uuid())
        .bind(position)
        .bind(limit)
        .fetch_all(pool)
        .await?;
    let label = |(seq, positive, demand_kind, as_of_us, features): Row| {
        let known = match as_of_us.zip(features) {
            Some((as_of_us, bytes)) => match codec::decode_features(&bytes) {
                Ok(features) => Known::Use(as_of_us, features),
                Err(_) => Known::Damaged,
            },
            None => Known::Nothing,
        };
        LearnableLabel { seq, positive, demand_kind, known }
    };
    Ok(rows.into_iter().map(label).collect())
}

const WAITING: &str = "select count(*) from label_log
    where tenant_id = $1 and seq > $2 and (cardinality($3::text[]) = 0 or demand_kind = any($3))";

/// How many labels of these kinds of demands (none means all) are after a position.
pub(crate) async fn waiting(
    pool: &PgPool,
    tenant: TenantId,
    position: i64,
    demand_kinds: &[String],
) -> Result<i64, Error> {
    let query = sqlx::query_scalar(WAITING).bind(tenant.uuid()).bind(position);
    Ok(query.bind(demand_kinds).fetch_one(pool).await?)
}
