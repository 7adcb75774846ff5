//! One change of structure at a time per tenant.

use kernel::TenantId;
use sqlx::PgConnection;
use store::Error;

/// `id` in ASCII: tells this lock from those of the feed and of migrations.
const CLASS: i32 = 0x6964;
/// Plans that join by hash would read whole tables for a handful of keys.
const LOCK: &str = "select pg_advisory_xact_lock($1, $2),
    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)";

/// The number that a tenant is locked by. Tenants that share one wait for each other, no more;
/// several are locked in ascending order.
pub(crate) fn number(tenant: TenantId) -> i32 {
    let folded = tenant.uuid().as_u64_pair();
    let folded = folded.0 ^ folded.1;
    (folded ^ (folded >> 32)) as i32
}

/// Waits for the tenant's lock, until the end of the transaction.
pub(crate) async fn tenant(connection: &mut PgConnection, tenant: TenantId) -> Result<(), Error> {
    sqlx::query(LOCK).bind(CLASS).bind(number(tenant)).execute(connection).await?;
    Ok(())
}
