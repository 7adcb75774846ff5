//! Following routing's feed: transitions become facts, closing becomes an outcome.

use std::collections::{BTreeMap, BTreeSet};

use ::store::{Bell, Error};
use feed::{Entry, HandleError, Handler, Tail, receipt};
use sqlx::PgConnection;

use super::record::{self, News};
use crate::domain::Key;
use crate::domain::fact::{Change, Fact};
use crate::domain::outcome::Recording;
use crate::{events, store};

/// Applies routing's entries.
#[derive(Debug)]
pub(crate) struct Demands {
    /// Of the own feed.
    pub(crate) tail: Tail,
    /// Rings when facts have arrived.
    pub(crate) arrivals: Bell,
}

impl Handler for Demands {
    async fn handle(
        &self,
        connection: &mut PgConnection,
        entries: &[Entry],
    ) -> Result<(), HandleError> {
        let mut changes = Vec::with_capacity(entries.len());
        let mut erased = Vec::new();
        for entry in entries {
            changes.extend(events::change(entry)?);
            erased.extend(events::erased(entry)?);
        }
        let news = apply(connection, &changes).await?;
        if !erased.is_empty() {
            store::erase::erase(connection, &erased).await?;
            receipt::record(connection, crate::NAME, &erased).await?;
        }
        feed::append(connection, &events::labels(&news)).await?;
        Ok(())
    }

    fn committed(&self, _entries: &[Entry]) {
        self.tail.wake();
        self.tail.pass_receipts();
        self.arrivals.ring();
    }
}

/// Applies transitions in order; answers the labels to be told.
async fn apply(connection: &mut PgConnection, changes: &[Change]) -> Result<Vec<News>, Error> {
    let keys: BTreeSet<Key> = changes.iter().map(|change| change.key).collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut facts = store::fact::lock(connection, &keys).await?;
    let mut changed: BTreeMap<Key, Fact> = BTreeMap::new();
    let mut fresh: Vec<&Change> = Vec::new();
    // Demands that were known without scores: an outcome may have come before them.
    let mut newly_scored = BTreeSet::new();
    for change in changes {
        let applied = match facts.get_mut(&change.key) {
            Some(fact) => {
                let was_scored = fact.scored;
                let applied = fact.apply(change);
                if fact.scored && !was_scored {
                    newly_scored.insert(change.key);
                }
                applied
            }
            None => {
                facts.insert(change.key, Fact::begin(change));
                true
            }
        };
        if applied {
            fresh.push(change);
            if let Some(fact) = facts.get(&change.key) {
                changed.insert(change.key, fact.clone());
            }
        }
    }
    store::fact::save(connection, &changed).await?;
    store::fact::save_scores(connection, &fresh).await?;
    let closings: Vec<Recording> = fresh.iter().filter_map(|change| closing(change)).collect();
    let closings: Vec<&Recording> = closings.iter().collect();
    Ok(record::record(connection, &closings, &newly_scored).await?.news)
}

fn closing(change: &Change) -> Option<Recording> {
    Some(Recording {
        key: change.key,
        statement: change.outcome.clone()?,
        time_is_now: false,
        recorded_us: change.at_us,
        traceparent: change.traceparent.clone(),
    })
}
