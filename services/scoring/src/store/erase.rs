//! Erasing customers: scores, behaviour and uses go, an empty row stays.

use feed::receipt::Part;
use kernel::CustomerId;
use sqlx::PgConnection;
use store::Error;
use uuid::Uuid;

use super::subject::{Key, columns};

/// Whoever logs a use holds the row `for key share` and looks at `erased`.
const LOCK: &str = "select s.customer_id from unnest($1::uuid[], $2::smallint[], $3::uuid[])
        as wanted(tenant_id, shard, customer_id)
    join subject s using (tenant_id, shard, customer_id)
    order by s.tenant_id, s.shard, s.customer_id for update of s";
const EMPTY: &str = "insert into subject (tenant_id, shard, customer_id, profile_version,
        behaviour, redirect_version, scores, score_version, scored_us, writes, erased)
    select tenant_id, shard, customer_id, 0, '', 0, '', 0, 0, 1, true
    from unnest($1::uuid[], $2::smallint[], $3::uuid[]) as k(tenant_id, shard, customer_id)
    on conflict (tenant_id, shard, customer_id) do update
    set behaviour = '', redirect_into = null, scores = '', shown = '[]', next_due_us = null,
        erased = true, writes = subject.writes + 1";
const USES: &str = "delete from feature_log f
    using unnest($1::uuid[], $2::uuid[]) as k(tenant_id, customer_id)
    where f.tenant_id = k.tenant_id and (f.customer_id = k.customer_id
        or f.asked_customer_id = k.customer_id and f.asked_customer_id <> f.customer_id)";

/// Erases the customers of parts. Labels stay without the features that they belonged to, and
/// what models have learned stays in their weights.
pub(crate) async fn erase(connection: &mut PgConnection, parts: &[Part]) -> Result<(), Error> {
    let mut keys: Vec<Key> = parts
        .iter()
        .flat_map(|part| part.customers.iter().map(|id: &CustomerId| Key::new(part.tenant, *id)))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let (tenants, shards, customers): (Vec<Uuid>, Vec<i16>, Vec<Uuid>) = columns(&keys);
    for statement in [LOCK, EMPTY] {
        sqlx::query(statement)
            .bind(&tenants)
            .bind(&shards)
            .bind(&customers)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(USES).bind(tenants).bind(customers).execute(connection).await?;
    Ok(())
}
