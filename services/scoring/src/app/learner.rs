//! Learning: the fold of the label log, one leased learner per model.
//!
//! A checkpoint moves weights and position in one statement, by compare-and-set on (position,
//! epoch). A learner that is killed anywhere leaves the last checkpoint; the next one goes on
//! from there: the weights are those of an uninterrupted fold, to the last bit.
//!
//! A model that fails rests while the others learn. A label whose use is damaged is passed over
//! like one whose use was never logged: it would hold back all that come after it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::TenantId;
use uuid::Uuid;

use super::App;
use super::setback::Setbacks;
use crate::domain::Features;
use crate::error::Error;
use crate::store::{self, Behind, Known, LearnableLabel, Learned, Lease};

const TASK: &str = "learner";
/// When nobody rings: labels that another replica received.
const POLL: Duration = Duration::from_millis(500);
/// Labels that come one after the other share a checkpoint: it writes all weights.
const GATHER: Duration = Duration::from_millis(40);
/// More models than this and the memory starts afresh; their leases stay ours.
const REMEMBERED: usize = 1_000;

/// A model of a tenant.
type Whose = (TenantId, String);

/// Learns for all models whose lease it gets.
pub(crate) struct Learner {
    app: Arc<App>,
    holder: Uuid,
    held: HashMap<Whose, Lease>,
    setbacks: Setbacks<Whose>,
}

impl Learner {
    pub(crate) fn new(app: Arc<App>) -> Self {
        let setbacks = Setbacks::new(TASK, &app.metrics);
        Self { app, holder: Uuid::new_v4(), held: HashMap::new(), setbacks }
    }

    /// Works until the service ends, then gives the leases back.
    pub(crate) async fn run(mut self) {
        let stop = self.app.drain.token();
        while !stop.is_cancelled() {
            match self.round().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    // What was held may be another state than the database's.
                    self.held.clear();
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "learning is repeated");
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.app.labels.notified() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(POLL) => {}
            }
        }
        if let Err(error) = store::release(self.app.database.pool(), self.holder).await {
            tracing::debug!(%error, "leases expire instead of being given back");
        }
    }

    /// One batch for each model that is behind; true if there may be more.
    async fn round(&mut self) -> Result<bool, Error> {
        let behind = store::behind(self.app.database.pool(), self.holder).await?;
        let mut more = false;
        for model in behind {
            if self.app.drain.token().is_cancelled() {
                return Ok(false);
            }
            let key = (model.tenant, model.model.clone());
            if self.setbacks.rests(&key, Instant::now()) {
                continue;
            }
            let step = self.batch(&key, &model).await;
            more |= self.setbacks.settle(&key, step, Instant::now())?.unwrap_or(false);
        }
        Ok(more)
    }

    /// True if the model may have more to learn.
    async fn batch(&mut self, key: &Whose, behind: &Behind) -> Result<bool, Error> {
        let app = Arc::clone(&self.app);
        let pool = app.database.pool();
        let Some(mut lease) = self.lease(key).await? else { return Ok(false) };
        let set = app.rules.set(behind.tenant, behind.revision).await?;
        let Some(scorer) = set.get(&behind.model).and_then(|scorer| scorer.model()) else {
            return Ok(false);
        };
        let limit = i64::from(app.config.learner_batch);
        let labels = store::labels_after(pool, behind.tenant, lease.position, limit).await?;
        let Some(last) = labels.last() else { return Ok(false) };
        let (from, to) = (lease.position, last.seq);
        let before = lease.knowledge.labels;
        for label in labels.iter().filter(|label| scorer.wants(&label.demand_kind)) {
            let Some((as_of_us, features)) = self.known(key, label) else { continue };
            let knowledge = &mut lease.knowledge;
            knowledge.model.learn(&scorer.example(features, as_of_us, label.positive));
            knowledge.labels += 1;
            knowledge.positives += i64::from(label.positive);
        }
        let learned = Learned { to, knowledge: &lease.knowledge };
        let name = (behind.tenant, behind.model.as_str());
        let moved =
            store::checkpoint(pool, name, (lease.epoch, from), learned, app.config.learner_lease());
        let Some(version) = moved.await? else {
            tracing::info!(model = behind.model, "model was frozen, deleted or taken over");
            return Ok(false);
        };
        app.metrics.labels_learned.inc_by((lease.knowledge.labels - before).unsigned_abs());
        let knowledge = Arc::new(lease.knowledge.clone());
        app.rules.learned(behind.tenant, &behind.model, version, knowledge);
        lease.position = to;
        self.hold(key.clone(), lease);
        Ok(labels.len() as i64 == limit)
    }

    /// What a label's use knew; nothing if there is nothing to learn from.
    fn known<'a>(
        &self,
        (tenant, model): &Whose,
        label: &'a LearnableLabel,
    ) -> Option<(i64, &'a Features)> {
        match &label.known {
            Known::Use(as_of_us, features) => Some((*as_of_us, features)),
            Known::Nothing => None,
            Known::Damaged => {
                let seq = label.seq;
                tracing::error!(task = TASK, %tenant, model, seq, "the use of a label is damaged");
                self.app.metrics.pass_over(TASK, 1);
                None
            }
        }
    }

    /// The lease that is held, or a new one. It is out of the memory until the checkpoint.
    async fn lease(&mut self, key: &Whose) -> Result<Option<Lease>, Error> {
        if let Some(lease) = self.held.remove(key) {
            return Ok(Some(lease));
        }
        let (tenant, model) = key;
        let duration = self.app.config.learner_lease();
        let pool = self.app.database.pool();
        Ok(store::acquire(pool, *tenant, model, self.holder, duration).await?)
    }

    fn hold(&mut self, key: Whose, lease: Lease) {
        if self.held.len() >= REMEMBERED {
            self.held.clear();
        }
        self.held.insert(key, lease);
    }
}
