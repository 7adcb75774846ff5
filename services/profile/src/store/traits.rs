//! Declared attributes as resources.

use ::store::{Database, Error, Resource};
use kernel::TenantId;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::schema::Declaration;

impl Resource for Declaration {
    const KIND: &'static str = "Trait";
}

/// What counts for a new declaration.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The tenant's own ones.
    pub(crate) in_force: Vec<(String, Declaration)>,
    /// The last one of this name, if it was deleted.
    pub(crate) deleted: Option<Declaration>,
}

/// `prof` in ASCII: tells this lock from those of the feed and of migrations.
const LOCK: &str = "select pg_advisory_xact_lock(x'70726f66'::int, hashtext($1::uuid::text))";

// A deleted resource keeps its last body.
const OF_TENANT: &str = "select name, deleted, body from resource
    where tenant_id = $1 and kind = 'Trait' and (not deleted or name = $2)";

/// The tenant's declarations, which nobody else changes until the end of the transaction.
pub(crate) async fn lock(
    connection: &mut PgConnection,
    tenant: TenantId,
    name: &str,
) -> Result<Known, Error> {
    sqlx::query(LOCK).bind(tenant.uuid()).execute(&mut *connection).await?;
    let rows: Vec<(String, bool, Value)> =
        sqlx::query_as(OF_TENANT).bind(tenant.uuid()).bind(name).fetch_all(connection).await?;
    let mut known = Known::default();
    for (name, deleted, body) in rows {
        let declaration = read(body)?;
        if deleted {
            known.deleted = Some(declaration);
        } else {
            known.in_force.push((name, declaration));
        }
    }
    Ok(known)
}

fn read(body: Value) -> Result<Declaration, Error> {
    serde_json::from_value(body).map_err(|_| Error::damaged("a stored Trait does not decode"))
}

/// A declaration, or the deletion of one, of any tenant.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) tenant: TenantId,
    pub(crate) name: String,
    pub(crate) version: i64,
    /// Absent when it was deleted.
    pub(crate) declaration: Option<Declaration>,
}

/// Some tenants' declarations and deletions.
#[derive(Debug)]
pub(crate) struct Versions {
    pub(crate) versions: Vec<Version>,
    /// The last tenant that was looked at; nothing if they were all.
    pub(crate) up_to: Option<Uuid>,
}

const TENANTS: &str = "select distinct tenant_id from resource
    where kind = 'Trait' and tenant_id between $1 and $2 order by tenant_id limit $3";
const OF_TENANTS: &str = "select tenant_id, name, version, deleted, body
    from unnest($1::uuid[]) t(tenant_id) join resource r using (tenant_id) where r.kind = 'Trait'";

/// Every declaration and deletion of at most `limit` tenants from `first` to `last`.
pub(crate) async fn of_tenants(
    database: &Database,
    (first, last): (Uuid, Uuid),
    limit: usize,
) -> Result<Versions, Error> {
    let tenants: Vec<Uuid> = sqlx::query_scalar(TENANTS)
        .bind(first)
        .bind(last)
        .bind(limit as i64)
        .fetch_all(database.pool())
        .await?;
    let up_to = tenants.last().copied().filter(|_| tenants.len() == limit);
    let rows: Vec<(Uuid, String, i64, bool, Value)> =
        sqlx::query_as(OF_TENANTS).bind(tenants).fetch_all(database.pool()).await?;
    let mut versions = Vec::with_capacity(rows.len());
    for (tenant, name, version, deleted, body) in rows {
        let tenant = TenantId::new(tenant);
        let declaration = if deleted { None } else { Some(read(body)?) };
        versions.push(Version { tenant, name, version, declaration });
    }
    Ok(Versions { versions, up_to })
}
