//! Scoring customers inside a transaction: the one path of events, clock and sweep.

use std::collections::HashMap;
use std::sync::Arc;

use ::store::Error;
use feed::Entry;
use kernel::TenantId;
use sqlx::PgConnection;

use super::rules::Rules;
use crate::domain::{Moment, ScorerSet, Weights, next_crossing, transition};
use crate::events::score_changed;
use crate::store::{self, Subject};

/// The scorers of some tenants, held as they are until the end of the transaction.
pub(crate) struct Held(HashMap<TenantId, (Arc<ScorerSet>, Weights)>);

impl Held {
    /// Holds the scorers of `tenants` (sorted, distinct); those in `changed` were changed by
    /// this very transaction.
    pub(crate) async fn new(
        rules: &Rules,
        connection: &mut PgConnection,
        tenants: &[TenantId],
        changed: &[TenantId],
    ) -> Result<Self, Error> {
        let revisions = store::hold(connection, tenants).await?;
        let mut versions: HashMap<TenantId, Vec<(String, i64)>> = HashMap::new();
        for (tenant, model, version) in store::versions(connection, tenants).await? {
            versions.entry(tenant).or_default().push((model, version));
        }
        let mut held = HashMap::with_capacity(tenants.len());
        for (tenant, revision) in revisions {
            let set = if changed.contains(&tenant) {
                rules.uncommitted_set(connection, tenant).await?
            } else {
                rules.set(tenant, revision).await?
            };
            let versions = versions.remove(&tenant).unwrap_or_default();
            held.insert(tenant, (set, rules.weights(tenant, &versions).await?));
        }
        Ok(Self(held))
    }

    /// Brings a customer's scores up to `now_us`; answers what others are to hear, if anything
    /// changed.
    pub(crate) fn rescore(
        &self,
        subject: &mut Subject,
        now_us: i64,
    ) -> Result<Option<Entry>, Error> {
        let nothing = || Error::internal("the scorers of a customer's tenant are not held");
        let (set, weights) = self.0.get(&subject.key.tenant).ok_or_else(nothing)?;
        let (scored, due) = match subject.behaviour()? {
            None => (Vec::new(), None),
            Some(behaviour) => {
                let scored = set.score(Moment::new(&behaviour, now_us), weights);
                (scored, next_crossing(set, weights, &behaviour, now_us))
            }
        };
        let change = transition(&subject.scores, scored, subject.score_version + 1);
        subject.scores = change.scores;
        subject.scored_us = now_us;
        subject.next_due_us = due;
        if !change.changed {
            return Ok(None);
        }
        subject.score_version += 1;
        Ok(Some(score_changed(subject)))
    }

    /// The same for many, written and told: the last statements of a transaction.
    pub(crate) async fn rescore_and_write(
        &self,
        connection: &mut PgConnection,
        mut subjects: Vec<Subject>,
        now_us: i64,
    ) -> Result<usize, feed::Error> {
        let mut entries = Vec::new();
        for subject in &mut subjects {
            entries.extend(self.rescore(subject, now_us)?);
        }
        write_and_tell(connection, subjects, &entries).await
    }
}

/// Writes customers in the order of their keys, then tells of them.
pub(crate) async fn write_and_tell(
    connection: &mut PgConnection,
    mut subjects: Vec<Subject>,
    entries: &[Entry],
) -> Result<usize, feed::Error> {
    subjects.sort_by_key(|subject| subject.key);
    if !subjects.is_empty() {
        store::write(connection, &subjects).await?;
    }
    feed::append(connection, entries).await?;
    Ok(subjects.len())
}
