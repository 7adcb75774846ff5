//! Customers and redirects of all tenants in the order of (tenant, customer), for consumers
//! that begin anew.

use ::store::{Database, Error};
use kernel::{CustomerId, TenantId};
use uuid::Uuid;

use super::redirect::Redirect;

/// The state of a profile.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tenant: TenantId,
    pub(crate) customer: CustomerId,
    pub(crate) version: i64,
    /// Empty for a customer without fragments.
    pub(crate) behaviour: Vec<u8>,
}

const CUSTOMERS: &str = "select c.tenant_id, c.customer_id, c.version,
        coalesce(c.behaviour, (select f.behaviour from fragment f
            where f.tenant_id = c.tenant_id and f.customer_id = c.customer_id and f.version > 0
            limit 1), '')
    from customer c
    where (c.tenant_id, c.customer_id) > ($1, $2) and c.shard = any($3)
    order by c.tenant_id, c.customer_id limit $4";

/// At most `limit` customers of the shards after a key.
pub(crate) async fn customers(
    database: &Database,
    shards: &[i16],
    after: (Uuid, Uuid),
    limit: i64,
) -> Result<Vec<State>, Error> {
    let rows: Vec<(Uuid, Uuid, i64, Vec<u8>)> = sqlx::query_as(CUSTOMERS)
        .bind(after.0)
        .bind(after.1)
        .bind(shards)
        .bind(limit)
        .fetch_all(database.pool())
        .await?;
    let state = |(tenant, customer, version, behaviour)| {
        let (tenant, customer) = (TenantId::new(tenant), CustomerId::new(customer));
        State { tenant, customer, version, behaviour }
    };
    Ok(rows.into_iter().map(state).collect())
}

const REDIRECTS: &str = "select tenant_id, customer_id, into_customer_id, version from redirect
    where (tenant_id, customer_id) > ($1, $2) and shard = any($3)
    order by tenant_id, customer_id limit $4";

/// At most `limit` redirects of the shards after a key.
pub(crate) async fn redirects(
    database: &Database,
    shards: &[i16],
    after: (Uuid, Uuid),
    limit: i64,
) -> Result<Vec<Redirect>, Error> {
    let rows: Vec<(Uuid, Uuid, Uuid, i64)> = sqlx::query_as(REDIRECTS)
        .bind(after.0)
        .bind(after.1)
        .bind(shards)
        .bind(limit)
        .fetch_all(database.pool())
        .await?;
    let redirect = |(tenant, customer, into, version)| Redirect {
        tenant: TenantId::new(tenant),
        customer: CustomerId::new(customer),
        into: CustomerId::new(into),
        version,
    };
    Ok(rows.into_iter().map(redirect).collect())
}
