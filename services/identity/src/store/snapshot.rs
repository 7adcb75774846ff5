//! The whole map in key order, for a follower that begins from nothing.
//!
//! The order is (tenant, shard of the subject, subject): that of the primary keys. It is as total
//! as (tenant, subject), because the shard is a function of the subject.

use kernel::{CustomerId, EvidenceId, Shard, TenantId};
use sqlx::PgConnection;
use store::Error;
use uuid::Uuid;

use crate::domain::Mapping;

/// The last subject that a follower has.
pub(crate) type After = Option<(TenantId, Uuid)>;

/// An id whose founder moved, and where it leads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Redirect {
    /// The id.
    pub(crate) from: CustomerId,
    /// The customer that holds its founder; the id itself if it is one again.
    pub(crate) into: CustomerId,
    /// Counts the moves of the founder.
    pub(crate) version: i64,
}

const EVIDENCE: &str = "select tenant_id, evidence_id, customer_id, map_version from evidence
    where (tenant_id, shard, evidence_id) > ($1, $2, $3) and shard = any($4)
    order by tenant_id, shard, evidence_id limit $5";

/// The next evidence.
pub(crate) async fn evidence(
    connection: &mut PgConnection,
    shards: &[i16],
    after: After,
    limit: i64,
) -> Result<Vec<(TenantId, Mapping)>, Error> {
    let (tenant, shard, subject) = lower_bound(after);
    let rows: Vec<(Uuid, Uuid, Uuid, i64)> = sqlx::query_as(EVIDENCE)
        .bind(tenant)
        .bind(shard)
        .bind(subject)
        .bind(shards)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    let mapping = |(tenant, evidence, customer, map_version)| {
        let (evidence, customer) = (EvidenceId::new(evidence), CustomerId::new(customer));
        (TenantId::new(tenant), Mapping { evidence, customer, map_version, erased_us: None })
    };
    Ok(rows.into_iter().map(mapping).collect())
}

const REDIRECTS: &str = "select c.tenant_id, c.customer_id, e.customer_id, c.redirect_version
    from (select tenant_id, shard, customer_id, founder_evidence_id, founder_shard, redirect_version
        from customer
        where (tenant_id, shard, customer_id) > ($1, $2, $3) and shard = any($4)
            and redirect_version > 0
        order by tenant_id, shard, customer_id limit $5) c
    cross join lateral (
        select founded.customer_id from evidence founded
        where founded.tenant_id = c.tenant_id and founded.shard = c.founder_shard
            and founded.evidence_id = c.founder_evidence_id limit 1) e
    order by c.tenant_id, c.shard, c.customer_id";

/// The next ids whose founders moved.
pub(crate) async fn redirects(
    connection: &mut PgConnection,
    shards: &[i16],
    after: After,
    limit: i64,
) -> Result<Vec<(TenantId, Redirect)>, Error> {
    let (tenant, shard, subject) = lower_bound(after);
    let rows: Vec<(Uuid, Uuid, Uuid, i64)> = sqlx::query_as(REDIRECTS)
        .bind(tenant)
        .bind(shard)
        .bind(subject)
        .bind(shards)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    let redirect = |(tenant, from, into, version)| {
        let (from, into) = (CustomerId::new(from), CustomerId::new(into));
        (TenantId::new(tenant), Redirect { from, into, version })
    };
    Ok(rows.into_iter().map(redirect).collect())
}

pub(super) fn lower_bound(after: After) -> (Uuid, i16, Uuid) {
    match after {
        Some((tenant, subject)) => (tenant.uuid(), Shard::of(subject).number(), subject),
        None => (Uuid::nil(), -1, Uuid::nil()),
    }
}
