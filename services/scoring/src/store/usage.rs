//! Uses of scores: what was known and answered when a score was acted upon.

use std::collections::HashSet;
use std::sync::Arc;

use kernel::{CustomerId, Shard, TenantId, UseId};
use sqlx::PgPool;
use store::Error;
use uuid::Uuid;

use super::{codec, customer};
use crate::domain::{Features, Scored};

/// What a scorer answered, with all its reasons.
pub(crate) type Answer = Scored;

/// One use.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Use {
    pub(crate) customer: CustomerId,
    /// The id that the caller named.
    pub(crate) asked: CustomerId,
    pub(crate) as_of_us: i64,
    /// When it was read, whatever it is as of: a use that was read long after its `as_of_us` may
    /// know what a model would not have known then.
    pub(crate) read_us: i64,
    pub(crate) profile_version: i64,
    pub(crate) features: Features,
    pub(crate) answers: Vec<Answer>,
}

/// A use that is to be kept.
#[derive(Debug)]
pub(crate) struct NewUse {
    pub(crate) tenant: TenantId,
    pub(crate) id: UseId,
    pub(crate) usage: Use,
}

// The row of the customer is held: who is erased meanwhile has no use.
const INSERT: &str = "insert into feature_log (tenant_id, shard, use_id, customer_id,
        asked_customer_id, as_of_us, read_us, profile_version, features, answers)
    select u.tenant_id, u.shard, u.use_id, u.customer_id, u.asked, u.as_of_us, u.read_us,
        u.version, u.features, u.answers
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::uuid[], $5::uuid[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::bytea[], $10::bytea[], $11::smallint[])
        as u(tenant_id, shard, use_id, customer_id, asked, as_of_us, read_us, version, features,
            answers, customer_shard)
    join subject s on s.tenant_id = u.tenant_id and s.shard = u.customer_shard
        and s.customer_id = u.customer_id
    where not s.erased
    order by 1, 2, 3 for key share of s
    on conflict do nothing returning tenant_id, use_id";

/// Keeps uses; for each, false if its id was used before, also earlier in the same list.
pub(crate) async fn insert(pool: &PgPool, all: &[Arc<NewUse>]) -> Result<Vec<bool>, Error> {
    let key = |new: &NewUse| (new.tenant.uuid(), new.id.uuid());
    let mut seen = HashSet::with_capacity(all.len());
    let is_first: Vec<bool> = all.iter().map(|new| seen.insert(key(new))).collect();
    let firsts = all.iter().zip(&is_first).filter(|(_, is_first)| **is_first);
    let uses: Vec<&NewUse> = firsts.map(|(new, _)| new.as_ref()).collect();
    let ids = |of: fn(&NewUse) -> Uuid| uses.iter().map(|new| of(new)).collect::<Vec<Uuid>>();
    let numbers = |of: fn(&NewUse) -> i64| uses.iter().map(|new| of(new)).collect::<Vec<i64>>();
    let shards: Vec<i16> = uses.iter().map(|new| Shard::of(new.id.uuid()).number()).collect();
    let encoded = |of: fn(&Use) -> Vec<u8>| uses.iter().map(|new| of(&new.usage)).collect();
    let features: Vec<Vec<u8>> = encoded(|usage| codec::encode_features(&usage.features));
    let answers: Vec<Vec<u8>> =
        encoded(|usage| codec::encode_answers(&usage.answers, &usage.features));
    let inserted: Vec<(Uuid, Uuid)> = sqlx::query_as(INSERT)
        .bind(ids(|new| new.tenant.uuid()))
        .bind(shards)
        .bind(ids(|new| new.id.uuid()))
        .bind(ids(|new| new.usage.customer.uuid()))
        .bind(ids(|new| new.usage.asked.uuid()))
        .bind(numbers(|new| new.usage.as_of_us))
        .bind(numbers(|new| new.usage.read_us))
        .bind(numbers(|new| new.usage.profile_version))
        .bind(features)
        .bind(answers)
        .bind(
            uses.iter()
                .map(|new| Shard::of(new.usage.customer.uuid()).number())
                .collect::<Vec<i16>>(),
        )
        .fetch_all(pool)
        .await?;
    let inserted: HashSet<(Uuid, Uuid)> = inserted.into_iter().collect();
    let kept = |(new, is_first): (&Arc<NewUse>, bool)| is_first && inserted.contains(&key(new));
    Ok(all.iter().zip(is_first).map(kept).collect())
}

const FIND: &str = "select customer_id, asked_customer_id, as_of_us, read_us, profile_version,
        features, answers
    from feature_log where tenant_id = $1 and shard = $2 and use_id = $3";

type Row = (Uuid, Uuid, i64, i64, i64, Vec<u8>, Vec<u8>);

/// The use of that id.
pub(crate) async fn find(pool: &PgPool, tenant: TenantId, id: UseId) -> Result<Option<Use>, Error> {
    let row: Option<Row> = sqlx::query_as(FIND)
        .bind(tenant.uuid())
        .bind(Shard::of(id.uuid()).number())
        .bind(id.uuid())
        .fetch_optional(pool)
        .await?;
    let Some((id, asked, as_of_us, read_us, profile_version, features, answers)) = row else {
        return Ok(None);
    };
    let features = codec::decode_features(&features)?;
    Ok(Some(Use {
        customer: customer(id),
        asked: customer(asked),
        as_of_us,
        read_us,
        profile_version,
        answers: codec::decode_answers(&answers, &features)?,
        features,
    }))
}
