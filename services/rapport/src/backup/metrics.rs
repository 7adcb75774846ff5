//! What an operator watches of backups; the alert is "the last good one is too old".

use std::sync::atomic::AtomicU64;

use ::backup::Manifest;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The metrics of backups; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    last_success: Gauge<f64, AtomicU64>,
    last_verified: Gauge<f64, AtomicU64>,
    last_archived: Gauge<f64, AtomicU64>,
    duration: Gauge<f64, AtomicU64>,
    bytes: Gauge,
    waiting: Gauge,
    pub(super) failures: Counter,
    pub(super) archive_failures: Counter,
}

fn seconds(time: jiff::Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1_000.0
}

impl Metrics {
    /// Makes them visible.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("rapport_backup");
        registry.register(
            "last_success_timestamp_seconds",
            "When the last backup was made; 0 without any",
            self.last_success.clone(),
        );
        registry.register(
            "last_verified_timestamp_seconds",
            "When the last backup was made that was restored and found good; 0 without any",
            self.last_verified.clone(),
        );
        registry.register(
            "last_archived_timestamp_seconds",
            "When a segment of the log was archived last; 0 without any since the start",
            self.last_archived.clone(),
        );
        registry.register(
            "duration_seconds",
            "How long the last backup took, its check included",
            self.duration.clone(),
        );
        registry.register("bytes", "Size of the last backup", self.bytes.clone());
        registry.register(
            "archive_waiting_bytes",
            "Finished log that is not archived yet",
            self.waiting.clone(),
        );
        registry.register(
            "failures",
            "Backups that could not be made, or were not good",
            self.failures.clone(),
        );
        registry.register(
            "archive_failures",
            "Rounds in which finished log could not be archived",
            self.archive_failures.clone(),
        );
    }

    /// What is there at the start.
    pub(super) fn found(&self, backups: &[Manifest]) {
        for backup in backups {
            self.made(backup);
        }
    }

    pub(super) fn made(&self, backup: &Manifest) {
        self.last_success.set(seconds(backup.time));
        let bytes: u64 = backup.parts.iter().map(|part| part.bytes).sum();
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        if backup.is_good() {
            self.last_verified.set(seconds(backup.time));
        }
    }

    pub(super) fn took(&self, duration: std::time::Duration) {
        self.duration.set(duration.as_secs_f64());
    }

    pub(super) fn archived(&self) {
        self.last_archived.set(seconds(jiff::Timestamp::now()));
    }

    pub(super) fn waiting(&self, bytes: u64) {
        self.waiting.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
