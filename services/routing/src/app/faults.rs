//! What a task of the background passes over: faults that belong to one tenant or one demand.
//!
//! Others go on. What is at fault is logged by its ids, counted, and tried again ever more
//! seldom. Faults that pass by themselves (database away, too much at once) are none of these:
//! they end the round, which is repeated.

use std::collections::HashMap;

use ::store::Error as StoreError;
use kernel::{DemandId, TenantId};

use super::now_us;
use super::router::Router;
use super::routing::{Batch, Pass};
use crate::Error;
use crate::store::demand::{Damaged, Key};
use crate::store::postponed;

/// More demands at rest than this and the memory starts afresh.
const REMEMBERED: usize = 10_000;
/// Demands of a tenant at fault that one statement puts off.
const AT_ONCE: i64 = 1_000;

/// Demands whose last attempt failed, and until when a freed agent does not bring them up.
#[derive(Debug, Default)]
pub(super) struct Resting(HashMap<DemandId, i64>);

impl Resting {
    pub(super) fn has(&self, demand: DemandId, now_us: i64) -> bool {
        self.0.get(&demand).is_some_and(|until_us| *until_us > now_us)
    }

    fn add(&mut self, demand: DemandId, until_us: i64) {
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        self.0.insert(demand, until_us);
    }
}

/// The log line of a fault of one demand.
pub(super) fn tell(key: Key, error: &Error) {
    let (tenant, demand) = key;
    let error = error as &dyn std::error::Error;
    tracing::error!(%tenant, %demand, error, "demand passed over");
}

impl Router {
    /// A batch failed for a reason that will not pass: demand by demand, so that one alone
    /// is at fault.
    pub(super) async fn one_by_one(
        &mut self,
        batch: &Batch,
        epoch: i64,
    ) -> Result<Option<Pass>, Error> {
        let mut connection = self.app.database.acquire().await?;
        let page = batch.page(&mut connection, now_us()).await?;
        drop(connection);
        let mut whole = Pass { next: page.next, damaged: page.found.damaged, ..Pass::default() };
        for demand in page.found.demands {
            whole.seen += 1;
            match self.attempt(batch, Some(demand.clone()), epoch).await {
                Ok(Some(pass)) => whole.offers += pass.offers,
                Ok(None) => return Ok(None),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => self.pass_over(&[((demand.tenant, demand.id), error)]).await?,
            }
        }
        Ok(Some(whole))
    }

    /// Puts off demands at fault.
    pub(super) async fn pass_over(&mut self, faults: &[(Key, Error)]) -> Result<(), Error> {
        if faults.is_empty() {
            return Ok(());
        }
        let (now_us, timing) = (now_us(), self.app.timing);
        for (key, error) in faults {
            tell(*key, error);
            self.metrics.faults.inc();
            self.resting.add(key.1, now_us.saturating_add(timing.retry_max_us));
        }
        let keys: Vec<Key> = faults.iter().map(|(key, _)| *key).collect();
        postponed::these(self.app.database.pool(), &keys, now_us, &timing).await?;
        Ok(())
    }

    /// Puts off what is due of a tenant at fault.
    pub(super) async fn pass_over_tenant(
        &mut self,
        tenant: TenantId,
        error: &Error,
    ) -> Result<(), Error> {
        tracing::error!(%tenant, error = error as &dyn std::error::Error, "tenant not routed");
        self.metrics.faults.inc();
        let pool = self.app.database.pool();
        postponed::of_tenant(pool, tenant, AT_ONCE, now_us(), &self.app.timing).await?;
        Ok(())
    }
}

/// Damaged rows as faults.
pub(super) fn of_damaged(damaged: Vec<Damaged>) -> Vec<(Key, Error)> {
    damaged.into_iter().map(|(key, error): (Key, StoreError)| (key, error.into())).collect()
}
