//! Which tenants' waiting demands deserve another look.

use kernel::TenantId;
use sqlx::{PgConnection, PgExecutor};
use store::Error;
use uuid::Uuid;

/// Only where somebody waits. A demand that is being attempted at this moment is still queued
/// in every snapshot, so a freed agent is not missed.
const STIR: &str = "insert into stir (tenant_id) select t from unnest($1::uuid[]) t
    where exists (select from demand d where d.tenant_id = t and d.state = 1)";
const STIR_ALL: &str = "insert into stir (tenant_id)
    select distinct tenant_id from demand where state = 1";
/// Only by the holder of the lease: whoever follows looks at all, so nothing taken before is
/// lost with this one.
const TAKE: &str = "delete from stir where id in
        (select id from stir where exists (select from router_lease where epoch = $1)
         order by id limit 1000 for update skip locked)
    returning tenant_id";

/// Notes tenants in which somebody became free, or a policy changed.
pub(crate) async fn stir(connection: &mut PgConnection, tenants: &[TenantId]) -> Result<(), Error> {
    if tenants.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = tenants.iter().map(|tenant| tenant.uuid()).collect();
    sqlx::query(STIR).bind(tenants).execute(connection).await?;
    Ok(())
}

/// Notes all tenants with waiting demands: a router that begins knows nothing.
pub(crate) async fn stir_all(executor: impl PgExecutor<'_>) -> Result<(), Error> {
    sqlx::query(STIR_ALL).execute(executor).await?;
    Ok(())
}

/// Takes what was noted; a tenant may be there several times.
pub(crate) async fn take(
    executor: impl PgExecutor<'_>,
    epoch: i64,
) -> Result<Vec<TenantId>, Error> {
    let tenants: Vec<Uuid> = sqlx::query_scalar(TAKE).bind(epoch).fetch_all(executor).await?;
    Ok(tenants.into_iter().map(TenantId::new).collect())
}
