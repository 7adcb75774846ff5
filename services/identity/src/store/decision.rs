//! What people decided: links and separations, in force until a later decision takes them back.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{CustomerId, DecisionId, EvidenceId, Shard, TenantId};
use linkage::graph::{Decisions, Link, Separation};
use sqlx::PgConnection;
use store::Error;
use uuid::Uuid;

use super::shards;
use crate::domain::Sealed;

/// What a decision says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The two sides, one piece of evidence each, are one customer.
    Link = 1,
    /// The two sides are not.
    Separation = 2,
}

/// A new decision.
pub(crate) struct New<'a> {
    /// Its id.
    pub(crate) id: DecisionId,
    /// What it says.
    pub(crate) kind: Kind,
    /// One side.
    pub(crate) left: &'a [EvidenceId],
    /// The other.
    pub(crate) right: &'a [EvidenceId],
    /// Who decided.
    pub(crate) decided_by: &'a str,
    /// When.
    pub(crate) now_us: i64,
    /// Why, sealed.
    pub(crate) reason: &'a Sealed,
}

const DIVIDED: &str = "select distinct e.customer_id
    from unnest(array_fill($1::uuid, array[cardinality($2)]), $2::uuid[]) as k(tenant_id, id)
    join evidence e on e.tenant_id = k.tenant_id and e.customer_id = k.id
    where exists (select from decision_evidence d
        where d.tenant_id = $1 and d.shard = e.shard and d.evidence_id = e.evidence_id
            and d.kind = 2)";
const ANY_SEPARATION: &str =
    "select exists (select from decision_evidence where tenant_id = $1 and kind = 2)";

/// Those of the customers that hold evidence which a separation speaks of.
pub(crate) async fn divided(
    connection: &mut PgConnection,
    tenant: TenantId,
    customers: &BTreeSet<CustomerId>,
) -> Result<BTreeSet<CustomerId>, Error> {
    if customers.is_empty() {
        return Ok(BTreeSet::new());
    }
    let any: bool =
        sqlx::query_scalar(ANY_SEPARATION).bind(tenant.uuid()).fetch_one(&mut *connection).await?;
    if !any {
        return Ok(BTreeSet::new());
    }
    let keys: Vec<Uuid> = customers.iter().map(|id| id.uuid()).collect();
    let rows: Vec<Uuid> =
        sqlx::query_scalar(DIVIDED).bind(tenant.uuid()).bind(keys).fetch_all(connection).await?;
    Ok(rows.into_iter().map(CustomerId::new).collect())
}

const ABOUT: &str = "select d.decision_id, d.kind, n.position, d.evidence_id, d.side
    from (select distinct f.tenant_id, f.decision_id, f.decision_shard
        from unnest(array_fill($1::uuid, array[cardinality($2)]), $2::smallint[], $3::uuid[])
            as k(tenant_id, shard, id)
        join decision_evidence f on f.tenant_id = k.tenant_id and f.shard = k.shard
            and f.evidence_id = k.id) a
    join decision_evidence d on d.tenant_id = a.tenant_id and d.decision_id = a.decision_id
    join decision n on n.tenant_id = a.tenant_id and n.shard = a.decision_shard
        and n.decision_id = a.decision_id
    order by n.position, d.side, d.evidence_id";

/// The decisions in force that speak of some of the evidence.
pub(crate) async fn about(
    connection: &mut PgConnection,
    tenant: TenantId,
    evidence: impl Iterator<Item = EvidenceId>,
) -> Result<Decisions, Error> {
    let keys: Vec<Uuid> = evidence.map(EvidenceId::uuid).collect();
    if keys.is_empty() {
        return Ok(Decisions::default());
    }
    let rows: Vec<(Uuid, i16, i64, Uuid, i16)> = sqlx::query_as(ABOUT)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .fetch_all(connection)
        .await?;
    let mut sides: BTreeMap<(i64, DecisionId, i16), [Vec<EvidenceId>; 2]> = BTreeMap::new();
    for (decision, kind, position, evidence, side) in rows {
        let both = sides.entry((position, DecisionId::new(decision), kind)).or_default();
        let [left, right] = both;
        let one = if side == 0 { left } else { right };
        one.push(EvidenceId::new(evidence));
    }
    let mut decisions = Decisions::default();
    for ((order, id, kind), [left, right]) in sides {
        match (kind, left.first(), right.first()) {
            (1, Some(&left), Some(&right)) => {
                decisions.links.push(Link { id, order, left, right });
            }
            _ => decisions.separations.push(Separation { id, left, right }),
        }
    }
    Ok(decisions)
}

const INSERT: &str = "insert into decision
        (tenant_id, shard, decision_id, kind, decided_by, decided_us, wrapped_key, reason)
    values ($1, $2, $3, $4, $5, $6, $7, $8) returning position";
const SPEAK: &str = "insert into decision_evidence
        (tenant_id, shard, evidence_id, decision_id, decision_shard, side, kind)
    select $1, n.shard, n.id, $4, $5, n.side, $7
    from unnest($2::smallint[], $3::uuid[], $6::smallint[]) as n(shard, id, side)";

/// Stores a decision; its place in their order.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    tenant: TenantId,
    new: &New<'_>,
) -> Result<i64, Error> {
    let shard = Shard::of(new.id.uuid()).number();
    let position = sqlx::query_scalar(INSERT)
        .bind(tenant.uuid())
        .bind(shard)
        .bind(new.id.uuid())
        .bind(new.kind as i16)
        .bind(new.decided_by)
        .bind(new.now_us)
        .bind(&new.reason.wrapped_key)
        .bind(&new.reason.content)
        .fetch_one(&mut *connection)
        .await?;
    let keys: Vec<Uuid> = new.left.iter().chain(new.right).map(|id| id.uuid()).collect();
    let mut sides = vec![0_i16; new.left.len()];
    sides.resize(keys.len(), 1);
    sqlx::query(SPEAK)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(keys)
        .bind(new.id.uuid())
        .bind(shard)
        .bind(sides)
        .bind(new.kind as i16)
        .execute(connection)
        .await?;
    Ok(position)
}

const RETRACT: &str = "with gone as (
        delete from decision_evidence where tenant_id = $1 and decision_id = any($2)
        returning decision_id, evidence_id),
    spoken as (
        select decision_id, array_agg(distinct evidence_id) as evidence from gone group by 1)
    update decision d set retracted_by = $4, spoke_of = s.evidence
    from unnest($2::uuid[], $3::smallint[]) as r(id, in_shard)
    left join spoken s on s.decision_id = r.id
    where d.tenant_id = $1 and d.shard = r.in_shard and d.decision_id = r.id";

/// Takes decisions back. Their rows stay for the record, without effect.
pub(crate) async fn retract(
    connection: &mut PgConnection,
    tenant: TenantId,
    retracted: &[DecisionId],
    by: DecisionId,
) -> Result<(), Error> {
    if retracted.is_empty() {
        return Ok(());
    }
    let keys: Vec<Uuid> = retracted.iter().map(|id| id.uuid()).collect();
    let shards = shards(&keys);
    sqlx::query(RETRACT)
        .bind(tenant.uuid())
        .bind(keys)
        .bind(shards)
        .bind(by.uuid())
        .execute(connection)
        .await?;
    Ok(())
}

const FORGET_SIDES: &str = "delete from decision_evidence d
    using unnest(array_fill($1::uuid, array[cardinality($2)]), $2::smallint[], $3::uuid[])
        as k(tenant_id, shard, id)
    where d.tenant_id = k.tenant_id and d.shard = k.shard and d.evidence_id = k.id
    returning d.decision_id";
const FORGET_EMPTY: &str = "with gone as (
        delete from decision_evidence d where d.tenant_id = $1 and d.decision_id = any($2)
            and not exists (select from decision_evidence o
                where o.tenant_id = $1 and o.decision_id = d.decision_id and o.side <> d.side)
        returning d.decision_id)
    delete from decision n where n.tenant_id = $1 and n.decision_id = any($2)
        and (n.decision_id in (select decision_id from gone)
            or not exists (select from decision_evidence o
                where o.tenant_id = $1 and o.decision_id = n.decision_id))";
const FORGET_REASONS: &str = "update decision set wrapped_key = '', reason = ''
    where tenant_id = $1 and decision_id = any($2)";
const FORGET_RETRACTED: &str =
    "delete from decision where spoke_of && $2::uuid[] and tenant_id = $1";

/// Forgets what decisions say of evidence that is erased: one that has nothing left on a side
/// is gone, another one loses its reason, and one that was taken back before is gone too.
pub(crate) async fn forget(
    connection: &mut PgConnection,
    tenant: TenantId,
    evidence: &[EvidenceId],
) -> Result<(), Error> {
    let keys: Vec<Uuid> = evidence.iter().map(|id| id.uuid()).collect();
    let mut decisions: Vec<Uuid> = sqlx::query_scalar(FORGET_SIDES)
        .bind(tenant.uuid())
        .bind(shards(&keys))
        .bind(&keys)
        .fetch_all(&mut *connection)
        .await?;
    decisions.sort_unstable();
    decisions.dedup();
    if !decisions.is_empty() {
        for statement in [FORGET_EMPTY, FORGET_REASONS] {
            sqlx::query(statement)
                .bind(tenant.uuid())
                .bind(&decisions)
                .execute(&mut *connection)
                .await?;
        }
    }
    sqlx::query(FORGET_RETRACTED).bind(tenant.uuid()).bind(keys).execute(connection).await?;
    Ok(())
}
