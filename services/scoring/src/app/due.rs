//! The clock: customers whose scores may cross a threshold now are scored again.

use std::sync::Arc;

use super::App;
use super::rescore::Held;
use crate::error::Error;
use crate::store;

/// Works until the service ends.
pub(crate) async fn run(app: Arc<App>) {
    super::repeat(&app, "due", None, app.config.due_poll(), || chunk(&app)).await;
}

/// One chunk of one tenant; true if there may be more.
async fn chunk(app: &App) -> Result<bool, Error> {
    let now_us = app.clock.now_us();
    let Some(tenant) = store::due_tenant(app.database.pool(), now_us).await? else {
        return Ok(false);
    };
    let limit = i64::from(app.config.chunk);
    let scored: usize = ::store::transaction!(&app.database, async |connection| {
        let held = Held::new(&app.rules, connection, &[tenant], &[]).await?;
        let subjects = store::lock_due(connection, tenant, now_us, limit).await?;
        Ok::<usize, Error>(held.rescore_and_write(connection, subjects, now_us).await?)
    })?;
    if scored > 0 {
        app.tail.wake();
        app.metrics.scored_by_clock.inc_by(scored as u64);
    }
    Ok(scored > 0)
}
