//! Versioned configuration resources (rules, traits, scorecards, policies …): one module for
//! all kinds and all services.
//!
//! A resource is (tenant, kind, name) → JSON body, version from 1 up, etag. Saving the same
//! body again changes nothing. A deletion is a version too, so versions and etags never repeat.
//! Every change counts the database's *revision* up as its last statement, under the lock of
//! that one row: changes are rare, and "what changed since" misses nothing ([`crate::View`]).
//!
//! Functions that take a connection belong to the caller's transaction, so that a change and
//! its feed row commit together.

use jiff::Timestamp;
use kernel::TenantId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::blind;
pub use crate::change::{Change, Origin};
use crate::database::Database;
use crate::error::Error;
use crate::time;

/// The etag of what is not there: a change that insists on it only creates.
pub const ABSENT: &str = "0";

/// A type that is kept as a resource.
pub trait Resource: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind, as in the YAML that users apply, e.g. `Scorecard`. Never changes.
    const KIND: &'static str;
}

/// A stored resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<R> {
    /// Its name within tenant and kind.
    pub name: String,
    /// From 1 up.
    pub version: i64,
    /// Changes with every version.
    pub etag: String,
    /// When the first version was saved.
    pub create_time: Timestamp,
    /// When this version was saved.
    pub update_time: Timestamp,
    /// What it says.
    pub body: R,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The version in force.
    pub version: i64,
    /// The etag in force.
    pub etag: String,
    /// When the first version was saved.
    pub create_time: Timestamp,
    /// When the version in force was saved.
    pub update_time: Timestamp,
    /// False if the same body was there already.
    pub changed: bool,
}

const LOCK: &str = "select version, etag, deleted, body = $4, created_us, updated_us
    from resource where tenant_id = $1 and kind = $2 and name = $3 for no key update";
const CLAIM: &str = "insert into resource
    (tenant_id, kind, name, version, etag, body, deleted, created_us, updated_us, revision,
        author, change_id)
    values ($1, $2, $3, 1, $4, $5, false, $6, $6, 0, $7, $8) on conflict do nothing";
const UPDATE: &str = "update resource set version = $4, etag = $5, body = coalesce($6, body),
    deleted = $7, created_us = $8, updated_us = $9, author = $10, change_id = $11
    where tenant_id = $1 and kind = $2 and name = $3";
const RECORD: &str = "with counted as (
        update resource_revision set revision = revision + 1 returning revision),
    kept as (
        insert into resource_history
            (tenant_id, kind, name, version, etag, body, deleted, updated_us, revision,
                author, change_id)
        select tenant_id, kind, name, version, etag, body, deleted, updated_us,
            counted.revision, author, change_id
        from resource, counted where tenant_id = $1 and kind = $2 and name = $3)
    update resource set revision = counted.revision from counted
    where tenant_id = $1 and kind = $2 and name = $3";
const GET: &str = "select name, version, etag, created_us, updated_us, body from resource
    where tenant_id = $1 and kind = $2 and name = $3 and not deleted";
const GET_VERSION: &str = "select h.name, h.version, h.etag, r.created_us, h.updated_us, h.body
    from resource_history h join resource r using (tenant_id, kind, name)
    where tenant_id = $1 and kind = $2 and name = $3 and h.version = $4 and not h.deleted";
const LIST: &str = "select name, version, etag, created_us, updated_us, body from resource
    where tenant_id = $1 and kind = $2 and name > $3 and not deleted order by name limit $4";
const REVISION: &str = "select revision from resource_revision";
const CHANGED_SINCE: &str =
    "select tenant_id, kind, max(revision) from resource where revision > $1 group by 1, 2";

type Row = (String, i64, String, i64, i64, Value);
type Current = (i64, String, bool, bool, i64, i64);

/// The resources of one database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Resources {
    database: Database,
}

impl Resources {
    /// The resources of `database`, which has the tables of [`crate::schema::RESOURCE`].
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The database they are in.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// [`upsert`] in a transaction of its own.
    ///
    /// # Errors
    /// As [`upsert`].
    pub async fn upsert<R: Resource>(
        &self,
        tenant: TenantId,
        name: &str,
        body: &R,
        change: Change<'_>,
    ) -> Result<Saved, Error> {
        crate::transaction!(&self.database, async |connection| {
            upsert(connection, tenant, name, body, change).await
        })
    }

    /// [`delete`] in a transaction of its own.
    ///
    /// # Errors
    /// As [`delete`].
    pub async fn delete<R: Resource>(
        &self,
        tenant: TenantId,
        name: &str,
        change: Change<'_>,
    ) -> Result<Saved, Error> {
        crate::transaction!(&self.database, async |connection| {
            delete::<R>(connection, tenant, name, change).await
        })
    }

    /// The resource, if it is there and not deleted.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Internal`] for a body this release cannot read.
    pub async fn get<R: Resource>(&self, tenant: TenantId, name: &str) -> Result<Stored<R>, Error> {
        let query = sqlx::query_as::<_, Row>(GET).bind(tenant.uuid()).bind(R::KIND).bind(name);
        typed(query.fetch_one(self.database.pool()).await?)
    }

    /// A version of the resource as it was, also of a deleted one.
    ///
    /// # Errors
    /// As [`Resources::get`].
    pub async fn get_version<R: Resource>(
        &self,
        tenant: TenantId,
        name: &str,
        version: i64,
    ) -> Result<Stored<R>, Error> {
        let query = sqlx::query_as::<_, Row>(GET_VERSION)
            .bind(tenant.uuid())
            .bind(R::KIND)
            .bind(name)
            .bind(version);
        typed(query.fetch_one(self.database.pool()).await?)
    }

    /// Up to `limit` resources by name, those after `after` (empty: from the first).
    ///
    /// # Errors
    /// As [`Resources::get`], but an empty list is no error.
    pub async fn list<R: Resource>(
        &self,
        tenant: TenantId,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Stored<R>>, Error> {
        let rows: Vec<Row> = sqlx::query_as(LIST)
            .bind(tenant.uuid())
            .bind(R::KIND)
            .bind(after)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.database.pool())
            .await?;
        rows.into_iter().map(typed).collect()
    }

    pub(crate) async fn revision(&self) -> Result<i64, Error> {
        Ok(sqlx::query_scalar(REVISION).fetch_one(self.database.pool()).await?)
    }

    /// (tenant, kind, revision) of what changed after `revision`.
    pub(crate) async fn changed_since(
        &self,
        revision: i64,
    ) -> Result<Vec<(Uuid, String, i64)>, Error> {
        Ok(sqlx::query_as(CHANGED_SINCE).bind(revision).fetch_all(self.database.pool()).await?)
    }
}

/// Saves a resource in the caller's transaction.
///
/// # Errors
/// [`Error::EtagMismatch`] if `change.etag` is not the one in force (also: there is none).
pub async fn upsert<R: Resource>(
    connection: &mut PgConnection,
    tenant: TenantId,
    name: &str,
    body: &R,
    change: Change<'_>,
) -> Result<Saved, Error> {
    // serde_json's error may quote a value.
    let body =
        serde_json::to_value(body).map_err(|_| Error::internal("a resource does not encode"))?;
    let key = Key { tenant, kind: R::KIND, name };
    let first = key.etag(1, &body);
    let found = key.lock(connection, &body).await?;
    let Some((version, etag, deleted, same, created_us, updated_us)) = found else {
        return key.create(connection, &body, first, change).await;
    };
    check_etag(&etag, deleted, change)?;
    if same && !deleted {
        return Ok(saved(version, etag, created_us, updated_us, false));
    }
    let now_us = time::to_micros(change.now);
    let created_us = if deleted { now_us } else { created_us };
    let next = version + 1;
    let next_etag = key.etag(next, &body);
    if !change.validate_only {
        key.update(connection, (next, &next_etag), Some(&body), created_us, change).await?;
    }
    Ok(saved(next, next_etag, created_us, now_us, true))
}

/// Deletes a resource in the caller's transaction; the answer is the version of the deletion.
///
/// # Errors
/// [`Error::NotFound`] if it is not there, [`Error::EtagMismatch`] as [`upsert`].
pub async fn delete<R: Resource>(
    connection: &mut PgConnection,
    tenant: TenantId,
    name: &str,
    change: Change<'_>,
) -> Result<Saved, Error> {
    let key = Key { tenant, kind: R::KIND, name };
    let found = key.lock(connection, &Value::Null).await?;
    let Some((version, etag, false, _, created_us, _)) = found else {
        return Err(Error::NotFound);
    };
    check_etag(&etag, false, change)?;
    let now_us = time::to_micros(change.now);
    let next = version + 1;
    let next_etag = key.etag(next, &Value::Null);
    if !change.validate_only {
        key.update(connection, (next, &next_etag), None, created_us, change).await?;
    }
    Ok(saved(next, next_etag, created_us, now_us, true))
}

fn check_etag(current: &str, deleted: bool, change: Change<'_>) -> Result<(), Error> {
    let in_force = if deleted { ABSENT } else { current };
    match change.etag {
        Some(etag) if etag != in_force => Err(Error::EtagMismatch),
        _ => Ok(()),
    }
}

fn saved(version: i64, etag: String, created_us: i64, updated_us: i64, changed: bool) -> Saved {
    let create_time = time::from_micros(created_us);
    Saved { version, etag, create_time, update_time: time::from_micros(updated_us), changed }
}

pub(crate) fn typed<R: Resource>(row: Row) -> Result<Stored<R>, Error> {
    let (name, version, etag, created_us, updated_us, body) = row;
    let body = serde_json::from_value(body)
        .map_err(|_| Error::damaged(format_args!("a stored {} does not decode", R::KIND)))?;
    let create_time = time::from_micros(created_us);
    let update_time = time::from_micros(updated_us);
    Ok(Stored { name, version, etag, create_time, update_time, body })
}

#[derive(Clone, Copy)]
struct Key<'a> {
    tenant: TenantId,
    kind: &'static str,
    name: &'a str,
}

impl Key<'_> {
    /// Opaque to callers; equal only for the same version with the same body.
    fn etag(&self, version: i64, body: &Value) -> String {
        let digest = blind::digest(body.to_string().as_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[..8]);
        format!("{version}-{:016x}", u64::from_be_bytes(bytes))
    }

    async fn lock(
        &self,
        connection: &mut PgConnection,
        body: &Value,
    ) -> Result<Option<Current>, Error> {
        let query = sqlx::query_as(LOCK);
        let query = query.bind(self.tenant.uuid()).bind(self.kind).bind(self.name).bind(body);
        Ok(query.fetch_optional(connection).await?)
    }

    async fn create(
        &self,
        connection: &mut PgConnection,
        body: &Value,
        etag: String,
        change: Change<'_>,
    ) -> Result<Saved, Error> {
        check_etag(ABSENT, true, change)?;
        let now_us = time::to_micros(change.now);
        if !change.validate_only {
            let claimed = sqlx::query(CLAIM)
                .bind(self.tenant.uuid())
                .bind(self.kind)
                .bind(self.name)
                .bind(&etag)
                .bind(body)
                .bind(now_us)
                .bind(change.origin.author)
                .bind(change.origin.change_id)
                .execute(&mut *connection)
                .await?;
            if claimed.rows_affected() == 0 {
                let cause = crate::Cause::new("another change created the resource");
                return Err(Error::Conflict(cause));
            }
            self.record(connection).await?;
        }
        Ok(saved(1, etag, now_us, now_us, true))
    }

    async fn update(
        &self,
        connection: &mut PgConnection,
        (version, etag): (i64, &str),
        body: Option<&Value>,
        created_us: i64,
        change: Change<'_>,
    ) -> Result<(), Error> {
        sqlx::query(UPDATE)
            .bind(self.tenant.uuid())
            .bind(self.kind)
            .bind(self.name)
            .bind(version)
            .bind(etag)
            .bind(body)
            .bind(body.is_none())
            .bind(created_us)
            .bind(time::to_micros(change.now))
            .bind(change.origin.author)
            .bind(change.origin.change_id)
            .execute(&mut *connection)
            .await?;
        self.record(connection).await
    }

    /// Counts the revision up and keeps the version in the history.
    async fn record(&self, connection: &mut PgConnection) -> Result<(), Error> {
        sqlx::query(RECORD)
            .bind(self.tenant.uuid())
            .bind(self.kind)
            .bind(self.name)
            .execute(connection)
            .await?;
        Ok(())
    }
}
