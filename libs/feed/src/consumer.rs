//! Following the log of another service: exactly one effect for each entry.
//!
//! A consumer has lanes (one by default), each a set of shards with its own checkpoint row and
//! lease; replicas compete for the leases. The transaction of a run moves the checkpoint first
//! and then makes the effect: killed anywhere, the run is applied once. A position that the owner
//! no longer keeps, or of another epoch, makes the lane read a snapshot: the head is noted, every
//! subject applied as an entry (its version decides), and the log followed from that head.
//!
//! Deliberately absent: effects outside the database (webhooks, calls). Those are at least once,
//! keyed by (feed, seq), and made from a table that a handler writes.

mod apply;
mod checkpoint;
mod lane;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kernel::TenantId;
use store::Database;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::checkpoint::Checkpoint;
use crate::dead_letter::{self, Redriven};
use crate::metrics;
use crate::{HandleError, Handler, Metrics, Shards, Upstream};

/// How a consumer works.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many lanes share the work, 1 to 64; each keeps the order of its shards.
    pub lanes: i16,
    /// How many entries one transaction applies at most.
    pub max_run: usize,
    /// How long a lane stays with a replica that says nothing. A run must take less.
    pub lease: Duration,
    /// The least time from the end of a run to the next one: who need not be quick takes more
    /// at a time.
    pub pace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { lanes: 1, max_run: 500, lease: Duration::from_secs(15), pace: Duration::ZERO }
    }
}

/// One consumer of one feed, in one replica.
#[derive(Debug)]
pub struct Consumer<H> {
    name: String,
    upstream: Upstream,
    database: Database,
    handler: Arc<H>,
    options: Options,
    metrics: Metrics,
    holder: Uuid,
}

/// One lane at work.
struct Lane<H> {
    checkpoint: Checkpoint,
    shards: Shards,
    upstream: Upstream,
    database: Database,
    handler: Arc<H>,
    max_run: usize,
    pace: Duration,
    metrics: Metrics,
    label: metrics::Lane,
}

impl<H: Handler> Consumer<H> {
    /// A consumer named, for ever, e.g. `profile.identity` (who.whose log), whose effects go to
    /// `database`.
    pub fn new(
        name: impl Into<String>,
        upstream: Upstream,
        database: Database,
        handler: H,
        options: Options,
        metrics: Metrics,
    ) -> Self {
        let lanes = options.lanes.clamp(1, kernel::shard::SHARDS);
        Self {
            name: name.into(),
            upstream,
            database,
            handler: Arc::new(handler),
            options: Options { lanes, max_run: options.max_run.max(1), ..options },
            metrics,
            holder: Uuid::new_v4(),
        }
    }

    /// Follows until cancelled; then finishes the run at hand and gives the leases back.
    pub async fn run(&self, cancel: CancellationToken) {
        join_all((0..self.options.lanes).map(|lane| self.lane(lane).run(cancel.clone()))).await;
    }

    /// Applies what is parked; see [`dead_letter::redrive`].
    ///
    /// # Errors
    /// As there.
    pub async fn redrive(&self, tenant: Option<TenantId>) -> Result<Redriven, HandleError> {
        dead_letter::redrive(&self.database, &self.name, tenant, &*self.handler).await
    }

    fn lane(&self, lane: i16) -> Lane<H> {
        let label = metrics::Lane { consumer: self.name.clone(), lane: i64::from(lane) };
        self.metrics.begin(&label);
        Lane {
            checkpoint: Checkpoint {
                consumer: self.name.clone(),
                lanes: self.options.lanes,
                lane,
                holder: self.holder,
                lease: self.options.lease,
            },
            shards: Shards::of_lane(lane, self.options.lanes),
            upstream: self.upstream.clone(),
            database: self.database.clone(),
            handler: self.handler.clone(),
            max_run: self.options.max_run,
            pace: self.options.pace,
            metrics: self.metrics.clone(),
            label,
        }
    }
}
