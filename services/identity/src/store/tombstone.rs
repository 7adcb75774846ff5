//! Taking evidence out for good, and what is left of it: id and time.

use std::collections::BTreeMap;

use kernel::{EvidenceId, TenantId};
use sqlx::PgConnection;
use store::Error;
use uuid::Uuid;

use super::shards;
use crate::domain::Tombstone;

const FIND: &str = "select t.evidence_id, t.map_version, t.erased_us
    from unnest($2::smallint[], $3::uuid[]) as k(shard, id)
    cross join lateral (
        select evidence_id, map_version, erased_us from tombstone
        where tenant_id = $1 and shard = k.shard and evidence_id = k.id limit 1) t";

/// What is left of those of the evidence that were erased.
pub(crate) async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    ids: &[EvidenceId],
) -> Result<BTreeMap<EvidenceId, Tombstone>, Error> {
    let keys: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows: Vec<(Uuid, i64, i64)> = sqlx::query_as(FIND)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .fetch_all(connection)
        .await?;
    let found =
        |(id, map_version, erased_us)| (EvidenceId::new(id), Tombstone { map_version, erased_us });
    Ok(rows.into_iter().map(found).collect())
}

const PUT: &str = "insert into tombstone (tenant_id, shard, evidence_id, map_version, erased_us)
    select $1, n.shard, n.id, n.version, $5
    from unnest($2::smallint[], $3::uuid[], $4::bigint[]) as n(shard, id, version)
    on conflict (tenant_id, shard, evidence_id) do update
    set map_version = greatest(tombstone.map_version, excluded.map_version),
        erased_us = greatest(tombstone.erased_us, excluded.erased_us)";

/// Puts a tombstone for each piece of evidence, with the last map version that is void.
pub(crate) async fn put(
    connection: &mut PgConnection,
    tenant: TenantId,
    versions: &BTreeMap<EvidenceId, i64>,
    erased_us: i64,
) -> Result<(), Error> {
    let keys: Vec<Uuid> = versions.keys().map(|id| id.uuid()).collect();
    sqlx::query(PUT)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .bind(versions.values().copied().collect::<Vec<i64>>())
        .bind(erased_us)
        .execute(connection)
        .await?;
    Ok(())
}

/// Evidence with its key and identifiers, who carries which value, the ids that it founded.
const REMOVE: &str = "with gone as (
        delete from evidence e
        using unnest(array_fill($1::uuid, array[cardinality($2)]), $2::smallint[], $3::uuid[])
            as k(tenant_id, shard, id)
        where e.tenant_id = k.tenant_id and e.shard = k.shard and e.evidence_id = k.id
        returning e.founded_customer_id),
    carried as (
        delete from occurrence o
        using unnest(array_fill($1::uuid, array[cardinality($4)]), $4::smallint[], $5::uuid[],
            $6::uuid[]) as v(tenant_id, shard, id, evidence)
        where o.tenant_id = v.tenant_id and o.shard = v.shard and o.value_key = v.id
            and o.evidence_id = v.evidence)
    delete from customer c
    using unnest(array_fill($1::uuid, array[cardinality($7)]), $7::smallint[], $8::uuid[])
        as i(tenant_id, shard, id)
    where c.tenant_id = i.tenant_id and c.shard = i.shard and c.customer_id = i.id";

/// Deletes evidence with all that hangs on it alone.
pub(crate) async fn remove(
    connection: &mut PgConnection,
    tenant: TenantId,
    rows: &[super::evidence::Row],
) -> Result<(), Error> {
    let keys: Vec<Uuid> = rows.iter().map(|row| row.placed.evidence.id.uuid()).collect();
    let mut values: Vec<Uuid> = Vec::new();
    let mut carriers: Vec<Uuid> = Vec::new();
    for row in rows {
        for value in &row.placed.evidence.values {
            values.push(Uuid::from_bytes(*value.key.as_bytes()));
            carriers.push(row.placed.evidence.id.uuid());
        }
    }
    let founded: Vec<Uuid> =
        rows.iter().filter_map(|row| row.placed.founded).map(|id| id.uuid()).collect();
    sqlx::query(REMOVE)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .bind(shards(&values))
        .bind(values)
        .bind(carriers)
        .bind(shards(&founded))
        .bind(founded)
        .execute(connection)
        .await?;
    Ok(())
}
