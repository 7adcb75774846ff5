//! Uses of scores: what was known and answered when a score was acted upon.

use kernel::{CustomerId, Shard, TenantId, UseId};
use sqlx::PgPool;
use store::Error;
use uuid::Uuid;

use super::codec::{self, Features};
use super::customer;
use crate::domain::Scored;

/// What a scorer answered, with all its reasons.
pub(crate) type Answer = Scored;

/// One use.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Use {
    pub(crate) customer: CustomerId,
    /// The id that the caller named.
    pub(crate) asked: CustomerId,
    pub(crate) as_of_us: i64,
    pub(crate) profile_version: i64,
    pub(crate) features: Features,
    pub(crate) answers: Vec<Answer>,
}

const INSERT: &str = "insert into feature_log (tenant_id, shard, use_id, customer_id,
        asked_customer_id, as_of_us, profile_version, features, answers)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing";

/// Keeps a use; false if the id was used before.
pub(crate) async fn insert(
    pool: &PgPool,
    tenant: TenantId,
    id: UseId,
    usage: &Use,
) -> Result<bool, Error> {
    let inserted = sqlx::query(INSERT)
        .bind(tenant.uuid())
        .bind(Shard::of(id.uuid()).number())
        .bind(id.uuid())
        .bind(usage.customer.uuid())
        .bind(usage.asked.uuid())
        .bind(usage.as_of_us)
        .bind(usage.profile_version)
        .bind(codec::encode_features(&usage.features))
        .bind(codec::encode_answers(&usage.answers, &usage.features))
        .execute(pool)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

const FIND: &str = "select customer_id, asked_customer_id, as_of_us, profile_version, features,
        answers
    from feature_log where tenant_id = $1 and shard = $2 and use_id = $3";

type Row = (Uuid, Uuid, i64, i64, Vec<u8>, Vec<u8>);

/// The use of that id.
pub(crate) async fn find(pool: &PgPool, tenant: TenantId, id: UseId) -> Result<Option<Use>, Error> {
    let row: Option<Row> = sqlx::query_as(FIND)
        .bind(tenant.uuid())
        .bind(Shard::of(id.uuid()).number())
        .bind(id.uuid())
        .fetch_optional(pool)
        .await?;
    let Some((id, asked, as_of_us, profile_version, features, answers)) = row else {
        return Ok(None);
    };
    let features = codec::decode_features(&features)?;
    Ok(Some(Use {
        customer: customer(id),
        asked: customer(asked),
        as_of_us,
        profile_version,
        answers: codec::decode_answers(&answers, &features)?,
        features,
    }))
}
