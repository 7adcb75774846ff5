//! Evidence rows.

use std::collections::BTreeMap;

use kernel::{CustomerId, EvidenceId, TenantId};
use linkage::graph::{Evidence, Founding, Move, Placed};
use sqlx::PgConnection;
use store::Error;
use uuid::Uuid;

use super::{refs, shards};
use crate::domain::{Mapping, Sealed};

/// New evidence with its customer.
pub(crate) struct New<'a> {
    /// As the graph sees it.
    pub(crate) evidence: &'a Evidence,
    /// As it is stored.
    pub(crate) sealed: &'a Sealed,
    /// Its customer.
    pub(crate) customer: CustomerId,
    /// It is the founder of that customer.
    pub(crate) founds: bool,
    /// When it came.
    pub(crate) now_us: i64,
    /// 1, or the next after those that an erasure made void.
    pub(crate) map_version: i64,
}

/// What a reader of a customer gets of each piece of evidence.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// As the graph sees it.
    pub(crate) placed: Placed,
    /// How often it moved, from 1.
    pub(crate) map_version: i64,
    /// When it was first seen.
    pub(crate) created_us: i64,
}

const MAPPINGS: &str = "select e.evidence_id, e.customer_id, e.map_version,
        (select erased_us from tombstone t
            where t.tenant_id = $1 and t.shard = k.shard and t.evidence_id = k.id)
    from unnest($2::smallint[], $3::uuid[]) as k(shard, id)
    cross join lateral (
        select evidence_id, customer_id, map_version from evidence
        where tenant_id = $1 and shard = k.shard and evidence_id = k.id limit 1) e";

/// Where known evidence belongs; nothing for the others.
pub(crate) async fn mappings(
    connection: &mut PgConnection,
    tenant: TenantId,
    ids: &[EvidenceId],
) -> Result<Vec<Mapping>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let keys = uuids(ids);
    let rows: Vec<(Uuid, Uuid, i64, Option<i64>)> = sqlx::query_as(MAPPINGS)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .fetch_all(connection)
        .await?;
    let mapping = |(evidence, customer, map_version, erased_us)| Mapping {
        evidence: EvidenceId::new(evidence),
        customer: CustomerId::new(customer),
        map_version,
        erased_us,
    };
    Ok(rows.into_iter().map(mapping).collect())
}

/// Id, customer, founded customer, map version, time of creation, values.
type Full = (Uuid, Uuid, Option<Uuid>, i64, i64, Vec<u8>);

const OF_CUSTOMERS: &str = "select e.evidence_id, e.customer_id, e.founded_customer_id,
        e.map_version, e.created_us, e.value_refs
    from unnest(array_fill($1::uuid, array[cardinality($2)]), $2::uuid[]) as k(tenant_id, id)
    join evidence e on e.tenant_id = k.tenant_id and e.customer_id = k.id
    order by e.created_us, e.evidence_id";

/// All evidence of some customers, oldest first.
pub(crate) async fn of_customers(
    connection: &mut PgConnection,
    tenant: TenantId,
    customers: impl IntoIterator<Item = CustomerId>,
) -> Result<Vec<Row>, Error> {
    let keys: Vec<Uuid> = customers.into_iter().map(CustomerId::uuid).collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Full> =
        sqlx::query_as(OF_CUSTOMERS).bind(tenant.uuid()).bind(keys).fetch_all(connection).await?;
    rows.into_iter().map(row).collect()
}

const BY_ID: &str = "select e.evidence_id, e.customer_id, e.founded_customer_id,
        e.map_version, e.created_us, e.value_refs
    from unnest(array_fill($1::uuid, array[cardinality($2)]), $2::smallint[], $3::uuid[])
        as k(tenant_id, shard, id)
    join evidence e on e.tenant_id = k.tenant_id and e.shard = k.shard and e.evidence_id = k.id
    order by e.created_us, e.evidence_id";

/// Those of the evidence that are there.
pub(crate) async fn by_id(
    connection: &mut PgConnection,
    tenant: TenantId,
    ids: &[EvidenceId],
) -> Result<Vec<Row>, Error> {
    let keys = uuids(ids);
    let rows: Vec<Full> = sqlx::query_as(BY_ID)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(row).collect()
}

fn row((id, customer, founded, map_version, created_us, values): Full) -> Result<Row, Error> {
    let evidence = Evidence { id: EvidenceId::new(id), values: refs::decode(&values)? };
    let founded = founded.map(CustomerId::new);
    let placed = Placed { evidence, customer: CustomerId::new(customer), founded };
    Ok(Row { placed, map_version, created_us })
}

const SEALED: &str = "select evidence_id, wrapped_key, identifiers from evidence
    where tenant_id = $1 and customer_id = any($2)";

/// The identifiers of some customers, still sealed.
pub(crate) async fn sealed(
    connection: &mut PgConnection,
    tenant: TenantId,
    customers: &[CustomerId],
) -> Result<Vec<(EvidenceId, Sealed)>, Error> {
    let keys: Vec<Uuid> = customers.iter().map(|id| id.uuid()).collect();
    let rows: Vec<(Uuid, Vec<u8>, Vec<u8>)> =
        sqlx::query_as(SEALED).bind(tenant.uuid()).bind(keys).fetch_all(connection).await?;
    let sealed =
        |(id, wrapped_key, content)| (EvidenceId::new(id), Sealed { wrapped_key, content });
    Ok(rows.into_iter().map(sealed).collect())
}

const INSERT: &str = "insert into evidence (tenant_id, shard, evidence_id, customer_id,
        founded_customer_id, map_version, created_us, value_refs, wrapped_key, identifiers)
    select $1, n.shard, n.id, n.customer, case when n.founds then n.customer end, n.version, n.at,
        n.refs, n.wrapped_key, n.identifiers
    from unnest($2::smallint[], $3::uuid[], $4::uuid[], $5::boolean[], $6::bigint[],
        $7::bytea[], $8::bytea[], $9::bytea[], $10::bigint[])
        as n(shard, id, customer, founds, at, refs, wrapped_key, identifiers, version)";

/// Stores new evidence.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    tenant: TenantId,
    new: &[New<'_>],
) -> Result<(), Error> {
    let keys: Vec<Uuid> = new.iter().map(|one| one.evidence.id.uuid()).collect();
    sqlx::query(INSERT)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .bind(new.iter().map(|one| one.customer.uuid()).collect::<Vec<Uuid>>())
        .bind(new.iter().map(|one| one.founds).collect::<Vec<bool>>())
        .bind(new.iter().map(|one| one.now_us).collect::<Vec<i64>>())
        .bind(new.iter().map(|one| refs::encode(&one.evidence.values)).collect::<Vec<_>>())
        .bind(new.iter().map(|one| one.sealed.wrapped_key.as_slice()).collect::<Vec<_>>())
        .bind(new.iter().map(|one| one.sealed.content.as_slice()).collect::<Vec<_>>())
        .bind(new.iter().map(|one| one.map_version).collect::<Vec<i64>>())
        .execute(connection)
        .await?;
    Ok(())
}

const RELOCATE: &str = "update evidence e set customer_id = m.customer,
        map_version = e.map_version + 1
    from unnest(array_fill($1::uuid, array[cardinality($2)]), $2::smallint[], $3::uuid[],
        $4::uuid[]) as m(tenant_id, shard, id, customer)
    where e.tenant_id = m.tenant_id and e.shard = m.shard and e.evidence_id = m.id
    returning e.evidence_id, e.map_version";

/// Moves known evidence; its map versions afterwards.
pub(crate) async fn relocate(
    connection: &mut PgConnection,
    tenant: TenantId,
    moves: &[Move],
) -> Result<BTreeMap<EvidenceId, i64>, Error> {
    if moves.is_empty() {
        return Ok(BTreeMap::new());
    }
    let keys: Vec<Uuid> = moves.iter().map(|step| step.evidence.uuid()).collect();
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(RELOCATE)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .bind(moves.iter().map(|step| step.to.uuid()).collect::<Vec<Uuid>>())
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|(id, version)| (EvidenceId::new(id), version)).collect())
}

const FOUND: &str = "update evidence e set founded_customer_id = f.customer
    from unnest(array_fill($1::uuid, array[cardinality($2)]), $2::smallint[], $3::uuid[],
        $4::uuid[]) as f(tenant_id, shard, id, customer)
    where e.tenant_id = f.tenant_id and e.shard = f.shard and e.evidence_id = f.id";

/// Notes on known evidence that a customer id was made for it.
pub(crate) async fn found(
    connection: &mut PgConnection,
    tenant: TenantId,
    foundings: &[Founding],
) -> Result<(), Error> {
    if foundings.is_empty() {
        return Ok(());
    }
    let keys: Vec<Uuid> = foundings.iter().map(|founding| founding.evidence.uuid()).collect();
    sqlx::query(FOUND)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .bind(foundings.iter().map(|founding| founding.customer.uuid()).collect::<Vec<Uuid>>())
        .execute(connection)
        .await?;
    Ok(())
}

fn uuids(ids: &[EvidenceId]) -> Vec<Uuid> {
    ids.iter().map(|id| id.uuid()).collect()
}
