//! One transaction, repeated as a whole when it certainly did not commit.

use std::time::Duration;

use sqlx::{Acquire, PgConnection};

use crate::database::Database;
use crate::error::{Error, FromStore};
use crate::jitter;

/// How often a transaction is tried in all.
const ATTEMPTS: u32 = 5;
/// The first wait between two attempts is below this.
const FIRST_WAIT: Duration = Duration::from_millis(5);

/// Runs `work` in one READ COMMITTED transaction and commits if it answers Ok.
///
/// After a deadlock, a serialisation failure or a connection that broke before COMMIT, the
/// whole is run again (at most five times, with jitter): `work` must have no effect outside
/// the transaction. A connection that breaks *during* COMMIT is never repeated: the answer is
/// [`Error::Unavailable`] with `certainly_not_committed: false`.
///
/// ```ignore
/// transaction(&database, async |connection| {
///     store::idempotency::begin(connection, &call).await?;
///     customers::insert(connection, &customer).await
/// })
/// .await
/// ```
///
/// # Errors
/// Those of `work`, of [`Database::acquire`] and of the commit.
pub async fn transaction<T, E, F>(database: &Database, mut work: F) -> Result<T, E>
where
    E: FromStore,
    F: AsyncFnMut(&mut PgConnection) -> Result<T, E>,
{
    let mut attempt = 0;
    loop {
        let error = match once(database, &mut work).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        attempt += 1;
        if attempt == ATTEMPTS || !error.as_store().is_some_and(is_worth_repeating) {
            return Err(error);
        }
        tokio::time::sleep(jitter::wait(FIRST_WAIT, attempt)).await;
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

async fn once<T, E, F>(database: &Database, work: &mut F) -> Result<T, E>
where
    E: FromStore,
    F: AsyncFnMut(&mut PgConnection) -> Result<T, E>,
{
    let mut connection = database.acquire().await?;
    let mut transaction =
        connection.begin().await.map_err(|error| Error::from(error).before_commit())?;
    match work(&mut transaction).await {
        Ok(value) => {
            transaction.commit().await.map_err(Error::from)?;
            Ok(value)
        }
        Err(error) => {
            // A failed roll-back breaks the connection, and with it the transaction.
            let rolled_back = transaction.rollback().await;
            if rolled_back.is_err() {
                connection.close_on_drop();
            }
            Err(before_commit(error))
        }
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
