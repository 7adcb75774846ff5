//! What an operator watches.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    path: &'static str,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Place {
    path: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Fate {
    fate: &'static str,
}

/// Around the objective of 100 ms for 100 events.
const SECONDS: [f64; 10] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 8.0];

/// Clones share the counters.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    answers: Family<Answer, Counter>,
    seconds: Family<Place, Histogram>,
    memory: Gauge,
    events: Family<Fate, Counter>,
    key_mismatches: Counter,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            answers: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            memory: Gauge::default(),
            events: Family::default(),
            key_mismatches: Counter::default(),
        };
        registry.register("batches", "Answers to bodies of events", metrics.answers.clone());
        registry.register(
            "batch_duration_seconds",
            "From the head of a request to its answer",
            metrics.seconds.clone(),
        );
        registry.register(
            "memory_bytes",
            "What bodies at work are reckoned to take",
            metrics.memory.clone(),
        );
        registry.register("events", "What became of events", metrics.events.clone());
        registry.register(
            "key_mismatches",
            "Batches whose header and body carry different write keys; the header wins",
            metrics.key_mismatches.clone(),
        );
        metrics
    }

    /// `path`: the longest form of it.
    pub(crate) fn answered(&self, path: &'static str, code: u16, time: Duration) {
        self.answers.get_or_create(&Answer { path, code }).inc();
        self.seconds.get_or_create(&Place { path }).observe(time.as_secs_f64());
    }

    /// The bytes of all budgets in use.
    pub(crate) fn memory(&self) -> Gauge {
        self.memory.clone()
    }

    /// `fate`: accepted, duplicate or rejected.
    pub(crate) fn events(&self, fate: &'static str, count: usize) {
        self.events.get_or_create(&Fate { fate }).inc_by(count as u64);
    }

    pub(crate) fn key_mismatch(&self) {
        self.key_mismatches.inc();
    }
}
