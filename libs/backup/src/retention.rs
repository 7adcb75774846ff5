//! Which backups may go.

use std::time::Duration;

use jiff::Timestamp;

use crate::manifest::Manifest;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// How many good backups; at least one.
    pub keep: usize,
    /// No backup is kept longer, except the last good one: what was erased is gone from the
    /// backups after this time.
    pub max_age: Duration,
}

/// The backups that go. Never the newest good one, nor one that is newer than it: those were not
/// checked yet, or wait for somebody to look at them.
#[must_use]
pub fn condemned(backups: &[Manifest], policy: Policy, now: Timestamp) -> Vec<String> {
    let mut newest_first: Vec<&Manifest> = backups.iter().collect();
    newest_first.sort_by(|a, b| (b.began, &b.id).cmp(&(a.began, &a.id)));
    let mut condemned = Vec::new();
    let mut good = 0;
    for backup in newest_first {
        let age = Duration::try_from(now.duration_since(backup.time)).unwrap_or_default();
        let is_first_good = backup.is_good() && good == 0;
        good += usize::from(backup.is_good());
        let too_many = good > policy.keep.max(1);
        let too_old = age > policy.max_age;
        let has_better = !backup.is_good() && good > 0;
        // Without any good one everything stays: it may be all there is.
        if good > 0 && !is_first_good && (too_many || too_old || has_better) {
            condemned.push(backup.id.clone());
        }
    }
    condemned
}
