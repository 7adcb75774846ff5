//! Following erasures: open demands of the customer are closed, and all of them lose what leads
//! to it. What came of closed ones stays for the reports, without the customer.

use ::store::Error;
use feed::receipt::{self, Part};
use kernel::{CustomerId, Shard, TenantId};
use sqlx::PgConnection;

use super::work::{Work, of_feed};
use crate::store::{self, demand, offer};
use crate::{NAME, events};

/// Erases in the consumer's transaction; what to append goes into `work`.
pub(crate) async fn erase(
    connection: &mut PgConnection,
    work: &mut Work,
    erased: &[Part],
) -> Result<(), Error> {
    if erased.is_empty() {
        return Ok(());
    }
    // First: a demand that is created meanwhile waits, or is found.
    receipt::record(connection, NAME, erased).await.map_err(of_feed)?;
    let customers: Vec<(TenantId, CustomerId)> =
        erased.iter().flat_map(|part| part.customers.iter().map(|id| (part.tenant, *id))).collect();
    let mut keys = store::erase::demands(connection, &customers).await?;
    keys.sort_unstable_by_key(|(tenant, id)| (*tenant, Shard::of(id.uuid()), *id));
    keys.dedup();
    let locked = demand::lock(connection, &keys).await?;
    if let Some(damaged) = locked.damaged.into_iter().next() {
        return Err(damaged.1);
    }
    work.hold(locked.demands);
    for (tenant, id) in &keys {
        work.erase((*tenant, Shard::of(id.uuid()), *id));
    }
    offer::forget_reasons(connection, &keys).await?;
    for part in erased {
        work.tell(events::customers_erased(part));
    }
    Ok(())
}
