//! One instant of all databases: a restore point in the log, and snapshots that show exactly what a
//! recovery to it will show, so that rows can be counted on both sides.
//!
//! That holds if no transaction is between its commit in the log and its end while the point is
//! made. So: take a snapshot in every database, make the point, then ask whether any session has a
//! transaction id, then whether a new snapshot still is the same. A transaction that reached the log
//! before the point without being in the snapshots shows in one of the two. If there is no such
//! instant by itself for a while, writers are made to wait for at most a tenth of a second per try.

use std::time::{Duration, Instant as Clock};

use ::backup::archive::position;
use ::backup::{Database, Migration, Table};
use anyhow::Context as _;
use sqlx::{AssertSqlSafe, PgConnection};

use super::Target;

const QUIET: Duration = Duration::from_millis(1_500);
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN: Duration = Duration::from_millis(20);

const BEGIN: &str = "begin isolation level repeatable read read only";
const SNAPSHOT: &str = "select pg_current_snapshot()::text";
const POINT: &str = "select pg_create_restore_point($1)::text";
const AT_WORK: &str = "select count(*) from pg_stat_activity where backend_xid is not null";
/// Only what is in the log: unlogged tables are empty after a recovery.
const TABLES: &str = "select c.oid::regclass::text from pg_class c \
     join pg_namespace n on n.oid = c.relnamespace \
     where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence = 'p' \
     and n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%' order by 1";
const MIGRATIONS: &str =
    "select version, encode(checksum, 'hex') from schema_migration order by version";
/// For how long writers wait at most, from the first lock to the last.
const PAUSE: Duration = Duration::from_millis(100);
/// The server ends the wait as well: ours may take a nap, or be gone.
const LIMIT: &str = "select set_config('statement_timeout', $1, true), \
     set_config('idle_in_transaction_session_timeout', $1, true)";
const FORBIDDEN: &str = "42501";

/// The restore point and what was there.
#[derive(Debug)]
pub(super) struct Instant {
    pub(super) name: String,
    /// Where the restore point ends in the log.
    pub(super) position: u64,
    pub(super) counted: bool,
    pub(super) databases: Vec<Database>,
}

/// Makes a restore point and counts the rows of the databases at it.
pub(super) async fn mark(target: &Target, id: &str, names: &[String]) -> anyhow::Result<Instant> {
    let mut admin = target.connect("postgres").await?;
    let (mut readers, mut holders) = (Vec::new(), Vec::new());
    for name in names {
        readers.push(target.connect(name).await?);
        holders.push(target.connect(name).await?);
    }
    let began = Clock::now();
    let mut may_hold = true;
    for attempt in 1.. {
        let name = format!("rapport {id} {attempt}");
        let mut tried = false;
        if may_hold && began.elapsed() > QUIET {
            tried = true;
            may_hold = hold(&mut holders).await? != Hold::Forbidden;
        }
        let found = attempt_at(&mut admin, &mut readers, &name).await;
        if tried {
            release(target, names, &mut holders).await?;
        }
        let (position, same) = found?;
        let counted = same.is_some();
        if counted || began.elapsed() > PATIENCE {
            let databases = survey(names, &mut readers, counted).await?;
            return Ok(Instant { name, position, counted, databases });
        }
        end(&mut readers).await?;
        tokio::time::sleep(BETWEEN).await;
    }
    unreachable_end()
}

/// The loop above has no end of its own.
fn unreachable_end() -> anyhow::Result<Instant> {
    anyhow::bail!("no restore point was made")
}

/// Snapshots, point, questions. Something if the snapshots show what the point shows.
async fn attempt_at(
    admin: &mut PgConnection,
    readers: &mut [PgConnection],
    name: &str,
) -> anyhow::Result<(u64, Option<()>)> {
    let mut snapshots = Vec::new();
    for reader in readers {
        sqlx::query(BEGIN).execute(&mut *reader).await?;
        let snapshot: String = sqlx::query_scalar(SNAPSHOT).fetch_one(&mut *reader).await?;
        snapshots.push(snapshot);
    }
    let at: String = sqlx::query_scalar(POINT)
        .bind(name)
        .fetch_one(&mut *admin)
        .await
        .context("making a restore point (the role must be allowed pg_create_restore_point)")?;
    let at_work: i64 = sqlx::query_scalar(AT_WORK).fetch_one(&mut *admin).await?;
    let after: String = sqlx::query_scalar(SNAPSHOT).fetch_one(&mut *admin).await?;
    let position = position(&at).context("the position of the restore point")?;
    // `xmin:xmax:in progress`: nothing in progress.
    let is_quiet = after.split(':').nth(2) == Some("");
    let same = at_work == 0 && is_quiet && snapshots.iter().all(|snapshot| *snapshot == after);
    Ok((position, same.then_some(())))
}

/// What came of a try to make writers wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// They wait.
    Held,
    /// Some of them work for longer than we may wait.
    Busy,
    /// The role may not.
    Forbidden,
}

/// Makes writers wait, with one deadline over all databases.
async fn hold(holders: &mut [PgConnection]) -> anyhow::Result<Hold> {
    let deadline = Clock::now() + PAUSE;
    for position in 0..holders.len() {
        let holder = &mut holders[position];
        sqlx::query("begin").execute(&mut *holder).await?;
        let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut *holder).await?;
        if tables.is_empty() {
            continue;
        }
        let rest = deadline.saturating_duration_since(Clock::now()).as_millis();
        let mut result = Hold::Busy;
        // Zero would be no limit at all.
        if rest > 0 {
            sqlx::query(LIMIT).bind(rest.to_string()).execute(&mut *holder).await?;
            // Names from the catalogue, quoted by it.
            let lock = format!("lock table {} in share mode", tables.join(", "));
            let locked = sqlx::query(AssertSqlSafe(lock)).execute(&mut *holder).await;
            result = verdict(locked.err());
        }
        if result != Hold::Held {
            // At once; whoever called releases again, should this fail.
            let _ended = end(&mut holders[..=position]).await;
            return Ok(result);
        }
    }
    Ok(Hold::Held)
}

fn verdict(error: Option<sqlx::Error>) -> Hold {
    let Some(error) = error else { return Hold::Held };
    let code = error.as_database_error().and_then(|said| said.code());
    if code.as_deref() != Some(FORBIDDEN) {
        return Hold::Busy;
    }
    tracing::warn!(
        event = "writers_not_held",
        %error,
        "grant the role of the backup pg_write_all_data, or update on all tables: without it a busy \
         server's rows cannot be counted"
    );
    Hold::Forbidden
}

/// Lets writers go on.
async fn release(
    target: &Target,
    names: &[String],
    holders: &mut Vec<PgConnection>,
) -> anyhow::Result<()> {
    if end(holders).await.is_ok() {
        return Ok(());
    }
    // The server has ended a session whose time was up. The others end with ours.
    holders.clear();
    for name in names {
        holders.push(target.connect(name).await?);
    }
    Ok(())
}

async fn end(sessions: &mut [PgConnection]) -> anyhow::Result<()> {
    for session in sessions {
        sqlx::query("rollback").execute(&mut *session).await?;
    }
    Ok(())
}

/// Migrations and rows of every database.
async fn survey(
    names: &[String],
    readers: &mut [PgConnection],
    counted: bool,
) -> anyhow::Result<Vec<Database>> {
    let mut databases = Vec::new();
    for (name, reader) in names.iter().zip(readers) {
        let mut database = schema(name, reader).await?;
        if counted {
            database.tables = count(reader).await?;
        }
        databases.push(database);
    }
    Ok(databases)
}

/// The migrations of a database.
pub(super) async fn schema(name: &str, session: &mut PgConnection) -> anyhow::Result<Database> {
    let rows: Vec<(i64, String)> = sqlx::query_as(MIGRATIONS).fetch_all(&mut *session).await?;
    let migration = |(version, checksum)| Migration { version, checksum };
    let migrations = rows.into_iter().map(migration).collect();
    Ok(Database { name: name.to_owned(), migrations, tables: Vec::new() })
}

/// The rows of every table, as the session sees them.
pub(super) async fn count(session: &mut PgConnection) -> anyhow::Result<Vec<Table>> {
    let mut tables = Vec::new();
    let names: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut *session).await?;
    for name in names {
        let statement = AssertSqlSafe(format!("select count(*) from {name}"));
        let rows: i64 = sqlx::query_scalar(statement).fetch_one(&mut *session).await?;
        tables.push(Table { name, rows });
    }
    Ok(tables)
}
