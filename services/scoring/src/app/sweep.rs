//! After a change of a scorer or of an attribute all customers of the tenant are scored again,
//! in chunks, in the order of their keys. Who is scored on event meanwhile is scored by the new
//! set already; a further change begins the sweep anew. A tenant that fails rests while the
//! others go on; a customer whose row is damaged is passed over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::TenantId;
use uuid::Uuid;

use super::App;
use super::rescore::Held;
use super::setback::Setbacks;
use crate::error::Error;
use crate::store::{self, Locked};

const TASK: &str = "sweep";
/// When nobody rings: what another replica left behind.
const POLL: Duration = Duration::from_secs(2);

/// Works until the service ends.
pub(crate) async fn run(app: Arc<App>) {
    let setbacks = Setbacks::new(TASK, &app.metrics);
    super::repeat(&app, TASK, Some(&app.sweeps), POLL, || round(&app, &setbacks)).await;
}

/// One chunk of each tenant that has a sweep; true if there may be more.
async fn round(app: &App, setbacks: &Setbacks<TenantId>) -> Result<bool, Error> {
    let stop = app.drain.token();
    let mut more = false;
    let mut after = Uuid::nil();
    while let Some(tenant) = store::next_sweep(app.database.pool(), after).await? {
        after = tenant.uuid();
        if stop.is_cancelled() {
            return Ok(false);
        }
        if setbacks.rests(&tenant, Instant::now()) {
            continue;
        }
        let step = chunk(app, tenant).await;
        more |= setbacks.settle(&tenant, step, Instant::now())?.unwrap_or(false);
    }
    Ok(more)
}

/// True if the tenant has more.
async fn chunk(app: &App, tenant: TenantId) -> Result<bool, Error> {
    let limit = app.config.chunk as usize;
    let swept = ::store::transaction!(&app.database, async |connection| {
        let held = Held::new(&app.rules, connection, &[tenant], &[]).await?;
        let Some(after) = store::sweep_position(connection, tenant).await? else {
            return Ok::<_, Error>(None);
        };
        let Locked { sound, damaged, last } =
            store::lock_after(connection, tenant, after, limit as i64).await?;
        let last = last.filter(|_| sound.len() + damaged.len() == limit);
        let to = last.map(|last| (last.shard.number(), last.customer.uuid()));
        store::sweep_on(connection, tenant, to).await?;
        let scored = held.rescore_and_write(connection, sound, app.clock.now_us()).await?;
        Ok(Some((scored, damaged)))
    })?;
    let Some((scored, damaged)) = swept else { return Ok(false) };
    super::pass_over(app, TASK, &damaged);
    if scored > 0 {
        app.tail.wake();
        app.metrics.scored_by_sweep.inc_by(scored as u64);
    }
    Ok(scored + damaged.len() == limit)
}
