//! What an operator watches of ingest.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counts events by what became of them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    pub(crate) accepted: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) rejected: Counter,
    pub(crate) resolved: Counter,
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let events = registry.sub_registry_with_prefix("events");
        events.register("accepted", "Events stored and folded", self.accepted.clone());
        events.register("duplicates", "Events that were known", self.duplicates.clone());
        events.register("rejected", "Events that were refused", self.rejected.clone());
        events.register("resolved", "Evidence that identity was asked for", self.resolved.clone());
    }
}
