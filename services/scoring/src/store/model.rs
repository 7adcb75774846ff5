//! What models have learned, and who may learn for them.
//!
//! A checkpoint moves by compare-and-set on (position, epoch): a learner that was presumed
//! dead changes nothing. Epochs and versions come from sequences, so a model that was deleted
//! and made again is another one.

use std::time::Duration;

use kernel::TenantId;
use learn::Model;
use sqlx::{PgConnection, PgPool};
use store::Error;
use uuid::Uuid;

use super::uuids;
use crate::domain::Knowledge;

const DECLARE: &str = "insert into model_state (tenant_id, model, learning, weights)
    values ($1, $2, $3, $4)
    on conflict (tenant_id, model) do update set learning = excluded.learning";

/// Makes sure that the model is there, and says whether it learns.
pub(crate) async fn declare(
    connection: &mut PgConnection,
    tenant: TenantId,
    model: &str,
    learning: bool,
) -> Result<(), Error> {
    sqlx::query(DECLARE)
        .bind(tenant.uuid())
        .bind(model)
        .bind(learning)
        .bind(Model::default().encode())
        .execute(connection)
        .await?;
    Ok(())
}

const FORGET: &str = "delete from model_state where tenant_id = $1 and model = $2";

/// Deletes what a model has learned.
pub(crate) async fn forget(
    connection: &mut PgConnection,
    tenant: TenantId,
    model: &str,
) -> Result<(), Error> {
    sqlx::query(FORGET).bind(tenant.uuid()).bind(model).execute(connection).await?;
    Ok(())
}

const VERSIONS: &str = "select tenant_id, model, version from model_state
    where tenant_id = any($1) order by tenant_id, model";

/// The versions of what the models of these tenants know.
pub(crate) async fn versions(
    connection: &mut PgConnection,
    tenants: &[TenantId],
) -> Result<Vec<(TenantId, String, i64)>, Error> {
    let rows: Vec<(Uuid, String, i64)> =
        sqlx::query_as(VERSIONS).bind(uuids(tenants)).fetch_all(connection).await?;
    let version = |(tenant, model, version)| (TenantId::new(tenant), model, version);
    Ok(rows.into_iter().map(version).collect())
}

/// What a model knows.
#[derive(Debug, Clone)]
pub(crate) struct ModelRow {
    pub(crate) model: String,
    pub(crate) version: i64,
    pub(crate) knowledge: Knowledge,
}

const LOAD: &str = "select model, version, weights, labels, positives from model_state
    where tenant_id = $1 and model = any($2)";

/// Reads what models of a tenant know.
pub(crate) async fn load(
    pool: &PgPool,
    tenant: TenantId,
    models: &[String],
) -> Result<Vec<ModelRow>, Error> {
    let rows: Vec<(String, i64, Vec<u8>, i64, i64)> =
        sqlx::query_as(LOAD).bind(tenant.uuid()).bind(models).fetch_all(pool).await?;
    let row = |(model, version, weights, labels, positives): (String, _, Vec<u8>, _, _)| {
        let knowledge = Knowledge { labels, positives, model: decode(&weights)? };
        Ok(ModelRow { model, version, knowledge })
    };
    rows.into_iter().map(row).collect()
}

fn decode(weights: &[u8]) -> Result<Model, Error> {
    Model::decode(weights).map_err(Error::damaged)
}

const PROGRESS: &str = "select model, position, labels, positives from model_state
    where tenant_id = $1 and model = any($2)";

/// How far a model is.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) model: String,
    pub(crate) position: i64,
    pub(crate) labels: i64,
    pub(crate) positives: i64,
}

impl Progress {
    /// Of these models of a tenant.
    pub(crate) async fn of(
        pool: &PgPool,
        tenant: TenantId,
        models: &[String],
    ) -> Result<Vec<Self>, Error> {
        let rows: Vec<(String, i64, i64, i64)> =
            sqlx::query_as(PROGRESS).bind(tenant.uuid()).bind(models).fetch_all(pool).await?;
        let progress =
            |(model, position, labels, positives)| Self { model, position, labels, positives };
        Ok(rows.into_iter().map(progress).collect())
    }
}

/// A model with labels that it has not looked at.
#[derive(Debug, Clone)]
pub(crate) struct Behind {
    pub(crate) tenant: TenantId,
    pub(crate) model: String,
    /// Of the tenant's scorers.
    pub(crate) revision: i64,
}

const BEHIND: &str = "select m.tenant_id, m.model, r.revision
    from model_state m join ruleset r using (tenant_id)
    where m.learning and (m.holder = $1 or m.lease_until < clock_timestamp())
        and m.position <
            (select coalesce(max(l.seq), 0) from label_log l where l.tenant_id = m.tenant_id)
    order by m.tenant_id, m.model";

/// The models that `holder` may learn for and that have something to learn.
pub(crate) async fn behind(pool: &PgPool, holder: Uuid) -> Result<Vec<Behind>, Error> {
    let rows: Vec<(Uuid, String, i64)> =
        sqlx::query_as(BEHIND).bind(holder).fetch_all(pool).await?;
    let behind =
        |(tenant, model, revision)| Behind { tenant: TenantId::new(tenant), model, revision };
    Ok(rows.into_iter().map(behind).collect())
}

/// The right to learn for a model, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) epoch: i64,
    pub(crate) position: i64,
    pub(crate) knowledge: Knowledge,
}

const ACQUIRE: &str = "update model_state set holder = $3, epoch = nextval('model_epoch'),
        lease_until = clock_timestamp() + make_interval(secs => $4)
    where tenant_id = $1 and model = $2 and learning
        and (holder = $3 or lease_until < clock_timestamp())
    returning epoch, position, weights, labels, positives";

/// Takes the lease; nothing when somebody else has it.
pub(crate) async fn acquire(
    pool: &PgPool,
    tenant: TenantId,
    model: &str,
    holder: Uuid,
    lease: Duration,
) -> Result<Option<Lease>, Error> {
    let row: Option<(i64, i64, Vec<u8>, i64, i64)> = sqlx::query_as(ACQUIRE)
        .bind(tenant.uuid())
        .bind(model)
        .bind(holder)
        .bind(lease.as_secs_f64())
        .fetch_optional(pool)
        .await?;
    let Some((epoch, position, weights, labels, positives)) = row else { return Ok(None) };
    let knowledge = Knowledge { labels, positives, model: decode(&weights)? };
    Ok(Some(Lease { epoch, position, knowledge }))
}

/// Where a learner has come to.
#[derive(Debug)]
pub(crate) struct Learned<'a> {
    pub(crate) to: i64,
    pub(crate) knowledge: &'a Knowledge,
}

const CHECKPOINT: &str = "update model_state set position = $5, weights = $6, labels = $7,
        positives = $8, version = nextval('model_version'),
        lease_until = clock_timestamp() + make_interval(secs => $9)
    where tenant_id = $1 and model = $2 and epoch = $3 and position = $4 and learning
    returning version";

/// Moves the position together with the weights; answers the version of the knowledge, or
/// nothing when the lease is lost or the model was frozen: then nothing was learned.
pub(crate) async fn checkpoint(
    pool: &PgPool,
    (tenant, model): (TenantId, &str),
    (epoch, from): (i64, i64),
    learned: Learned<'_>,
    lease: Duration,
) -> Result<Option<i64>, Error> {
    let version = sqlx::query_scalar(CHECKPOINT)
        .bind(tenant.uuid())
        .bind(model)
        .bind(epoch)
        .bind(from)
        .bind(learned.to)
        .bind(learned.knowledge.model.encode())
        .bind(learned.knowledge.labels)
        .bind(learned.knowledge.positives)
        .bind(lease.as_secs_f64())
        .fetch_optional(pool)
        .await?;
    Ok(version)
}

const RELEASE: &str = "update model_state set lease_until = '-infinity' where holder = $1
    and lease_until > clock_timestamp()";

/// Gives all leases of a holder back.
pub(crate) async fn release(pool: &PgPool, holder: Uuid) -> Result<(), Error> {
    sqlx::query(RELEASE).bind(holder).execute(pool).await?;
    Ok(())
}
