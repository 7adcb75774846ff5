//! Declared attributes as resources.

use ::store::{Database, Error, Resource};
use kernel::TenantId;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::schema::Declaration;

impl Resource for Declaration {
    const KIND: &'static str = "Trait";
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

const ALL: &str =
    "select tenant_id, name, version, deleted, body from resource where kind = 'Trait'";

/// Every declaration of every tenant, and every deletion.
pub(crate) async fn all(database: &Database) -> Result<Vec<Version>, Error> {
    let rows: Vec<(Uuid, String, i64, bool, Value)> =
        sqlx::query_as(ALL).fetch_all(database.pool()).await?;
    let version = |(tenant, name, version, deleted, body)| {
        let declaration = if deleted {
            None
        } else {
            let read: Result<Declaration, _> = serde_json::from_value(body);
            Some(read.map_err(|_| Error::internal("a stored Trait does not decode"))?)
        };
        Ok(Version { tenant: TenantId::new(tenant), name, version, declaration })
    };
    rows.into_iter().map(version).collect()
}
