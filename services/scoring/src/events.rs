//! What other services hear of scores, and the same as a snapshot.
//!
//! One entry for each change of a customer's scores, with all of them; its version is the
//! customer's score version. Nothing personal is in it.

use bytes::Bytes;
use contracts::scoring::v1::{EventKind, ReachedThreshold, ScoreChanged, ScoreState};
use feed::receipt::Part;
use feed::{Entry, Shards, SnapshotKey, SnapshotSource};
use prost::Message;
use store::Database;

use crate::domain::{Reached, Standing};
use crate::store::{self as tables, Subject};

/// The scores of a customer changed, just now.
pub(crate) fn score_changed(subject: &Subject) -> Entry {
    entry(subject, |reached| reached.since == subject.score_version)
}

fn entry(subject: &Subject, crossed: impl Fn(&Reached) -> bool) -> Entry {
    let reached = |reached: &Reached| ReachedThreshold {
        name: reached.name.clone(),
        since_version: reached.since,
    };
    let state = |score: &Standing| ScoreState {
        scorer: score.scorer.clone(),
        value: score.value,
        grade: score.grade().to_owned(),
        reached: score.reached.iter().map(reached).collect(),
        crossed_up: score
            .reached
            .iter()
            .filter(|reached| crossed(reached))
            .map(|reached| reached.name.clone())
            .collect(),
    };
    let data = ScoreChanged {
        scores: subject.scores.iter().map(state).collect(),
        profile_version: subject.profile_version,
    };
    let kind = EventKind::ScoreChanged as i16;
    let (tenant, customer) = (subject.key.tenant, subject.key.customer.uuid());
    Entry::new(tenant, customer, kind, subject.score_version, Bytes::from(data.encode_to_vec()))
}

/// Customers are gone for good.
pub(crate) fn customers_erased(part: &Part) -> Entry {
    part.entry(EventKind::CustomersErased as i16)
}

/// The customers with scores and those that are gone, for those who cannot follow the feed from where they are. What
/// they missed cannot be told, so each threshold that is reached counts as crossed; since when it
/// is lets a reader act once.
#[derive(Debug)]
pub struct Snapshots(pub(crate) Database);

impl SnapshotSource for Snapshots {
    async fn snapshot(
        &self,
        shards: Shards,
        after: Option<SnapshotKey>,
        limit: usize,
    ) -> Result<Vec<Entry>, feed::Error> {
        let subjects = tables::snapshot(self.0.pool(), shards, after, limit).await?;
        let from = after.map_or_else(Default::default, |(tenant, id)| (tenant.uuid(), id));
        let erased = feed::receipt::known(self.0.pool(), shards, from, limit).await?;
        let mut entries: Vec<Entry> =
            subjects.iter().map(|subject| entry(subject, |_| true)).collect();
        entries.extend(erased.iter().map(customers_erased));
        entries.sort_by_key(|entry| (entry.tenant, entry.subject));
        entries.truncate(limit);
        Ok(entries)
    }
}
