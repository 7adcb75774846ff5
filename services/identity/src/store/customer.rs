//! Customer ids: each leads to the customer that holds its founder.

use std::collections::BTreeMap;

use kernel::{CustomerId, EvidenceId, Shard, TenantId};
use linkage::graph::Founding;
use sqlx::PgConnection;
use store::Error;
use uuid::Uuid;

use super::{evidence, shards};

/// Where a customer id leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lead {
    /// The evidence that the id was made for.
    pub(crate) founder: EvidenceId,
    /// The customer that holds it now.
    pub(crate) customer: CustomerId,
}

const FOUNDER: &str = "select founder_evidence_id from customer
    where tenant_id = $1 and shard = $2 and customer_id = $3";

/// Where an id leads; none if it was never given out in this tenant.
pub(crate) async fn lead(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: CustomerId,
) -> Result<Option<Lead>, Error> {
    // A founder never changes, so two statements see the same as one.
    let founder: Option<Uuid> = sqlx::query_scalar(FOUNDER)
        .bind(tenant.uuid())
        .bind(Shard::of(id.uuid()).number())
        .bind(id.uuid())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(founder) = founder.map(EvidenceId::new) else { return Ok(None) };
    let holder = evidence::mappings(connection, tenant, &[founder]).await?;
    Ok(holder.first().map(|mapping| Lead { founder, customer: mapping.customer }))
}

const CREATE: &str = "insert into customer
        (tenant_id, shard, customer_id, founder_evidence_id, founder_shard, created_us)
    select $1, n.shard, n.id, n.founder, n.founder_shard, $6
    from unnest($2::smallint[], $3::uuid[], $4::uuid[], $5::smallint[])
        as n(shard, id, founder, founder_shard)";

/// Stores new ids.
pub(crate) async fn create(
    connection: &mut PgConnection,
    tenant: TenantId,
    foundings: &[Founding],
    now_us: i64,
) -> Result<(), Error> {
    if foundings.is_empty() {
        return Ok(());
    }
    let keys: Vec<Uuid> = foundings.iter().map(|founding| founding.customer.uuid()).collect();
    let founders: Vec<Uuid> = foundings.iter().map(|founding| founding.evidence.uuid()).collect();
    sqlx::query(CREATE)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .bind(&founders)
        .bind(shards(&founders))
        .bind(now_us)
        .execute(connection)
        .await?;
    Ok(())
}

const REDIRECT: &str = "update customer c set redirect_version = c.redirect_version + 1
    from unnest(array_fill($1::uuid, array[cardinality($2)]), $2::smallint[], $3::uuid[])
        as r(tenant_id, shard, id)
    where c.tenant_id = r.tenant_id and c.shard = r.shard and c.customer_id = r.id
    returning c.customer_id, c.redirect_version";

/// Notes that the founders of some ids moved; their redirect versions afterwards.
pub(crate) async fn redirect(
    connection: &mut PgConnection,
    tenant: TenantId,
    ids: impl Iterator<Item = CustomerId>,
) -> Result<BTreeMap<CustomerId, i64>, Error> {
    let keys: Vec<Uuid> = ids.map(CustomerId::uuid).collect();
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(REDIRECT)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|(id, version)| (CustomerId::new(id), version)).collect())
}
