//! Values by their blind index: which are shared, what they were seen with, who carries them.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{CustomerId, EvidenceId, Shard, TenantId};
use linkage::Namespace;
use linkage::graph::{Companion, Evidence, Value, ValueKey};
use sqlx::PgConnection;
use store::Error;
use uuid::Uuid;

use super::{refs, shards};

const SHARED: &str = "select i.value_key from unnest($2::smallint[], $3::uuid[]) as k(shard, id)
    cross join lateral (
        select value_key, shared from identifier
        where tenant_id = $1 and shard = k.shard and value_key = k.id limit 1) i
    where i.shared";

/// Those of the values that are shared.
pub(crate) async fn shared(
    connection: &mut PgConnection,
    tenant: TenantId,
    values: &BTreeSet<ValueKey>,
) -> Result<Vec<ValueKey>, Error> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let keys = uuids(values);
    let rows: Vec<Uuid> = sqlx::query_scalar(SHARED)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(value_key).collect())
}

const COMPANIONS: &str = "select c.value_key, c.namespace, c.companion_key
    from unnest(array_fill($1::uuid, array[cardinality($2)]), $2::smallint[], $3::uuid[])
        as k(tenant_id, shard, id)
    join companion c on c.tenant_id = k.tenant_id and c.shard = k.shard and c.value_key = k.id";

/// What the values were seen with.
pub(crate) async fn companions(
    connection: &mut PgConnection,
    tenant: TenantId,
    values: &BTreeSet<ValueKey>,
) -> Result<Vec<Companion>, Error> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let keys = uuids(values);
    let rows: Vec<(Uuid, String, Uuid)> = sqlx::query_as(COMPANIONS)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .fetch_all(connection)
        .await?;
    let companion = |(value, namespace, companion): (Uuid, String, Uuid)| {
        let namespace = namespace
            .parse::<Namespace>()
            .map_err(|_| Error::internal("a stored namespace does not decode"))?;
        let (value, companion) = (value_key(value), value_key(companion));
        Ok(Companion { value, namespace, companion })
    };
    rows.into_iter().map(companion).collect()
}

const HOLDER: &str = "select k.id, h.customer_id
    from unnest($2::smallint[], $3::uuid[]) as k(shard, id)
    cross join lateral (
        select e.customer_id from occurrence o
        join evidence e on e.tenant_id = $1 and e.shard = o.evidence_shard
            and e.evidence_id = o.evidence_id
        where o.tenant_id = $1 and o.shard = k.shard and o.value_key = k.id limit 1) h";

/// For each value one customer that carries it: two index probes per value, however many
/// carry it.
pub(crate) async fn holder(
    connection: &mut PgConnection,
    tenant: TenantId,
    values: &BTreeSet<ValueKey>,
) -> Result<BTreeMap<ValueKey, CustomerId>, Error> {
    if values.is_empty() {
        return Ok(BTreeMap::new());
    }
    let keys = uuids(values);
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(HOLDER)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .fetch_all(connection)
        .await?;
    let holder = |(value, customer)| (value_key(value), CustomerId::new(customer));
    Ok(rows.into_iter().map(holder).collect())
}

const HOLDERS: &str = "select distinct e.customer_id
    from unnest(array_fill($1::uuid, array[cardinality($2)]), $2::smallint[], $3::uuid[])
        as k(tenant_id, shard, id)
    join occurrence o on o.tenant_id = k.tenant_id and o.shard = k.shard and o.value_key = k.id
    join evidence e on e.tenant_id = o.tenant_id and e.shard = o.evidence_shard
        and e.evidence_id = o.evidence_id";

/// All customers that carry one of the values.
pub(crate) async fn holders(
    connection: &mut PgConnection,
    tenant: TenantId,
    values: &BTreeSet<ValueKey>,
) -> Result<Vec<CustomerId>, Error> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let keys = uuids(values);
    let rows: Vec<Uuid> = sqlx::query_scalar(HOLDERS)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(CustomerId::new).collect())
}

const NOTE: &str = "insert into identifier (tenant_id, shard, value_key, namespace, shared)
    select $1, n.shard, n.id, n.namespace, n.shared
    from unnest($2::smallint[], $3::uuid[], $4::text[], $5::boolean[])
        as n(shard, id, namespace, shared)
    on conflict (tenant_id, shard, value_key) do update set shared = true
    where excluded.shared and not identifier.shared";
const OCCUR: &str = "insert into occurrence
        (tenant_id, shard, value_key, evidence_id, evidence_shard)
    select $1, n.shard, n.id, n.evidence, n.evidence_shard
    from unnest($2::smallint[], $3::uuid[], $4::uuid[], $5::smallint[])
        as n(shard, id, evidence, evidence_shard)";
const ACCOMPANY: &str = "insert into companion
        (tenant_id, shard, value_key, namespace, companion_key)
    select $1, n.shard, n.id, n.namespace, n.companion
    from unnest($2::smallint[], $3::uuid[], $4::text[], $5::uuid[])
        as n(shard, id, namespace, companion)";

/// Stores the values of new evidence, and that some are shared from now on.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    tenant: TenantId,
    new: &[&Evidence],
    turned: &BTreeSet<ValueKey>,
) -> Result<(), Error> {
    let mut noted: BTreeMap<ValueKey, &Value> = BTreeMap::new();
    let mut occurrences: Vec<(ValueKey, EvidenceId)> = Vec::new();
    for evidence in new {
        for value in &evidence.values {
            noted.insert(value.key, value);
            occurrences.push((value.key, evidence.id));
        }
    }
    let keys: Vec<Uuid> = noted.keys().map(uuid).collect();
    sqlx::query(NOTE)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .bind(noted.values().map(|value| value.namespace.as_str()).collect::<Vec<&str>>())
        .bind(noted.keys().map(|key| turned.contains(key)).collect::<Vec<bool>>())
        .execute(&mut *connection)
        .await?;
    let keys: Vec<Uuid> = occurrences.iter().map(|(key, _)| uuid(key)).collect();
    let evidence: Vec<Uuid> = occurrences.iter().map(|(_, id)| id.uuid()).collect();
    sqlx::query(OCCUR)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .bind(&evidence)
        .bind(shards(&evidence))
        .execute(connection)
        .await?;
    Ok(())
}

/// Stores what values were seen with for the first time.
pub(crate) async fn accompany(
    connection: &mut PgConnection,
    tenant: TenantId,
    added: &[Companion],
) -> Result<(), Error> {
    if added.is_empty() {
        return Ok(());
    }
    let keys: Vec<Uuid> = added.iter().map(|row| uuid(&row.value)).collect();
    sqlx::query(ACCOMPANY)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .bind(added.iter().map(|row| row.namespace.as_str()).collect::<Vec<&str>>())
        .bind(added.iter().map(|row| uuid(&row.companion)).collect::<Vec<Uuid>>())
        .execute(connection)
        .await?;
    Ok(())
}

const CUSTOMER_OF: &str = "select distinct e.customer_id from identifier i
    join occurrence o on o.tenant_id = $1 and o.shard = $2 and o.value_key = $3
    join evidence e on e.tenant_id = $1 and e.shard = o.evidence_shard
        and e.evidence_id = o.evidence_id
    where i.tenant_id = $1 and i.shard = $2 and i.value_key = $3 and not i.shared limit 2";

/// The customer that a value identifies; none if it is unknown, shared, or carried by two that
/// a split keeps apart.
pub(crate) async fn customer_of(
    connection: &mut PgConnection,
    tenant: TenantId,
    value: &ValueKey,
) -> Result<Option<CustomerId>, Error> {
    let key = uuid(value);
    let rows: Vec<Uuid> = sqlx::query_scalar(CUSTOMER_OF)
        .bind(tenant.uuid())
        .bind(Shard::of(key).number())
        .bind(key)
        .fetch_all(connection)
        .await?;
    Ok(match rows[..] {
        [only] => Some(CustomerId::new(only)),
        _ => None,
    })
}

const CARRIERS: &str = "select o.evidence_id, e.value_refs
    from occurrence o join evidence e on e.tenant_id = $1 and e.shard = o.evidence_shard
        and e.evidence_id = o.evidence_id
    where o.tenant_id = $1 and o.shard = $2 and o.value_key = $3 and o.evidence_id > $4
    order by o.evidence_id limit $5";

/// Some of the evidence that carries a value, in the order of its ids.
pub(crate) async fn carriers(
    connection: &mut PgConnection,
    tenant: TenantId,
    value: &ValueKey,
    after: EvidenceId,
    limit: i64,
) -> Result<Vec<Evidence>, Error> {
    let key = uuid(value);
    let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(CARRIERS)
        .bind(tenant.uuid())
        .bind(Shard::of(key).number())
        .bind(key)
        .bind(after.uuid())
        .bind(limit)
        .fetch_all(connection)
        .await?;
    let evidence = |(id, values): (Uuid, Vec<u8>)| {
        Ok(Evidence { id: EvidenceId::new(id), values: refs::decode(&values)? })
    };
    rows.into_iter().map(evidence).collect()
}

const FORGET: &str = "with seen as (
        delete from companion c
        using unnest(array_fill($1::uuid, array[cardinality($2)]), $2::smallint[], $3::uuid[])
            as k(tenant_id, shard, id)
        where c.tenant_id = k.tenant_id and c.shard = k.shard and c.value_key = k.id)
    delete from identifier i
    using unnest(array_fill($1::uuid, array[cardinality($4)]), $4::smallint[], $5::uuid[])
        as k(tenant_id, shard, id)
    where i.tenant_id = k.tenant_id and i.shard = k.shard and i.value_key = k.id";

/// Forgets with what the values were seen; and `alone`, which nobody carries any more, whole.
pub(crate) async fn forget(
    connection: &mut PgConnection,
    tenant: TenantId,
    values: &BTreeSet<ValueKey>,
    alone: &BTreeSet<ValueKey>,
) -> Result<(), Error> {
    let (keys, alone) = (uuids(values), uuids(alone));
    sqlx::query(FORGET)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .bind(shards(&alone))
        .bind(alone)
        .execute(connection)
        .await?;
    Ok(())
}

const UNSHARE: &str = "update identifier i set shared = false
    from unnest(array_fill($1::uuid, array[cardinality($2)]), $2::smallint[], $3::uuid[])
        as k(tenant_id, shard, id)
    where i.tenant_id = k.tenant_id and i.shard = k.shard and i.value_key = k.id";

/// Values that link again.
pub(crate) async fn unshare(
    connection: &mut PgConnection,
    tenant: TenantId,
    values: &BTreeSet<ValueKey>,
) -> Result<(), Error> {
    let keys = uuids(values);
    sqlx::query(UNSHARE)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .execute(connection)
        .await?;
    Ok(())
}

fn uuid(key: &ValueKey) -> Uuid {
    Uuid::from_bytes(*key.as_bytes())
}

fn value_key(uuid: Uuid) -> ValueKey {
    ValueKey::new(*uuid.as_bytes())
}

fn uuids(keys: &BTreeSet<ValueKey>) -> Vec<Uuid> {
    keys.iter().map(uuid).collect()
}
