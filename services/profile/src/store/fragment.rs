//! Fragments: the map of evidence to customers, and the folded state.

use std::collections::HashMap;

use ::store::{Database, Error};
use kernel::{CustomerId, EvidenceId, Shard, TenantId};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use crate::domain::fold::{CustomerKey, EvidenceKey, Fragment};

/// A map row to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewMapping {
    pub(crate) tenant: TenantId,
    pub(crate) evidence: EvidenceId,
    pub(crate) customer: CustomerId,
    pub(crate) map_version: i64,
    pub(crate) wrapped_key: Option<Vec<u8>>,
}

const KEYS: &str = "select f.evidence_id, f.wrapped_key
    from unnest(array_fill($1::uuid, array[cardinality($2)]), $2::smallint[], $3::uuid[])
        k(tenant_id, shard, evidence_id)
    join fragment f on f.tenant_id = k.tenant_id and f.shard = k.shard
        and f.evidence_id = k.evidence_id";

/// Which of the evidence is known, each with its wrapped key if it has one.
pub(crate) async fn keys(
    database: &Database,
    tenant: TenantId,
    evidence: &[EvidenceId],
) -> Result<HashMap<EvidenceId, Option<Vec<u8>>>, Error> {
    let shards: Vec<i16> = evidence.iter().map(|id| Shard::of(id.uuid()).number()).collect();
    let ids: Vec<Uuid> = evidence.iter().map(|id| id.uuid()).collect();
    let rows: Vec<(Uuid, Option<Vec<u8>>)> = sqlx::query_as(KEYS)
        .bind(tenant.uuid())
        .bind(shards)
        .bind(ids)
        .fetch_all(database.pool())
        .await?;
    Ok(rows.into_iter().map(|(id, key)| (EvidenceId::new(id), key)).collect())
}

const INSERT: &str = "insert into fragment
    (tenant_id, shard, evidence_id, customer_id, map_version, wrapped_key)
    select * from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::uuid[], $5::bigint[],
        $6::bytea[]) on conflict do nothing";

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
}

// A row may be there without a key: its evidence moved before its first event came. One with
// a key was made a moment ago by another call, so that writing it once more is rare.
const INSERT_WITH_KEYS: &str = "insert into fragment
    (tenant_id, shard, evidence_id, customer_id, map_version, wrapped_key)
    select * from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::uuid[], $5::bigint[],
        $6::bytea[])
    on conflict (tenant_id, shard, evidence_id) do update
    set wrapped_key = coalesce(fragment.wrapped_key, excluded.wrapped_key)
    returning evidence_id, wrapped_key";

/// Makes map rows (of one tenant) that are not there, and gives those a key that have none;
/// answers the wrapped keys in force. Sorts the rows as [`insert`].
pub(crate) async fn insert_with_keys(
    connection: &mut PgConnection,
    rows: &mut [NewMapping],
) -> Result<HashMap<EvidenceId, Vec<u8>>, Error> {
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let inserted = inserting(INSERT_WITH_KEYS, rows).fetch_all(connection).await?;
    let mut keys = HashMap::with_capacity(inserted.len());
    for row in inserted {
        keys.insert(EvidenceId::new(row.try_get(0)?), row.try_get(1)?);
    }
    Ok(keys)
}

/// The order in which fragments are inserted and locked.
pub(crate) fn key_order((tenant, evidence): EvidenceKey) -> (TenantId, Shard, EvidenceId) {
    (tenant, Shard::of(evidence.uuid()), evidence)
}

const LOCK: &str = "select f.customer_id, f.map_version, f.version,
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

type LockedRow = (Uuid, i64, i64, Vec<u8>, Option<Vec<u8>>);

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
        let (customer, map_version, version, behaviour, personal) = row;
        let customer = CustomerId::new(customer);
        Fragment { tenant, evidence, customer, map_version, version, behaviour, personal }
    };
    Ok(wanted.iter().zip(rows).map(fragment).collect())
}

/// A locked fragment as it is to be written.
#[derive(Debug)]
pub(crate) struct Folded<'a> {
    pub(crate) key: EvidenceKey,
    pub(crate) version: i64,
    pub(crate) behaviour: &'a [u8],
    /// Absent when it did not change.
    pub(crate) personal: Option<Vec<u8>>,
}

const WRITE: &str = "update fragment f
    set version = u.version, behaviour = u.behaviour, personal = coalesce(u.personal, f.personal)
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::bigint[], $5::bytea[], $6::bytea[])
        u(tenant_id, shard, evidence_id, version, behaviour, personal)
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
