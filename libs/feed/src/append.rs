//! Writing to the service's own log.

use sqlx::PgConnection;

use crate::{Entry, Error, MAX_DATA};

/// How many entries one [`append`] takes: more would hold the service's one lock too long.
pub const MAX_APPEND: usize = 5_000;

const APPEND: &str = "select feed_append($1, $2, $3, $4, $5, $6, $7)";

/// Appends entries in the transaction of the change they tell of; returns the first sequence
/// number, or 0 when nothing is given. Must be the **last** statement before COMMIT, and the
/// transaction READ COMMITTED: every other writer of the service waits for this commit.
/// Call [`Tail::wake`](crate::Tail::wake) after the commit.
///
/// # Errors
/// [`Error::TooLarge`] above [`MAX_APPEND`] entries or [`MAX_DATA`] bytes in one of them;
/// [`Error::Database`].
pub async fn append(connection: &mut PgConnection, entries: &[Entry]) -> Result<i64, Error> {
    if entries.is_empty() {
        return Ok(0);
    }
    if entries.len() > MAX_APPEND || entries.iter().any(|entry| entry.data.len() > MAX_DATA) {
        return Err(Error::TooLarge);
    }
    let shards: Vec<i16> = entries.iter().map(|entry| entry.shard.number()).collect();
    let tenants: Vec<uuid::Uuid> = entries.iter().map(|entry| entry.tenant.uuid()).collect();
    let subjects: Vec<uuid::Uuid> = entries.iter().map(|entry| entry.subject).collect();
    let kinds: Vec<i16> = entries.iter().map(|entry| entry.kind).collect();
    let versions: Vec<i64> = entries.iter().map(|entry| entry.version).collect();
    let traces: Vec<Option<&str>> =
        entries.iter().map(|entry| entry.traceparent.as_deref()).collect();
    let datas: Vec<&[u8]> = entries.iter().map(|entry| entry.data.as_ref()).collect();
    let first = sqlx::query_scalar(APPEND)
        .bind(shards)
        .bind(tenants)
        .bind(subjects)
        .bind(kinds)
        .bind(versions)
        .bind(traces)
        .bind(datas)
        .fetch_one(connection)
        .await
        .map_err(store::Error::from);
    first.map_err(|error| match error {
        // No partition for the next number: the service's fault, no row's.
        store::Error::Check { constraint } if constraint.is_empty() => {
            Error::Database(store::Error::internal("the feed has no partition left"))
        }
        other => Error::Database(other),
    })
}
