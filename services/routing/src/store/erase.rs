//! Which demands an erasure concerns.

use kernel::{CustomerId, DemandId, TenantId};
use sqlx::postgres::PgConnection;
use store::Error;
use uuid::Uuid;

use super::demand::Key;

const OF_CUSTOMERS: &str = "select d.tenant_id, d.demand_id from demand d
    join unnest($1::uuid[], $2::uuid[]) as k(tenant_id, customer_id)
        on d.tenant_id = k.tenant_id and d.customer_id = k.customer_id";

/// All demands of some customers.
pub(crate) async fn demands(
    connection: &mut PgConnection,
    customers: &[(TenantId, CustomerId)],
) -> Result<Vec<Key>, Error> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(OF_CUSTOMERS)
        .bind(customers.iter().map(|(tenant, _)| tenant.uuid()).collect::<Vec<Uuid>>())
        .bind(customers.iter().map(|(_, customer)| customer.uuid()).collect::<Vec<Uuid>>())
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|(tenant, id)| (TenantId::new(tenant), DemandId::new(id))).collect())
}
