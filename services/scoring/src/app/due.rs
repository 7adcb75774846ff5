//! The clock: customers whose scores may cross a threshold now are scored again.
//!
//! Each round gives every tenant with due customers one chunk. A tenant that fails rests; a
//! customer whose row is damaged is put off, so that those behind it are reached.

use std::sync::Arc;
use std::time::Instant;

use kernel::TenantId;
use uuid::Uuid;

use super::App;
use super::rescore::Held;
use super::setback::Setbacks;
use crate::error::Error;
use crate::store::{self, Locked};

const TASK: &str = "due";
/// How many tenants are listed at once.
const PAGE: i64 = 500;
/// When a damaged customer is looked at again.
const PUT_OFF_US: i64 = 3_600_000_000;

/// Works until the service ends.
pub(crate) async fn run(app: Arc<App>) {
    let setbacks = Setbacks::new(TASK, &app.metrics);
    super::repeat(&app, TASK, None, app.config.due_poll(), || round(&app, &setbacks)).await;
}

/// One chunk of each tenant; true if there may be more.
async fn round(app: &App, setbacks: &Setbacks<TenantId>) -> Result<bool, Error> {
    let stop = app.drain.token();
    let now_us = app.clock.now_us();
    let (mut more, mut after) = (false, Uuid::nil());
    loop {
        let tenants = store::due_tenants(app.database.pool(), now_us, after, PAGE).await?;
        let Some(last) = tenants.last() else { return Ok(more) };
        after = last.uuid();
        for tenant in tenants {
            if stop.is_cancelled() {
                return Ok(false);
            }
            if setbacks.rests(&tenant, Instant::now()) {
                continue;
            }
            let taken = chunk(app, tenant, now_us).await;
            let taken = setbacks.settle(&tenant, taken, Instant::now())?;
            more |= taken.is_some_and(|taken| taken > 0);
        }
    }
}

/// Answers how many customers are no longer due.
async fn chunk(app: &App, tenant: TenantId, now_us: i64) -> Result<usize, Error> {
    let limit = i64::from(app.config.chunk);
    let (scored, damaged) = ::store::transaction!(&app.database, async |connection| {
        let held = Held::new(&app.rules, connection, &[tenant], &[]).await?;
        let Locked { sound, damaged, .. } =
            store::lock_due(connection, tenant, now_us, limit).await?;
        store::put_off(connection, &damaged, now_us.saturating_add(PUT_OFF_US)).await?;
        let scored = held.rescore_and_write(connection, sound, now_us).await?;
        Ok::<_, Error>((scored, damaged))
    })?;
    super::pass_over(app, TASK, &damaged);
    if scored > 0 {
        app.tail.wake();
        app.metrics.scored_by_clock.inc_by(scored as u64);
    }
    Ok(scored + damaged.len())
}
