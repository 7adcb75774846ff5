//! After a change of a scorer or of an attribute all customers of the tenant are scored again,
//! in chunks, in the order of their keys. Who is scored on event meanwhile is scored by the new
//! set already; a further change begins the sweep anew.

use std::sync::Arc;
use std::time::Duration;

use kernel::TenantId;
use uuid::Uuid;

use super::App;
use super::rescore::Held;
use crate::error::Error;
use crate::store;

/// When nobody rings: what another replica left behind.
const POLL: Duration = Duration::from_secs(2);

/// Works until the service ends.
pub(crate) async fn run(app: Arc<App>) {
    super::repeat(&app, "sweep", Some(&app.sweeps), POLL, || round(&app)).await;
}

/// One chunk of each tenant that has a sweep; true if there may be more.
async fn round(app: &App) -> Result<bool, Error> {
    let mut more = false;
    let mut after = Uuid::nil();
    while let Some(tenant) = store::next_sweep(app.database.pool(), after).await? {
        after = tenant.uuid();
        more |= chunk(app, tenant).await?;
    }
    Ok(more)
}

async fn chunk(app: &App, tenant: TenantId) -> Result<bool, Error> {
    let limit = app.config.chunk as usize;
    let scored: Option<usize> = ::store::transaction!(&app.database, async |connection| {
        let held = Held::new(&app.rules, connection, &[tenant], &[]).await?;
        let Some(after) = store::sweep_position(connection, tenant).await? else {
            return Ok::<_, Error>(None);
        };
        let subjects = store::lock_after(connection, tenant, after, limit as i64).await?;
        let last = subjects.last().filter(|_| subjects.len() == limit);
        let to = last.map(|last| (last.key.shard.number(), last.key.customer.uuid()));
        store::sweep_on(connection, tenant, to).await?;
        Ok(Some(held.rescore_and_write(connection, subjects, app.clock.now_us()).await?))
    })?;
    let Some(scored) = scored else { return Ok(false) };
    if scored > 0 {
        app.tail.wake();
        app.metrics.scored_by_sweep.inc_by(scored as u64);
    }
    Ok(scored == limit)
}
