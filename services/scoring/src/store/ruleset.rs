//! Which set of scorers is in force, the attributes it may read, and who is still to be
//! scored by it.
//!
//! Order of locks: ruleset, then sweep or model, then customers, then the feed.

use kernel::TenantId;
use sqlx::{PgConnection, PgExecutor, PgPool};
use store::Error;
use uuid::Uuid;

use super::uuids;
use crate::domain::{TraitKind, TraitSchema};

const CREATE: &str =
    "insert into ruleset (tenant_id) select unnest($1::uuid[]) on conflict do nothing";
const HOLD: &str = "select tenant_id, revision from ruleset where tenant_id = any($1)
    order by tenant_id for share";

/// Holds the sets of these tenants (sorted, distinct) as they are until the end of the
/// transaction; answers their revisions in the order of the tenants.
pub(crate) async fn hold(
    connection: &mut PgConnection,
    tenants: &[TenantId],
) -> Result<Vec<(TenantId, i64)>, Error> {
    let ids = uuids(tenants);
    let mut rows: Vec<(Uuid, i64)> =
        sqlx::query_as(HOLD).bind(&ids).fetch_all(&mut *connection).await?;
    if rows.len() < ids.len() {
        sqlx::query(CREATE).bind(&ids).execute(&mut *connection).await?;
        rows = sqlx::query_as(HOLD).bind(&ids).fetch_all(connection).await?;
    }
    Ok(rows.into_iter().map(|(tenant, revision)| (TenantId::new(tenant), revision)).collect())
}

const BUMP: &str = "insert into ruleset (tenant_id, revision) values ($1, 1)
    on conflict (tenant_id) do update set revision = ruleset.revision + 1 returning revision";

/// Takes the set alone and counts its revision up. The first statement of a change.
pub(crate) async fn bump(connection: &mut PgConnection, tenant: TenantId) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(BUMP).bind(tenant.uuid()).fetch_one(connection).await?)
}

const BEGIN_SWEEP: &str = "insert into sweep (tenant_id, shard, customer_id)
    values ($1, -1, '00000000-0000-0000-0000-000000000000')
    on conflict (tenant_id) do update set shard = -1, customer_id = excluded.customer_id";

/// Asks for all customers of the tenant to be scored again.
pub(crate) async fn begin_sweep(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> Result<(), Error> {
    sqlx::query(BEGIN_SWEEP).bind(tenant.uuid()).execute(connection).await?;
    Ok(())
}

const NEXT_SWEEP: &str =
    "select tenant_id from sweep where tenant_id > $1 order by tenant_id limit 1";

/// A tenant whose customers are to be scored again, after the given one.
pub(crate) async fn next_sweep(pool: &PgPool, after: Uuid) -> Result<Option<TenantId>, Error> {
    let tenant: Option<Uuid> =
        sqlx::query_scalar(NEXT_SWEEP).bind(after).fetch_optional(pool).await?;
    Ok(tenant.map(TenantId::new))
}

const SWEEP_LOCK: &str = "select shard, customer_id from sweep where tenant_id = $1 for update";
const SWEEP_MOVE: &str = "update sweep set shard = $2, customer_id = $3 where tenant_id = $1";
const SWEEP_END: &str = "delete from sweep where tenant_id = $1";

/// Where the sweep of a tenant stands; nothing if somebody finished it.
pub(crate) async fn sweep_position(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> Result<Option<(i16, Uuid)>, Error> {
    Ok(sqlx::query_as(SWEEP_LOCK).bind(tenant.uuid()).fetch_optional(connection).await?)
}

/// Moves the sweep behind a customer, or ends it.
pub(crate) async fn sweep_on(
    connection: &mut PgConnection,
    tenant: TenantId,
    to: Option<(i16, Uuid)>,
) -> Result<(), Error> {
    let query = match to {
        Some((shard, customer)) => {
            sqlx::query(SWEEP_MOVE).bind(tenant.uuid()).bind(shard).bind(customer)
        }
        None => sqlx::query(SWEEP_END).bind(tenant.uuid()),
    };
    query.execute(connection).await?;
    Ok(())
}

/// An attribute as profile declared it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeclaredTrait {
    pub(crate) tenant: TenantId,
    pub(crate) name: String,
    /// 0 when it was deleted.
    pub(crate) kind: i16,
    pub(crate) personal: bool,
    pub(crate) version: i64,
}

const APPLY: &str = "insert into trait as t (tenant_id, name, kind, personal, version)
    select * from unnest($1::uuid[], $2::text[], $3::smallint[], $4::boolean[], $5::bigint[])
    order by 1, 2
    on conflict (tenant_id, name) do update set
        kind = excluded.kind, personal = excluded.personal, version = excluded.version
    where t.version < excluded.version returning tenant_id";

/// Takes declarations that are newer than the stored ones (one for each name); answers the
/// tenants for which something changed.
pub(crate) async fn apply_traits(
    connection: &mut PgConnection,
    traits: &[DeclaredTrait],
) -> Result<Vec<TenantId>, Error> {
    let tenants: Vec<Uuid> = traits.iter().map(|declared| declared.tenant.uuid()).collect();
    let names: Vec<&str> = traits.iter().map(|declared| declared.name.as_str()).collect();
    let kinds: Vec<i16> = traits.iter().map(|declared| declared.kind).collect();
    let personal: Vec<bool> = traits.iter().map(|declared| declared.personal).collect();
    let versions: Vec<i64> = traits.iter().map(|declared| declared.version).collect();
    let mut changed: Vec<Uuid> = sqlx::query_scalar(APPLY)
        .bind(tenants)
        .bind(names)
        .bind(kinds)
        .bind(personal)
        .bind(versions)
        .fetch_all(connection)
        .await?;
    changed.sort_unstable();
    changed.dedup();
    Ok(changed.into_iter().map(TenantId::new).collect())
}

const TRAITS: &str =
    "select name, kind from trait where tenant_id = $1 and kind > 0 and not personal";

/// The attributes that may be features.
pub(crate) async fn traits(
    executor: impl PgExecutor<'_>,
    tenant: TenantId,
) -> Result<TraitSchema, Error> {
    let rows: Vec<(String, i16)> =
        sqlx::query_as(TRAITS).bind(tenant.uuid()).fetch_all(executor).await?;
    let declared =
        rows.into_iter().filter_map(|(name, kind)| Some((name, TraitKind::from_number(kind)?)));
    Ok(TraitSchema::new(declared))
}
