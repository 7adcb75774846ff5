//! What an operator watches besides the feed.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// The metrics of scoring in one process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    pub(crate) scored_on_event: Counter,
    pub(crate) scored_by_clock: Counter,
    pub(crate) scored_by_sweep: Counter,
    pub(crate) uses: Counter,
    pub(crate) labels_learned: Counter,
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
    }
}
