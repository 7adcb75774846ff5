//! One transaction, repeated as a whole when it certainly did not commit.
//!
//! [`transaction!`](crate::transaction!) is a macro because a function cannot promise that
//! the future of a borrowing async closure is `Send` (rust-lang/rust#102211), and handlers
//! need that. It expands to a loop around an async block; all decisions are in [`Attempts`].

use std::ops::ControlFlow;
use std::time::Duration;

use sqlx::{PgConnection, Postgres, Transaction};

use crate::database::Database;
use crate::error::{Error, FromStore};
use crate::jitter;

/// How often a transaction is tried in all.
const ATTEMPTS: u32 = 5;
/// The first wait between two attempts is below this.
const FIRST_WAIT: Duration = Duration::from_millis(5);

/// Runs a block in one READ COMMITTED transaction and commits if it answers Ok.
///
/// After a deadlock, a serialisation failure or a connection that broke before COMMIT, the
/// whole is run again (at most five times, with jitter): the block must have no effect outside
/// the transaction. A connection that breaks *during* COMMIT is never repeated: the answer is
/// [`Error::Unavailable`] with `certainly_not_committed: false`. `?` and `return` leave the
/// block, not the function. The error may be any [`FromStore`]; a value moved into the block
/// does not compile, because the block may run again.
///
/// ```
/// # use store::{Database, Error};
/// async fn rename(database: &Database, from: &str, to: &str) -> Result<u64, Error> {
///     store::transaction!(database, async |connection| {
///         let renamed = sqlx::query("update team set name = $2 where name = $1")
///             .bind(from)
///             .bind(to)
///             .execute(&mut *connection)
///             .await?;
///         Ok(renamed.rows_affected())
///     })
/// }
/// ```
#[macro_export]
macro_rules! transaction {
    ($database:expr, async |$connection:pat_param| $work:expr $(,)?) => {{
        let mut attempts = $crate::transaction::Attempts::new($database);
        loop {
            let mut transaction = match attempts.begin().await {
                ::core::result::Result::Ok(transaction) => transaction,
                ::core::result::Result::Err(error) => {
                    break ::core::result::Result::Err(::core::convert::From::from(error));
                }
            };
            let $connection = $crate::transaction::connection(&mut transaction);
            let result = async { $work }.await;
            match attempts.end(transaction, result).await {
                ::core::ops::ControlFlow::Break(result) => break result,
                ::core::ops::ControlFlow::Continue(()) => {}
            }
        }
    }};
}

/// The attempts of one [`transaction!`](crate::transaction!).
#[derive(Debug)]
pub struct Attempts<'a> {
    database: &'a Database,
    made: u32,
}

/// The connection of a transaction.
pub fn connection<'t>(transaction: &'t mut Transaction<'static, Postgres>) -> &'t mut PgConnection {
    transaction
}

impl<'a> Attempts<'a> {
    /// None made yet.
    #[must_use]
    pub const fn new(database: &'a Database) -> Self {
        Self { database, made: 0 }
    }

    /// Opens the next attempt's transaction.
    ///
    /// # Errors
    /// Those of [`Database::begin`], after the attempts are used up.
    pub async fn begin(&mut self) -> Result<Transaction<'static, Postgres>, Error> {
        loop {
            let error = match self.database.begin().await {
                Ok(transaction) => return Ok(transaction),
                Err(error) => error,
            };
            if !self.waited_for_another(&error).await {
                return Err(error);
            }
        }
    }

    /// Commits or rolls back; `Continue` asks for another attempt.
    pub async fn end<T, E: FromStore>(
        &mut self,
        transaction: Transaction<'static, Postgres>,
        result: Result<T, E>,
    ) -> ControlFlow<Result<T, E>> {
        let error = match result {
            Ok(value) => match transaction.commit().await.map_err(Error::from) {
                Ok(()) => return ControlFlow::Break(Ok(value)),
                Err(error) => E::from(error),
            },
            Err(error) => {
                // A connection that cannot roll back is broken, and its transaction with it.
                if let Err(broken) = transaction.rollback().await.map_err(Error::from) {
                    tracing::debug!(error = %broken, "roll-back failed");
                }
                before_commit(error)
            }
        };
        let again = match error.as_store() {
            Some(error) => self.waited_for_another(error).await,
            None => false,
        };
        if again { ControlFlow::Continue(()) } else { ControlFlow::Break(Err(error)) }
    }

    async fn waited_for_another(&mut self, error: &Error) -> bool {
        self.made += 1;
        if self.made >= ATTEMPTS || !is_worth_repeating(error) {
            return false;
        }
        tokio::time::sleep(jitter::wait(FIRST_WAIT, self.made)).await;
        true
    }
}

fn is_worth_repeating(error: &Error) -> bool {
    match error {
        Error::Conflict(_) => true,
        // A stale pooled connection; not the pool's time-out, which was a wait already.
        Error::Unavailable { certainly_not_committed: true, cause } => cause.is_broken_connection(),
        _ => false,
    }
}

/// Nothing was committed yet, whatever the error says.
fn before_commit<E: FromStore>(error: E) -> E {
    match error.as_store() {
        Some(unavailable @ Error::Unavailable { .. }) => {
            E::from(unavailable.clone().before_commit())
        }
        _ => error,
    }
}
