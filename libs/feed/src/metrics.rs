//! What an operator watches: lag, parked entries, repeats, gaps.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// One lane of one consumer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Lane {
    pub(crate) consumer: String,
    pub(crate) lane: i64,
}

/// The metrics of the feed of one process: make one, register it, hand clones around.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub(crate) head: Gauge,
    pub(crate) gaps: Counter,
    pub(crate) partitions_ahead: Gauge,
    pub(crate) bytes: Gauge,
    pub(crate) lag: Family<Lane, Gauge>,
    pub(crate) delay: Family<Lane, Gauge<f64, AtomicU64>>,
    pub(crate) applied: Family<Lane, Counter>,
    pub(crate) repeats: Family<Lane, Counter>,
    pub(crate) parked: Family<Lane, Counter>,
    pub(crate) bootstraps: Family<Lane, Counter>,
}

impl Metrics {
    /// Shows the counters of a lane from its beginning: a counter that appears with its first
    /// count hides that count from whoever watches increases.
    pub(crate) fn begin(&self, lane: &Lane) {
        for counter in [&self.applied, &self.repeats, &self.parked, &self.bootstraps] {
            drop(counter.get_or_create(lane));
        }
    }

    /// Makes the metrics visible.
    pub fn register(&self, registry: &mut Registry) {
        let feed = registry.sub_registry_with_prefix("feed");
        feed.register("head", "Highest sequence number of the own log", self.head.clone());
        feed.register("gaps", "Missing sequence numbers in the own log", self.gaps.clone());
        feed.register(
            "partitions_ahead",
            "Partitions ready behind the head's; writers stop at 0 when the head's is full",
            self.partitions_ahead.clone(),
        );
        feed.register("bytes", "Size of the own log on disk", self.bytes.clone());
        feed.register("consumer_lag", "Entries behind the head", self.lag.clone());
        feed.register(
            "consumer_delay_seconds",
            "Age of the last applied entry when it was applied",
            self.delay.clone(),
        );
        feed.register("consumer_applied", "Entries applied", self.applied.clone());
        feed.register("consumer_repeats", "Runs repeated after an error", self.repeats.clone());
        feed.register("consumer_parked", "Entries put aside as dead letters", self.parked.clone());
        feed.register("consumer_bootstraps", "Snapshots taken", self.bootstraps.clone());
    }
}
