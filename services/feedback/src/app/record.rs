//! Statements about outcomes into the books, as sets: shared by RecordOutcome and by the
//! consumer of routing's feed.

use std::collections::{BTreeMap, BTreeSet};

use ::store::Error;
use sqlx::PgConnection;

use crate::domain::Key;
use crate::domain::fact::Fact;
use crate::domain::outcome::{self, Label, Outcome, Recording, Verdict};
use crate::store;

/// A label that the models have to be told.
#[derive(Debug, Clone)]
pub(crate) struct News {
    pub(crate) key: Key,
    pub(crate) demand_kind: String,
    pub(crate) label: Label,
    pub(crate) traceparent: Option<String>,
}

/// What came of a batch of statements.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// For each statement the outcome in force after it; nothing for an unknown demand.
    pub(crate) answers: Vec<Option<Outcome>>,
    /// To be appended to the feed in the same transaction, as its last statement.
    pub(crate) news: Vec<News>,
}

/// Locks the demands, judges the statements in order, and writes what they change. `revisit`
/// names demands whose facts changed so that an outcome they have may have become a label.
pub(crate) async fn record(
    connection: &mut PgConnection,
    recordings: &[&Recording],
    revisit: &BTreeSet<Key>,
) -> Result<Recorded, Error> {
    let mut keys: BTreeSet<Key> = recordings.iter().map(|recording| recording.key).collect();
    keys.extend(revisit);
    if keys.is_empty() {
        return Ok(Recorded { answers: Vec::new(), news: Vec::new() });
    }
    let facts = store::fact::lock(connection, &keys).await?;
    let mut books = Books {
        known: store::outcome::known(connection, recordings).await?,
        outcomes: store::outcome::read(connection, &keys).await?,
        changed: BTreeSet::new(),
        history: Vec::new(),
    };
    let answers = recordings
        .iter()
        .map(|recording| facts.contains_key(&recording.key).then(|| books.enter(recording))?)
        .collect();
    let news = books.label(&facts, recordings, revisit);
    store::outcome::save_history(connection, &books.history).await?;
    store::outcome::save(connection, &books.changed()).await?;
    Ok(Recorded { answers, news })
}

/// The outcomes of the batch's demands.
struct Books<'r> {
    known: std::collections::HashSet<(Key, outcome::Statement)>,
    outcomes: BTreeMap<Key, Outcome>,
    changed: BTreeSet<Key>,
    history: Vec<&'r Recording>,
}

impl<'r> Books<'r> {
    /// The outcome in force after the statement.
    fn enter(&mut self, recording: &'r Recording) -> Option<Outcome> {
        let key = recording.key;
        let in_force = self.outcomes.get(&key);
        let known = self.known.contains(&(key, recording.statement.clone()));
        let verdict = outcome::judge(in_force, recording, known);
        if verdict != Verdict::Repeat {
            self.history.push(recording);
            self.known.insert((key, recording.statement.clone()));
        }
        if verdict == Verdict::Wins {
            let successor = outcome::successor(in_force, recording);
            self.outcomes.insert(key, successor);
            self.changed.insert(key);
        }
        self.outcomes.get(&key).cloned()
    }

    /// Notes which outcomes have become news; a demand makes at most one label per batch.
    fn label(
        &mut self,
        facts: &BTreeMap<Key, Fact>,
        recordings: &[&Recording],
        revisit: &BTreeSet<Key>,
    ) -> Vec<News> {
        let mut news = Vec::new();
        let candidates: BTreeSet<Key> = self.changed.union(revisit).copied().collect();
        for key in candidates {
            let (Some(fact), Some(outcome)) = (facts.get(&key), self.outcomes.get_mut(&key)) else {
                continue;
            };
            let Some(label) = outcome::label_due(outcome, fact.scored) else { continue };
            outcome.label = Some(label);
            self.changed.insert(key);
            let trace = recordings.iter().rev().find(|recording| recording.key == key);
            news.push(News {
                key,
                demand_kind: fact.kind.clone(),
                label,
                traceparent: trace.and_then(|recording| recording.traceparent.clone()),
            });
        }
        news
    }

    fn changed(&self) -> BTreeMap<Key, &Outcome> {
        let outcome = |key: &Key| Some((*key, self.outcomes.get(key)?));
        self.changed.iter().filter_map(outcome).collect()
    }
}
