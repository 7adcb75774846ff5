//! What an operator watches besides the feed.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// A task in the background.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Task {
    task: &'static str,
}

/// The metrics of scoring in one process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    pub(crate) scored_on_event: Counter,
    pub(crate) scored_by_clock: Counter,
    pub(crate) scored_by_sweep: Counter,
    pub(crate) uses: Counter,
    pub(crate) labels_learned: Counter,
    passed_over: Family<Task, Counter>,
}

impl Metrics {
    /// Makes the metrics visible.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let scoring = registry.sub_registry_with_prefix("scoring");
        let on_event = self.scored_on_event.clone();
        scoring.register("scored_on_event", "Customers scored because they changed", on_event);
        let by_clock = self.scored_by_clock.clone();
        scoring.register("scored_by_clock", "Customers scored because time passed", by_clock);
        let by_sweep = self.scored_by_sweep.clone();
        scoring.register("scored_by_sweep", "Customers scored because a scorer changed", by_sweep);
        scoring.register("uses", "Scores logged as used", self.uses.clone());
        let learned = self.labels_learned.clone();
        scoring.register("labels_learned", "Labels learned, over all models", learned);
        let passed_over = self.passed_over.clone();
        let help = "Tenants, models, labels and customers left for now because they are damaged";
        scoring.register("passed_over", help, passed_over);
    }

    /// Counts what a task left as it is. Once with 0 at its beginning: a counter that appears
    /// with its first count hides that count from whoever watches increases.
    pub(crate) fn pass_over(&self, task: &'static str, count: u64) {
        self.passed_over.get_or_create(&Task { task }).inc_by(count);
    }
}
