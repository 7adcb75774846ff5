//! What ties demands to policies and agents to teams while either is being deleted.

use std::collections::HashSet;

use kernel::TenantId;
use sqlx::{PgConnection, PgExecutor};
use store::{Error, Resource};
use uuid::Uuid;

/// Shared, so that the resource stays until the commit: its deletion locks the row.
const HOLD: &str = "select r.tenant_id, r.name from resource r
      join unnest($1::uuid[], $2::text[]) n(tenant_id, name)
        on r.tenant_id = n.tenant_id and r.kind = $3 and r.name = n.name
    where not r.deleted order by r.tenant_id, r.name for share of r";
const IS_FOLLOWED: &str = "select exists (select from demand
    where tenant_id = $1 and policy = $2 and next_action_us is not null)";
const HAS_AGENTS: &str = "select exists (select from resource
    where tenant_id = $1 and kind = $2 and not deleted and body ->> 'team' = $3)";

/// Holds resources of one kind until the commit; answers those that exist.
pub(crate) async fn hold<R: Resource>(
    connection: &mut PgConnection,
    names: &[(TenantId, &str)],
) -> Result<HashSet<(TenantId, String)>, Error> {
    if names.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<(Uuid, String)> = sqlx::query_as(HOLD)
        .bind(names.iter().map(|(tenant, _)| tenant.uuid()).collect::<Vec<_>>())
        .bind(names.iter().map(|(_, name)| *name).collect::<Vec<_>>())
        .bind(R::KIND)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|(tenant, name)| (TenantId::new(tenant), name)).collect())
}

/// True if a demand that is not closed follows the policy.
pub(crate) async fn is_followed(
    executor: impl PgExecutor<'_>,
    tenant: TenantId,
    policy: &str,
) -> Result<bool, Error> {
    let query = sqlx::query_scalar(IS_FOLLOWED).bind(tenant.uuid()).bind(policy);
    Ok(query.fetch_one(executor).await?)
}

/// True if an agent belongs to the team.
pub(crate) async fn has_agents<A: Resource>(
    executor: impl PgExecutor<'_>,
    tenant: TenantId,
    team: &str,
) -> Result<bool, Error> {
    let query = sqlx::query_scalar(HAS_AGENTS).bind(tenant.uuid()).bind(A::KIND).bind(team);
    Ok(query.fetch_one(executor).await?)
}
