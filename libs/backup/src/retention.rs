//! Which backups may go.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::manifest::Manifest;

/// How many stay that are newer than the last good one of their life and not good, or not checked: a
/// check that fails again and again must not fill the disk.
const DOUBTFUL: usize = 2;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// How many good backups of each life; at least one.
    pub keep: usize,
    /// No backup is kept longer, except the last good one of all and that of the living life: what was erased is gone from the
    /// backups after this time.
    pub max_age: Duration,
}

/// What was seen of a life, going back in time.
#[derive(Default)]
struct Seen {
    good: usize,
    doubtful: usize,
}

/// The backups that go. Lives are counted each for itself: two data directories with one place must
/// not prune each other's. Never the newest good one of all, nor that of the living life.
#[must_use]
pub fn condemned(
    backups: &[Manifest],
    policy: Policy,
    living: Option<Uuid>,
    now: Timestamp,
) -> Vec<String> {
    let mut newest_first: Vec<&Manifest> = backups.iter().collect();
    newest_first.sort_by(|a, b| (b.began, &b.id).cmp(&(a.began, &a.id)));
    let good = || newest_first.iter().filter(|backup| backup.is_good());
    let last_good = good().next().map(|backup| &backup.id);
    let last_of_living = good().find(|backup| backup.incarnation == living).map(|last| &last.id);
    let mut lives: BTreeMap<Option<Uuid>, Seen> = BTreeMap::new();
    let mut condemned = Vec::new();
    for backup in &newest_first {
        let seen = lives.entry(backup.incarnation).or_default();
        let age = Duration::try_from(now.duration_since(backup.time)).unwrap_or_default();
        let is_too_old = age > policy.max_age;
        let goes = if backup.is_good() {
            seen.good += 1;
            seen.good > policy.keep.max(1) || is_too_old
        } else {
            seen.doubtful += 1;
            // Without any good one an old one may be all there is.
            seen.good > 0 || seen.doubtful > DOUBTFUL || is_too_old && last_good.is_some()
        };
        if goes && ![last_good, last_of_living].contains(&Some(&backup.id)) {
            condemned.push(backup.id.clone());
        }
    }
    condemned
}
