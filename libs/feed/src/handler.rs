//! What a consumer does with entries.

use std::future::Future;

use sqlx::PgConnection;

use crate::{Entry, Error};

/// Applies entries of another service's log to this service's database.
pub trait Handler: Send + Sync + 'static {
    /// Applies a run of entries in the transaction that also moves the checkpoint: the effect is
    /// there exactly once. Entries arrive in order; those of one subject may jump (snapshot,
    /// redrive), so a version that is not higher than the stored one is to be ignored. No RPC in
    /// here; an own [`append`](crate::append) is the last statement.
    ///
    /// A run that fails with [`HandleError::Poison`] is rolled back and cut in halves until the
    /// bad entry is alone.
    fn handle(
        &self,
        connection: &mut PgConnection,
        entries: &[Entry],
    ) -> impl Future<Output = Result<(), HandleError>> + Send;

    /// Whether an entry can have an effect at all. One that has none costs no transaction: the
    /// checkpoint passes it with the next effect, or within half a second. Must be a function of the
    /// entry alone.
    fn concerns(&self, entry: &Entry) -> bool {
        let _ = entry;
        true
    }

    /// Called after the commit, to wake the own tail or to drop cached values. A hint: called
    /// also when the outcome of a commit is unknown, not called for a commit by a process that
    /// was killed.
    fn committed(&self, entries: &[Entry]) {
        let _ = entries;
    }
}

/// Why a run could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// Not the entries' fault: repeated until it works.
    #[error("the run could not be applied now")]
    Transient(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An entry is to blame: its subject is parked. The text is kept: nothing personal in it.
    #[error("an entry cannot be applied: {0}")]
    Poison(String),
}

impl From<store::Error> for HandleError {
    /// Bad data is the entry's fault, everything else passes.
    fn from(error: store::Error) -> Self {
        if error.blames_one_row() {
            Self::Poison(error.to_string())
        } else {
            Self::Transient(Box::new(error))
        }
    }
}

impl From<sqlx::Error> for HandleError {
    fn from(error: sqlx::Error) -> Self {
        store::Error::from(error).into()
    }
}

impl From<Error> for HandleError {
    fn from(error: Error) -> Self {
        match error {
            Error::Database(error) => error.into(),
            Error::Malformed(_) | Error::TooLarge => Self::Poison(error.to_string()),
            other => Self::Transient(Box::new(other)),
        }
    }
}
