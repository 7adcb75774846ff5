//! Redirects: where a customer id leads.

use ::store::{Database, Error};
use kernel::{CustomerId, Shard, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

/// A redirect as identity tells it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Redirect {
    pub(crate) tenant: TenantId,
    pub(crate) customer: CustomerId,
    pub(crate) into: CustomerId,
    pub(crate) version: i64,
}

const UPSERT: &str = "insert into redirect
    (tenant_id, shard, customer_id, into_customer_id, version)
    select * from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::uuid[], $5::bigint[])
    on conflict (tenant_id, shard, customer_id) do update
    set into_customer_id = excluded.into_customer_id, version = excluded.version
    where redirect.version < excluded.version
    returning tenant_id, customer_id";

/// Keeps redirects (one per customer) that are newer than what is kept; says of which
/// customers.
pub(crate) async fn upsert(
    connection: &mut PgConnection,
    redirects: &[Redirect],
) -> Result<Vec<(TenantId, CustomerId)>, Error> {
    let shard = |it: &Redirect| Shard::of(it.customer.uuid()).number();
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(UPSERT)
        .bind(redirects.iter().map(|it| it.tenant.uuid()).collect::<Vec<Uuid>>())
        .bind(redirects.iter().map(shard).collect::<Vec<i16>>())
        .bind(redirects.iter().map(|it| it.customer.uuid()).collect::<Vec<Uuid>>())
        .bind(redirects.iter().map(|it| it.into.uuid()).collect::<Vec<Uuid>>())
        .bind(redirects.iter().map(|it| it.version).collect::<Vec<i64>>())
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|(t, c)| (TenantId::new(t), CustomerId::new(c))).collect())
}

const GET: &str = "select into_customer_id from redirect
    where tenant_id = $1 and shard = $2 and customer_id = $3";

/// Where the id leads; nothing if to itself.
pub(crate) async fn get(
    database: &Database,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<Option<CustomerId>, Error> {
    let into: Option<Uuid> = sqlx::query_scalar(GET)
        .bind(tenant.uuid())
        .bind(Shard::of(customer.uuid()).number())
        .bind(customer.uuid())
        .fetch_optional(database.pool())
        .await?;
    Ok(into.map(CustomerId::new).filter(|into| *into != customer))
}
