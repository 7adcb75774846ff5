//! Erasing evidence: its key first, then everything that hangs on it.

use ::store::Error;
use kernel::{CustomerId, Shard, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::fold::{CustomerKey, EvidenceKey};

/// A locked fragment that is to become void.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voided {
    pub(crate) key: EvidenceKey,
    /// The nil UUID, or the customer of who came since.
    pub(crate) customer: CustomerId,
    pub(crate) map_version: i64,
    pub(crate) erased_us: i64,
}

const VOID: &str = "update fragment f set customer_id = u.customer_id, map_version = u.map_version,
        erased_us = u.erased_us, version = 0, behaviour = '', events = 0, first_us = null,
        last_us = null, identified = false, personal = null, wrapped_key = null
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[])
        u(tenant_id, shard, evidence_id, customer_id, map_version, erased_us)
    where f.tenant_id = u.tenant_id and f.shard = u.shard and f.evidence_id = u.evidence_id";
const EVENTS: &str = "delete from event e
    using unnest($1::uuid[], $2::smallint[], $3::uuid[]) k(tenant_id, shard, evidence_id)
    where e.tenant_id = k.tenant_id and e.shard = k.shard and e.evidence_id = k.evidence_id";
const LEDGER: &str = "delete from ledger_entry e
    using unnest($1::uuid[], $2::smallint[], $3::uuid[]) k(tenant_id, shard, evidence_id)
    where e.tenant_id = k.tenant_id and e.shard = k.shard and e.evidence_id = k.evidence_id";

/// Destroys keys and states of locked fragments, and deletes events and ledger entries of the
/// evidence.
pub(crate) async fn void(connection: &mut PgConnection, voided: &[Voided]) -> Result<(), Error> {
    if voided.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = voided.iter().map(|it| it.key.0.uuid()).collect();
    let shards: Vec<i16> = voided.iter().map(|it| Shard::of(it.key.1.uuid()).number()).collect();
    let evidence: Vec<Uuid> = voided.iter().map(|it| it.key.1.uuid()).collect();
    sqlx::query(VOID)
        .bind(&tenants)
        .bind(&shards)
        .bind(&evidence)
        .bind(voided.iter().map(|it| it.customer.uuid()).collect::<Vec<Uuid>>())
        .bind(voided.iter().map(|it| it.map_version).collect::<Vec<i64>>())
        .bind(voided.iter().map(|it| it.erased_us).collect::<Vec<i64>>())
        .execute(&mut *connection)
        .await?;
    for statement in [EVENTS, LEDGER] {
        sqlx::query(statement)
            .bind(&tenants)
            .bind(&shards)
            .bind(&evidence)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

const CUSTOMERS: &str = "with gone as (
        delete from redirect r
        using unnest($1::uuid[], $2::smallint[], $3::uuid[]) k(tenant_id, shard, customer_id)
        where r.tenant_id = k.tenant_id and r.shard = k.shard and r.customer_id = k.customer_id)
    delete from customer c
    using unnest($1::uuid[], $2::smallint[], $3::uuid[]) k(tenant_id, shard, customer_id)
    where c.tenant_id = k.tenant_id and c.shard = k.shard and c.customer_id = k.customer_id
        and c.fragments = 0";

/// Deletes ids that are never given out again: where they lead, and their rows unless they
/// still have fragments, which a move takes away.
pub(crate) async fn customers(
    connection: &mut PgConnection,
    keys: &[CustomerKey],
) -> Result<(), Error> {
    let tenants: Vec<Uuid> = keys.iter().map(|(tenant, _): &(TenantId, _)| tenant.uuid()).collect();
    let shards: Vec<i16> = keys.iter().map(|(_, id)| Shard::of(id.uuid()).number()).collect();
    let ids: Vec<Uuid> = keys.iter().map(|(_, id)| id.uuid()).collect();
    sqlx::query(CUSTOMERS).bind(tenants).bind(shards).bind(ids).execute(connection).await?;
    Ok(())
}
