//! Keeping the log: partitions made ahead, old ones dropped.
//!
//! One replica at a time does it (session advisory lock). No statement takes a lock that stops
//! writers: a partition is created aside and attached, detached concurrently and then dropped,
//! both under SHARE UPDATE EXCLUSIVE. A detach that was cut short is finished by the next round.
//! The partition that holds max(seq) is never dropped: the next number is max(seq) + 1.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::Database;
use tokio_util::sync::CancellationToken;

use crate::schema::ROWS_PER_PARTITION;
use crate::{Error, Metrics, schema};

/// How much is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Rows of a new partition.
    pub rows_per_partition: i64,
    /// How many empty partitions are kept ready behind the head's.
    pub ahead: usize,
    /// A partition whose last entry is older is dropped.
    pub max_age: Duration,
    /// The oldest partitions are dropped while all together take more on disk.
    pub max_bytes: i64,
    /// How long between two rounds.
    pub interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rows_per_partition: ROWS_PER_PARTITION,
            ahead: 2,
            max_age: Duration::from_secs(7 * 86_400),
            max_bytes: 64 << 30,
            interval: Duration::from_secs(30),
        }
    }
}

/// What one round found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Partitions created.
    pub created: usize,
    /// Partitions dropped.
    pub dropped: usize,
    /// Partitions ready behind the head's.
    pub ahead: usize,
    /// Size on disk of what is kept.
    pub bytes: i64,
}

/// A partition: entries `lower..upper`.
#[derive(Debug, Clone)]
struct Partition {
    name: String,
    lower: i64,
    upper: i64,
    bytes: i64,
    pending: bool,
}

/// Keeps the log until cancelled; a failed round is logged and repeated.
pub async fn run(
    database: Database,
    options: Options,
    metrics: Metrics,
    cancel: CancellationToken,
) {
    loop {
        match retain(&database, &options).await {
            Ok(Some(report)) => {
                metrics.partitions_ahead.set(report.ahead as i64);
                metrics.bytes.set(report.bytes);
            }
            Ok(None) => {} // another replica does it
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "feed not maintained");
            }
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(options.interval) => {}
        }
    }
}

const TRY_LOCK: &str = "select pg_try_advisory_lock(7202)";
const UNLOCK: &str = "select pg_advisory_unlock_all()";

/// One round; nothing when another replica is at it.
///
/// # Errors
/// [`Error::Database`]; what was done before it stays done.
pub async fn retain(database: &Database, options: &Options) -> Result<Option<Report>, Error> {
    // Its own connection: closing it releases the lock, whatever happens.
    let mut connection = database.acquire().await?.detach();
    if !sqlx::query_scalar::<_, bool>(TRY_LOCK).fetch_one(&mut connection).await? {
        return Ok(None);
    }
    let head = schema::head(&mut connection).await?.seq;
    let mut report =
        Report { created: extend(&mut connection, head, options).await?, ..Report::default() };
    report.dropped = shorten(&mut connection, head, options).await?;
    for partition in partitions(&mut connection).await? {
        report.ahead += usize::from(partition.lower > head);
        report.bytes += partition.bytes;
    }
    // Closing alone would release the lock a little later.
    sqlx::query(UNLOCK).execute(&mut connection).await?;
    connection.close().await?;
    Ok(Some(report))
}

const PARTITIONS: &str = r"
    select c.relname::text as name,
           substring(pg_get_expr(c.relpartbound, c.oid) from 'FROM \(''(\d+)''\)')::bigint as lower,
           substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \(''(\d+)''\)')::bigint as upper,
           pg_total_relation_size(c.oid) as bytes,
           i.inhdetachpending as pending
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'feed'::regclass
    order by 2";

async fn partitions(connection: &mut PgConnection) -> Result<Vec<Partition>, Error> {
    let rows: Vec<(String, i64, i64, i64, bool)> =
        sqlx::query_as(PARTITIONS).fetch_all(connection).await?;
    let partition =
        |(name, lower, upper, bytes, pending)| Partition { name, lower, upper, bytes, pending };
    Ok(rows.into_iter().map(partition).collect())
}

/// Creates partitions until enough are ready behind the head's.
async fn extend(
    connection: &mut PgConnection,
    head: i64,
    options: &Options,
) -> Result<usize, Error> {
    let existing = partitions(connection).await?;
    let mut ready = existing.iter().filter(|partition| partition.lower > head).count();
    let mut lower = existing.last().map_or(0, |partition| partition.upper);
    let mut created = 0;
    while ready < options.ahead {
        let upper = lower + options.rows_per_partition;
        let name = format!("feed_p{lower}");
        // CREATE … PARTITION OF would lock the whole log exclusively; ATTACH does not.
        let create = format!(
            "begin; create table {name} (like feed including defaults including constraints); \
             revoke all on {name} from public; \
             alter table feed attach partition {name} for values from ({lower}) to ({upper}); \
             commit"
        );
        execute(connection, create).await?;
        tracing::info!(partition = name, "feed partition created");
        ready += usize::from(lower > head);
        created += 1;
        lower = upper;
    }
    Ok(created)
}

const LAST_ENTRY_AGE: &str = "select \
     (extract(epoch from clock_timestamp()) * 1000000)::bigint - at_us from feed where seq = $1";

/// Drops the oldest partitions that are too old or too much, and remains of earlier rounds.
async fn shorten(
    connection: &mut PgConnection,
    head: i64,
    options: &Options,
) -> Result<usize, Error> {
    let max_age_us = i64::try_from(options.max_age.as_micros()).unwrap_or(i64::MAX);
    let all = partitions(connection).await?;
    let mut bytes: i64 = all.iter().map(|partition| partition.bytes).sum();
    let mut dropped = 0;
    // Oldest first: the log stays one range. `upper > head` holds max(seq), or lies ahead.
    for partition in all.iter().take_while(|partition| partition.upper <= head) {
        let last = partition.upper - 1;
        let age: Option<i64> =
            sqlx::query_scalar(LAST_ENTRY_AGE).bind(last).fetch_optional(&mut *connection).await?;
        let too_old = age.is_some_and(|age| age > max_age_us);
        let too_much = bytes > options.max_bytes;
        if !partition.pending && !too_old && !too_much {
            break;
        }
        let how = if partition.pending { "finalize" } else { "concurrently" };
        let name = &partition.name;
        execute(connection, format!("alter table feed detach partition {name} {how}")).await?;
        bytes -= partition.bytes;
        dropped += 1;
        tracing::info!(partition = name, too_old, too_much, "feed partition dropped");
    }
    drop_detached(connection).await?;
    Ok(dropped)
}

const DETACHED: &str = "select c.relname::text from pg_class c
    where c.relname ~ '^feed_p[0-9]+$' and c.relkind = 'r' and not c.relispartition
      and c.relnamespace = (select relnamespace from pg_class where oid = 'feed'::regclass)";

async fn drop_detached(connection: &mut PgConnection) -> Result<(), Error> {
    let names: Vec<String> = sqlx::query_scalar(DETACHED).fetch_all(&mut *connection).await?;
    for name in names {
        execute(connection, format!("drop table {name}")).await?;
    }
    Ok(())
}

/// Runs statements whose only variable parts are numbers and names made by this module.
async fn execute(connection: &mut PgConnection, sql: String) -> Result<(), Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}
