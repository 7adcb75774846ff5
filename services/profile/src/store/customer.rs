//! Customers: the lock, the version, and the merged state.

use ::store::{Database, Error};
use kernel::{CustomerId, Shard, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::fold::{Customer, CustomerKey, NewCustomer};

/// The order in which customers are inserted and locked.
pub(crate) fn key_order((tenant, customer): CustomerKey) -> (TenantId, Shard, CustomerId) {
    (tenant, Shard::of(customer.uuid()), customer)
}

/// Three arrays of a set of keys.
fn arrays(keys: &[CustomerKey]) -> (Vec<Uuid>, Vec<i16>, Vec<Uuid>) {
    let shard = |customer: CustomerId| Shard::of(customer.uuid()).number();
    (
        keys.iter().map(|(tenant, _)| tenant.uuid()).collect(),
        keys.iter().map(|(_, customer)| shard(*customer)).collect(),
        keys.iter().map(|(_, customer)| customer.uuid()).collect(),
    )
}

const INSERT: &str = "insert into customer (tenant_id, shard, customer_id)
    select * from unnest($1::uuid[], $2::smallint[], $3::uuid[]) on conflict do nothing";

/// Makes rows that are not there. To be called before [`lock`], with sorted keys.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    keys: &[CustomerKey],
) -> Result<(), Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let (tenants, shards, ids) = arrays(keys);
    sqlx::query(INSERT).bind(tenants).bind(shards).bind(ids).execute(connection).await?;
    Ok(())
}

const LOCK: &str = "select c.version, c.fragments, c.behaviour, c.stale
    from unnest($1::uuid[], $2::smallint[], $3::uuid[])
        with ordinality k(tenant_id, shard, customer_id, ord)
    join customer c on c.tenant_id = k.tenant_id and c.shard = k.shard
        and c.customer_id = k.customer_id
    order by k.ord for no key update of c";

type LockedRow = (i64, i32, Option<Vec<u8>>, bool);

/// Locks customers, which must be there and sorted by [`key_order`].
pub(crate) async fn lock(
    connection: &mut PgConnection,
    keys: &[CustomerKey],
) -> Result<Vec<Customer>, Error> {
    let (tenants, shards, ids) = arrays(keys);
    let rows: Vec<LockedRow> =
        sqlx::query_as(LOCK).bind(tenants).bind(shards).bind(ids).fetch_all(connection).await?;
    if rows.len() != keys.len() {
        return Err(Error::internal("a customer is missing"));
    }
    let customer = |(key, row): (&CustomerKey, LockedRow)| {
        let ((tenant, customer), (version, fragments, behaviour, stale)) = (*key, row);
        Customer { tenant, customer, version, fragments, behaviour, stale }
    };
    Ok(keys.iter().zip(rows).map(customer).collect())
}

const STALE: &str = "select tenant_id, customer_id from customer where stale
    order by tenant_id, customer_id limit 1000";

/// Customers whose state is stale, some of them if they are many.
pub(crate) async fn stale(database: &Database) -> Result<Vec<CustomerKey>, Error> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(STALE).fetch_all(database.pool()).await?;
    let key = |(tenant, customer)| (TenantId::new(tenant), CustomerId::new(customer));
    Ok(rows.into_iter().map(key).collect())
}

const WRITE: &str = "update customer c
    set version = u.version, fragments = u.fragments, behaviour = u.behaviour, stale = u.stale
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::bigint[], $5::integer[], $6::bytea[],
        $7::bool[]) u(tenant_id, shard, customer_id, version, fragments, behaviour, stale)
    where c.tenant_id = u.tenant_id and c.shard = u.shard and c.customer_id = u.customer_id";

/// Writes locked customers.
pub(crate) async fn write(
    connection: &mut PgConnection,
    customers: &[NewCustomer],
) -> Result<(), Error> {
    if customers.is_empty() {
        return Ok(());
    }
    let keys: Vec<CustomerKey> = customers.iter().map(|row| (row.tenant, row.customer)).collect();
    let (tenants, shards, ids) = arrays(&keys);
    let versions: Vec<i64> = customers.iter().map(|row| row.version).collect();
    let fragments: Vec<i32> = customers.iter().map(|row| row.fragments).collect();
    let behaviours: Vec<Option<&[u8]>> =
        customers.iter().map(|row| row.behaviour.as_deref()).collect();
    sqlx::query(WRITE)
        .bind(tenants)
        .bind(shards)
        .bind(ids)
        .bind(versions)
        .bind(fragments)
        .bind(behaviours)
        .bind(customers.iter().map(|row| row.stale).collect::<Vec<bool>>())
        .execute(connection)
        .await?;
    Ok(())
}
