//! The tables and the function of a feed, and what is read of them.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row};
use uuid::Uuid;

use crate::{Entry, Error};

/// The SQL of a service's first migration: `feed`, `feed_append`, `feed_epoch` for its own log;
/// `checkpoint` and `dead_letter` for the logs that it consumes.
pub const SCHEMA: &str = include_str!("schema.sql");

/// How many rows a partition has unless retention is told otherwise; the first three of the
/// schema have as many.
pub const ROWS_PER_PARTITION: i64 = 5_000_000;

/// The end of the log: its epoch and the highest sequence number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Which life of the log.
    pub epoch: Uuid,
    /// 0 when it is empty.
    pub seq: i64,
}

const HEAD: &str =
    "select (select epoch from feed_epoch), (select coalesce(max(seq), 0) from feed)";

/// Reads the head.
///
/// # Errors
/// [`Error::Database`].
pub async fn head(connection: impl PgExecutor<'_>) -> Result<Head, Error> {
    let (epoch, seq) = sqlx::query_as(HEAD).fetch_one(connection).await?;
    Ok(Head { epoch, seq })
}

const OLDEST: &str = "select min(seq) from feed";

/// The lowest sequence number that is kept; nothing when the log is empty.
///
/// # Errors
/// [`Error::Database`].
pub async fn oldest(connection: impl PgExecutor<'_>) -> Result<Option<i64>, Error> {
    Ok(sqlx::query_scalar(OLDEST).fetch_one(connection).await?)
}

const RENEW_EPOCH: &str = "update feed_epoch set epoch = gen_random_uuid()";

/// Begins a new life of the log: every consumer will bootstrap. To be called after a restore and
/// after a failover that may have lost committed entries.
///
/// # Errors
/// [`Error::Database`].
pub async fn renew_epoch(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(RENEW_EPOCH).execute(connection).await?;
    Ok(())
}

/// Finds the end by the lengths first, which does not read the long values themselves. The
/// weights are those of [`Entry::weight`].
const READ_AFTER: &str = "select seq, shard, tenant_id, subject, kind, version, at_us, \
     traceparent, data from feed where seq > $1 and seq <= ( \
         select coalesce(max(seq) filter (where bytes <= $3), min(seq)) from ( \
             select seq, sum(weight) over (order by seq rows unbounded preceding) as bytes from ( \
                 select seq, octet_length(data) + 128 as weight from feed \
                 where seq > $1 order by seq limit $2) as next) as summed) \
     order by seq";

/// How much one read takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) entries: i64,
    /// By [`Entry::weight`]; one entry is taken whatever it weighs.
    pub(crate) bytes: i64,
}

/// Reads entries after a position, in order.
pub(crate) async fn read_after(
    connection: impl PgExecutor<'_>,
    position: i64,
    limit: Limit,
) -> Result<Vec<Entry>, Error> {
    let query = sqlx::query(READ_AFTER).bind(position).bind(limit.entries).bind(limit.bytes);
    query.fetch_all(connection).await?.iter().map(entry).collect()
}

fn entry(row: &PgRow) -> Result<Entry, Error> {
    let shard: i16 = row.try_get(1)?;
    let data: Vec<u8> = row.try_get(8)?;
    Ok(Entry {
        seq: row.try_get(0)?,
        shard: kernel::Shard::from_number(shard).ok_or(Error::Malformed("shard"))?,
        tenant: kernel::TenantId::new(row.try_get(2)?),
        subject: row.try_get(3)?,
        kind: row.try_get(4)?,
        version: row.try_get(5)?,
        at_us: row.try_get(6)?,
        traceparent: row.try_get(7)?,
        data: data.into(),
    })
}
