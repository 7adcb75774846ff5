//! The use cases: load, decide, persist and append to the feed. One file each.

mod customer;
mod decide;
mod erase;
mod explain;
mod graph;
mod place;
mod read;
mod replay;
mod resolve;
mod rules;
mod seal;
mod snapshot;

use std::sync::Arc;

use ::store::{
    Committer, Database, Error as StoreError, KeyRing, Resources, TenantKeys, TokenSealer,
};
use feed::Tail;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use customer::{CustomerView, Key};
pub(crate) use decide::{Demand, SplitOutcome};
pub(crate) use erase::{ErasureView, FOLLOWERS, Petition};
pub(crate) use explain::By;
pub(crate) use replay::{ledger, pending, replay};
pub(crate) use resolve::{Refused, Resolved, Seen, Set};
pub(crate) use rules::{RuleBook, RuleDraft, RulesMeta};
pub(crate) use snapshot::Snapshot;

use place::{Placing, Work};

/// Everything that the use cases need; cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    database: Database,
    lookup: Arc<::store::keys::LookupKeys>,
    tenant_keys: TenantKeys,
    tokens: TokenSealer,
    rules: RuleBook,
    committer: Committer<Work, Vec<Placing>>,
    tail: Tail,
}

impl App {
    /// Starts the committers on `tasks`; they end when `stop` is cancelled.
    pub(crate) fn start(
        database: Database,
        keys: &KeyRing,
        options: ::store::committer::Options,
        tail: Tail,
        (tasks, stop): (&TaskTracker, &CancellationToken),
    ) -> Result<Self, StoreError> {
        let tenant_keys = TenantKeys::new(database.clone(), Arc::clone(keys.root()));
        let rules = RuleBook::new(Resources::new(database.clone()), tenant_keys.clone());
        let (writing, told) = (database.clone(), tail.clone());
        let committer = Committer::start(options, tasks, stop.clone(), move |batch| {
            place::write(writing.clone(), told.clone(), batch)
        });
        Ok(Self {
            lookup: Arc::clone(keys.lookup()),
            tenant_keys,
            tokens: TokenSealer::new(keys)?,
            rules,
            committer,
            database,
            tail,
        })
    }

    /// The own database.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Seals and opens page tokens.
    pub(crate) fn tokens(&self) -> &TokenSealer {
        &self.tokens
    }

    /// The tenants' rules.
    pub(crate) fn rules(&self) -> &RuleBook {
        &self.rules
    }
}

/// A feed error where only the database can be at fault.
fn feed_error(error: feed::Error) -> StoreError {
    match error {
        feed::Error::Database(error) => error,
        other => StoreError::internal(other),
    }
}

/// Appends to the feed, in as many calls as it takes. The last statements of a transaction.
async fn append(
    connection: &mut sqlx::PgConnection,
    entries: &[feed::Entry],
) -> Result<(), StoreError> {
    for run in entries.chunks(feed::MAX_APPEND) {
        feed::append(connection, run).await.map_err(feed_error)?;
    }
    Ok(())
}
