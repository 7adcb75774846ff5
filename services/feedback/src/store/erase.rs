//! Erasing customers: facts, outcomes and answers keep counting, without the customer and
//! without reasons.

use ::store::Error;
use feed::receipt::Part;
use sqlx::PgConnection;
use uuid::Uuid;

const ERASE: &str = "with gone as (
        update demand_fact f set customer_id = '00000000-0000-0000-0000-000000000000'
        from unnest($1::uuid[], $2::uuid[]) as k(tenant_id, customer_id)
        where f.tenant_id = k.tenant_id and f.customer_id = k.customer_id
        returning f.tenant_id, f.shard, f.demand_id),
    said as (
        update outcome o set reason = '' from gone g
        where o.tenant_id = g.tenant_id and o.shard = g.shard and o.demand_id = g.demand_id),
    before as (
        delete from outcome_history h using gone g
        where h.tenant_id = g.tenant_id and h.shard = g.shard and h.demand_id = g.demand_id
        returning h.tenant_id, h.shard, h.demand_id, h.event_us, h.result, h.value_micros,
            h.currency, h.recorded_us)
    select tenant_id, shard, demand_id, event_us, result, value_micros, currency,
        min(recorded_us) from before group by 1, 2, 3, 4, 5, 6, 7";
const HISTORY: &str = "insert into outcome_history (tenant_id, shard, demand_id, event_us, result,
        value_micros, currency, reason, recorded_us)
    values ($1, $2, $3, $4, $5, $6, $7, '', $8) on conflict do nothing";

type Said = (Uuid, i16, Uuid, i64, i16, i64, String, i64);

/// Erases the customers of parts.
pub(crate) async fn erase(connection: &mut PgConnection, parts: &[Part]) -> Result<(), Error> {
    let mut tenants: Vec<Uuid> = Vec::new();
    let mut customers: Vec<Uuid> = Vec::new();
    for part in parts {
        tenants.extend(part.customers.iter().map(|_| part.tenant.uuid()));
        customers.extend(part.customers.iter().map(|id| id.uuid()));
    }
    let said: Vec<Said> =
        sqlx::query_as(ERASE).bind(tenants).bind(customers).fetch_all(&mut *connection).await?;
    for (tenant, shard, demand, event_us, result, micros, currency, recorded_us) in said {
        sqlx::query(HISTORY)
            .bind(tenant)
            .bind(shard)
            .bind(demand)
            .bind(event_us)
            .bind(result)
            .bind(micros)
            .bind(currency)
            .bind(recorded_us)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
