//! What an operator watches.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Fate {
    fate: &'static str,
}

/// Clones share the counters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    answers: Family<Answer, Counter>,
    events: Family<Fate, Counter>,
    key_mismatches: Counter,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("batches", "Answers to batches", metrics.answers.clone());
        registry.register("events", "What became of events", metrics.events.clone());
        registry.register(
            "key_mismatches",
            "Batches whose header and body carry different write keys; the header wins",
            metrics.key_mismatches.clone(),
        );
        metrics
    }

    pub(crate) fn answered(&self, code: u16) {
        self.answers.get_or_create(&Answer { code }).inc();
    }

    /// `fate`: accepted, duplicate or rejected.
    pub(crate) fn events(&self, fate: &'static str, count: usize) {
        self.events.get_or_create(&Fate { fate }).inc_by(count as u64);
    }

    pub(crate) fn key_mismatch(&self) {
        self.key_mismatches.inc();
    }
}
