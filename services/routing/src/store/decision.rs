//! Decisions: why an offer went to its agent.

use kernel::{DemandId, OfferId, Shard, TenantId};
use sqlx::postgres::{PgConnection, PgPool};
use store::Error;
use uuid::Uuid;

use super::damaged;
use crate::domain::rank::Candidate;

const INSERT: &str = "insert into decision
        (tenant_id, shard, demand_id, offer_id, agent, policy_version, candidates, at_us)
    select * from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::uuid[], $5::text[],
        $6::bigint[], $7::bytea[], $8::bigint[])";
const OF_DEMAND: &str = "select offer_id, agent, policy_version, candidates, at_us from decision
    where tenant_id = $1 and shard = $2 and demand_id = $3 order by at_us, offer_id limit $4";

/// A decision as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    pub(crate) tenant: TenantId,
    pub(crate) demand: DemandId,
    pub(crate) offer: OfferId,
    pub(crate) agent: String,
    pub(crate) policy_version: i64,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) at_us: i64,
}

/// Keeps decisions.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    decisions: &[Decision],
) -> Result<(), Error> {
    if decisions.is_empty() {
        return Ok(());
    }
    let encode = |decision: &Decision| {
        serde_json::to_vec(&decision.candidates)
            .map_err(|_| Error::internal("candidates do not encode"))
    };
    let candidates: Result<Vec<Vec<u8>>, Error> = decisions.iter().map(encode).collect();
    sqlx::query(INSERT)
        .bind(decisions.iter().map(|d| d.tenant.uuid()).collect::<Vec<_>>())
        .bind(decisions.iter().map(|d| Shard::of(d.demand.uuid()).number()).collect::<Vec<_>>())
        .bind(decisions.iter().map(|d| d.demand.uuid()).collect::<Vec<_>>())
        .bind(decisions.iter().map(|d| d.offer.uuid()).collect::<Vec<_>>())
        .bind(decisions.iter().map(|d| d.agent.as_str()).collect::<Vec<_>>())
        .bind(decisions.iter().map(|d| d.policy_version).collect::<Vec<_>>())
        .bind(candidates?)
        .bind(decisions.iter().map(|d| d.at_us).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// The first `limit` decisions about a demand, oldest first.
pub(crate) async fn of_demand(
    pool: &PgPool,
    tenant: TenantId,
    demand: DemandId,
    limit: i64,
) -> Result<Vec<Decision>, Error> {
    let rows: Vec<(Uuid, String, i64, Vec<u8>, i64)> = sqlx::query_as(OF_DEMAND)
        .bind(tenant.uuid())
        .bind(Shard::of(demand.uuid()).number())
        .bind(demand.uuid())
        .bind(limit)
        .fetch_all(pool)
        .await?;
    let decision = |(offer, agent, policy_version, candidates, at_us): (_, _, _, Vec<u8>, _)| {
        let candidates = serde_json::from_slice(&candidates).map_err(|_| damaged("decision"))?;
        let offer = OfferId::new(offer);
        Ok(Decision { tenant, demand, offer, agent, policy_version, candidates, at_us })
    };
    rows.into_iter().map(decision).collect()
}
