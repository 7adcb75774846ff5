//! Fragments: the map of evidence to customers, and the folded state.

use std::collections::HashMap;

use ::store::{Database, Error};
use kernel::{CustomerId, EvidenceId, Shard, TenantId};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use crate::domain::fold::{CustomerKey, EvidenceKey, Fragment, Shown};

/// A map row to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewMapping {
    pub(crate) tenant: TenantId,
    pub(crate) evidence: EvidenceId,
    pub(crate) customer: CustomerId,
    pub(crate) map_version: i64,
    pub(crate) wrapped_key: Option<Vec<u8>>,
    /// When a former customer of the evidence was erased.
    pub(crate) erased_us: Option<i64>,
}

/// What a map row says of its evidence.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// Absent before the first event, and after an erasure.
    pub(crate) wrapped_key: Option<Vec<u8>>,
    /// Events up to this time are void.
    pub(crate) erased_us: Option<i64>,
}

const KEYS: &str = "select f.evidence_id, f.wrapped_key, f.erased_us
    from unnest(array_fill($1::uuid, array[cardinality($2)]), $2::smallint[], $3::uuid[])
        k(tenant_id, shard, evidence_id)
    join fragment f on f.tenant_id = k.tenant_id and f.shard = k.shard
        and f.evidence_id = k.evidence_id";

/// Which of the evidence is known, and what is held of it.
pub(crate) async fn keys(
    database: &Database,
    tenant: TenantId,
    evidence: &[EvidenceId],
) -> Result<HashMap<EvidenceId, Held>, Error> {
    let shards: Vec<i16> = evidence.iter().map(|id| Shard::of(id.uuid()).number()).collect();
    let ids: Vec<Uuid> = evidence.iter().map(|id| id.uuid()).collect();
    let rows: Vec<(Uuid, Option<Vec<u8>>, Option<i64>)> = sqlx::query_as(KEYS)
        .bind(tenant.uuid())
        .bind(shards)
        .bind(ids)
        .fetch_all(database.pool())
        .await?;
    let held =
        |(id, wrapped_key, erased_us)| (EvidenceId::new(id), Held { wrapped_key, erased_us });
    Ok(rows.into_iter().map(held).collect())
}

const INSERT: &str = "insert into fragment
    (tenant_id, shard, evidence_id, customer_id, map_version, wrapped_key, erased_us)
    select * from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::uuid[], $5::bigint[],
        $6::bytea[], $7::bigint[]) on conflict do nothing";

/// Makes map rows that are not there. Sorts them: inserts wait for each other in one order.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    rows: &mut [NewMapping],
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    inserting(INSERT, rows).execute(connection).await?;
    Ok(())
}

type Inserting<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn inserting<'q>(sql: &'static str, rows: &'q mut [NewMapping]) -> Inserting<'q> {
    rows.sort_unstable_by_key(|row| key_order((row.tenant, row.evidence)));
    let tenants: Vec<Uuid> = rows.iter().map(|row| row.tenant.uuid()).collect();
    let shards: Vec<i16> = rows.iter().map(|row| Shard::of(row.evidence.uuid()).number()).collect();
    let evidence: Vec<Uuid> = rows.iter().map(|row| row.evidence.uuid()).collect();
    let customers: Vec<Uuid> = rows.iter().map(|row| row.customer.uuid()).collect();
    let versions: Vec<i64> = rows.iter().map(|row| row.map_version).collect();
    let wrapped: Vec<Option<&[u8]>> = rows.iter().map(|row| row.wrapped_key.as_deref()).collect();
    sqlx::query(sql)
        .bind(tenants)
        .bind(shards)
        .bind(evidence)
        .bind(customers)
        .bind(versions)
        .bind(wrapped)
        .bind(rows.iter().map(|row| row.erased_us).collect::<Vec<Option<i64>>>())
}

// A row may be there without a key: its evidence moved before its first event came, or was
// erased. The higher map version wins there; one that an erasure made void gets no key. A row
// with a key was made a moment ago by another call, so that writing it once more is rare.
const INSERT_WITH_KEYS: &str = "insert into fragment
    (tenant_id, shard, evidence_id, customer_id, map_version, wrapped_key, erased_us)
    select * from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::uuid[], $5::bigint[],
        $6::bytea[], $7::bigint[])
    on conflict (tenant_id, shard, evidence_id) do update
    set customer_id = case when fragment.wrapped_key is null
                and excluded.map_version > fragment.map_version
            then excluded.customer_id else fragment.customer_id end,
        map_version = case when fragment.wrapped_key is null
            then greatest(fragment.map_version, excluded.map_version)
            else fragment.map_version end,
        erased_us = case when fragment.wrapped_key is null
            then greatest(fragment.erased_us, excluded.erased_us)
            else fragment.erased_us end,
        wrapped_key = case when fragment.customer_id = '00000000-0000-0000-0000-000000000000'
                and excluded.map_version <= fragment.map_version
            then null else coalesce(fragment.wrapped_key, excluded.wrapped_key) end
    returning evidence_id, wrapped_key, erased_us";

/// Makes map rows (of one tenant) that are not there, and gives those a key that have none;
/// answers what is held then. Sorts the rows as [`insert`].
pub(crate) async fn insert_with_keys(
    connection: &mut PgConnection,
    rows: &mut [NewMapping],
) -> Result<HashMap<EvidenceId, Held>, Error> {
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let inserted = inserting(INSERT_WITH_KEYS, rows).fetch_all(connection).await?;
    let mut keys = HashMap::with_capacity(inserted.len());
    for row in inserted {
        let held = Held { wrapped_key: row.try_get(1)?, erased_us: row.try_get(2)? };
        keys.insert(EvidenceId::new(row.try_get(0)?), held);
    }
    Ok(keys)
}

/// The order in which fragments are inserted and locked.
pub(crate) fn key_order((tenant, evidence): EvidenceKey) -> (TenantId, Shard, EvidenceId) {
    (tenant, Shard::of(evidence.uuid()), evidence)
}

const LOCK: &str = "select f.customer_id, f.map_version, f.version, f.erased_us,
        case when k.state then f.behaviour else '' end,
        case when k.personal then f.personal end
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::bool[], $5::bool[])
        with ordinality k(tenant_id, shard, evidence_id, state, personal, ord)
    join fragment f on f.tenant_id = k.tenant_id and f.shard = k.shard
        and f.evidence_id = k.evidence_id
    order by k.ord for no key update of f";

/// What is read of a fragment when it is locked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) key: EvidenceKey,
    pub(crate) state: bool,
    pub(crate) personal: bool,
}

type LockedRow = (Uuid, i64, i64, Option<i64>, Vec<u8>, Option<Vec<u8>>);

/// Locks fragments, which must be there and sorted by [`key_order`].
pub(crate) async fn lock(
    connection: &mut PgConnection,
    wanted: &[Wanted],
) -> Result<Vec<Fragment>, Error> {
    let shard = |wanted: &Wanted| Shard::of(wanted.key.1.uuid()).number();
    let tenants: Vec<Uuid> = wanted.iter().map(|wanted| wanted.key.0.uuid()).collect();
    let shards: Vec<i16> = wanted.iter().map(shard).collect();
    let evidence: Vec<Uuid> = wanted.iter().map(|wanted| wanted.key.1.uuid()).collect();
    let states: Vec<bool> = wanted.iter().map(|wanted| wanted.state).collect();
    let personals: Vec<bool> = wanted.iter().map(|wanted| wanted.personal).collect();
    let rows: Vec<LockedRow> = sqlx::query_as(LOCK)
        .bind(tenants)
        .bind(shards)
        .bind(evidence)
        .bind(states)
        .bind(personals)
        .fetch_all(connection)
        .await?;
    if rows.len() != wanted.len() {
        return Err(Error::internal("a fragment is missing"));
    }
    let fragment = |(wanted, row): (&Wanted, LockedRow)| {
        let (tenant, evidence) = wanted.key;
        let (customer, map_version, version, erased_us, behaviour, personal) = row;
        let customer = CustomerId::new(customer);
        Fragment {
            tenant,
            evidence,
            customer,
            map_version,
            version,
            erased_us,
            behaviour,
            personal,
        }
    };
    Ok(wanted.iter().zip(rows).map(fragment).collect())
}

/// A locked fragment as it is to be written.
#[derive(Debug)]
pub(crate) struct Folded<'a> {
    pub(crate) key: EvidenceKey,
    pub(crate) version: i64,
    pub(crate) behaviour: &'a [u8],
    pub(crate) shown: Shown,
    /// Absent when it did not change.
    pub(crate) personal: Option<Vec<u8>>,
}

const WRITE: &str = "update fragment f
    set version = u.version, behaviour = u.behaviour, events = u.events, first_us = u.first_us,
        last_us = u.last_us, identified = u.identified,
        personal = coalesce(u.personal, f.personal)
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::bigint[], $5::bytea[], $6::bytea[],
        $7::bigint[], $8::bigint[], $9::bigint[], $10::bool[])
        u(tenant_id, shard, evidence_id, version, behaviour, personal, events, first_us, last_us,
          identified)
    where f.tenant_id = u.tenant_id and f.shard = u.shard and f.evidence_id = u.evidence_id";

/// Writes locked fragments.
pub(crate) async fn write(
    connection: &mut PgConnection,
    folded: &[Folded<'_>],
) -> Result<(), Error> {
    let tenants: Vec<Uuid> = folded.iter().map(|row| row.key.0.uuid()).collect();
    let shards: Vec<i16> = folded.iter().map(|row| Shard::of(row.key.1.uuid()).number()).collect();
    let evidence: Vec<Uuid> = folded.iter().map(|row| row.key.1.uuid()).collect();
    let versions: Vec<i64> = folded.iter().map(|row| row.version).collect();
    let behaviours: Vec<&[u8]> = folded.iter().map(|row| row.behaviour).collect();
    let personals: Vec<Option<&[u8]>> = folded.iter().map(|row| row.personal.as_deref()).collect();
    sqlx::query(WRITE)
        .bind(tenants)
        .bind(shards)
        .bind(evidence)
        .bind(versions)
        .bind(behaviours)
        .bind(personals)
        .bind(folded.iter().map(|row| row.shown.events).collect::<Vec<i64>>())
        .bind(folded.iter().map(|row| row.shown.first_us).collect::<Vec<Option<i64>>>())
        .bind(folded.iter().map(|row| row.shown.last_us).collect::<Vec<Option<i64>>>())
        .bind(folded.iter().map(|row| row.shown.identified).collect::<Vec<bool>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// A fragment's new place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    pub(crate) key: EvidenceKey,
    pub(crate) customer: CustomerId,
    pub(crate) map_version: i64,
}

const MOVE: &str = "update fragment f set customer_id = u.customer_id, map_version = u.map_version
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::uuid[], $5::bigint[])
        u(tenant_id, shard, evidence_id, customer_id, map_version)
    where f.tenant_id = u.tenant_id and f.shard = u.shard and f.evidence_id = u.evidence_id";

/// Moves locked fragments.
pub(crate) async fn set_customers(
    connection: &mut PgConnection,
    moves: &[Move],
) -> Result<(), Error> {
    let tenants: Vec<Uuid> = moves.iter().map(|it| it.key.0.uuid()).collect();
    let shards: Vec<i16> = moves.iter().map(|it| Shard::of(it.key.1.uuid()).number()).collect();
    let evidence: Vec<Uuid> = moves.iter().map(|it| it.key.1.uuid()).collect();
    let customers: Vec<Uuid> = moves.iter().map(|it| it.customer.uuid()).collect();
    let versions: Vec<i64> = moves.iter().map(|it| it.map_version).collect();
    sqlx::query(MOVE)
        .bind(tenants)
        .bind(shards)
        .bind(evidence)
        .bind(customers)
        .bind(versions)
        .execute(connection)
        .await?;
    Ok(())
}

const OF_CUSTOMERS: &str = "select f.tenant_id, f.customer_id, f.evidence_id, f.behaviour
    from unnest($1::uuid[], $2::uuid[]) k(tenant_id, customer_id)
    join fragment f on f.tenant_id = k.tenant_id and f.customer_id = k.customer_id
    where f.version > 0";

/// The states of all fragments with events, by customer. Under the customers' locks these
/// are final: whoever changes one of them needs that lock too.
pub(crate) async fn of_customers(
    connection: &mut PgConnection,
    customers: &[CustomerKey],
) -> Result<HashMap<CustomerKey, Vec<(EvidenceId, Vec<u8>)>>, Error> {
    let mut found: HashMap<CustomerKey, Vec<(EvidenceId, Vec<u8>)>> = HashMap::new();
    if customers.is_empty() {
        return Ok(found);
    }
    let tenants: Vec<Uuid> = customers.iter().map(|(tenant, _)| tenant.uuid()).collect();
    let ids: Vec<Uuid> = customers.iter().map(|(_, customer)| customer.uuid()).collect();
    let rows: Vec<(Uuid, Uuid, Uuid, Vec<u8>)> =
        sqlx::query_as(OF_CUSTOMERS).bind(tenants).bind(ids).fetch_all(connection).await?;
    for (tenant, customer, evidence, behaviour) in rows {
        let key = (TenantId::new(tenant), CustomerId::new(customer));
        found.entry(key).or_default().push((EvidenceId::new(evidence), behaviour));
    }
    Ok(found)
}
