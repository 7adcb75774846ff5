//! RecordOutcome, through group commit.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::store::{Committer, Database, committer};
use feed::Tail;
use server::Drain;

use super::{App, record};
use crate::domain::outcome::{Outcome, Recording};
use crate::error::Error;
use crate::events;

/// Starts the committers: a batch of statements is one transaction and one append.
pub(crate) fn committer(
    database: &Database,
    tail: &Tail,
    drain: &Drain,
) -> Committer<Recording, Option<Outcome>> {
    let (database, tail) = (database.clone(), tail.clone());
    let write = move |batch: Vec<Arc<Recording>>| {
        let (database, tail) = (database.clone(), tail.clone());
        async move {
            let answers = commit(&database, &batch).await?;
            tail.wake();
            Ok(answers)
        }
    };
    // Every batch ends in the feed's one lock: a second committer would only wait for it.
    let options = committer::Options { committers: 1, ..committer::Options::default() };
    Committer::start(options, &drain.tracker(), drain.token(), write)
}

async fn commit(
    database: &Database,
    batch: &[Arc<Recording>],
) -> Result<Vec<Option<Outcome>>, ::store::Error> {
    let recordings: Vec<&Recording> = batch.iter().map(|recording| &**recording).collect();
    ::store::transaction!(database, async |connection| {
        let recorded = record::record(connection, &recordings, &BTreeSet::new()).await?;
        let entries = events::labels(&recorded.news);
        feed::append(connection, &entries).await.map_err(|error| match error {
            feed::Error::Database(error) => error,
            other => ::store::Error::internal(other),
        })?;
        Ok::<_, ::store::Error>(recorded.answers)
    })
}

impl App {
    /// Records a statement; answers the outcome in force after it.
    pub(crate) async fn record_outcome(&self, recording: Recording) -> Result<Outcome, Error> {
        let mut arrival = self.arrival();
        loop {
            if let Some(in_force) = self.outcomes.submit(recording.clone(), 1).await? {
                return Ok(in_force);
            }
            arrival.next_chance().await?;
        }
    }
}
