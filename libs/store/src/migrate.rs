//! Forward-only migrations.
//!
//! Each is applied once, in order of version, in its own transaction together with its row in
//! `schema_migration` (version, name, SHA-256 of the SQL). An advisory lock of the session
//! makes concurrent migrators wait for each other. A file whose first line is
//! `-- no-transaction` holds one statement that cannot run inside a transaction (`create index
//! concurrently`); it must be repeatable, because it may have run without being recorded.
//! Deliberately absent: down migrations, and migrating at the start of a production service.

use std::fmt::Write as _;
use std::time::Duration;

use aws_lc_rs::digest::{self, SHA256};
use sqlx::{Connection, PgConnection};

use crate::database::Database;

/// One step of the schema.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its place in the order; never changes.
    pub version: i64,
    /// What it brings, for people.
    pub name: &'static str,
    /// The SQL, from `include_str!`; never changes once released.
    pub sql: &'static str,
}

/// Why the schema is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Migrations are missing: run `rapport migrate`.
    #[error("the schema is at version {found}, version {expected} is needed: migrate first")]
    Behind {
        /// The newest applied version, 0 for none.
        found: i64,
        /// The newest known version.
        expected: i64,
    },
    /// The database was migrated by a newer release.
    #[error("the schema is at version {found}, newer than the known {expected}")]
    Ahead {
        /// The newest applied version.
        found: i64,
        /// The newest known version.
        expected: i64,
    },
    /// An applied migration was edited, or one was inserted below an applied one.
    #[error("migration {version} differs from what was applied")]
    Changed {
        /// Which.
        version: i64,
    },
    /// The list itself is not in strictly ascending order.
    #[error("migration {version} is out of order")]
    OutOfOrder {
        /// Which.
        version: i64,
    },
    /// A migration failed; it left nothing behind.
    #[error("migration {version} failed")]
    Failed {
        /// Which.
        version: i64,
        /// Why.
        #[source]
        source: crate::Error,
    },
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] crate::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

const CREATE_TABLE: &str = "create table if not exists schema_migration (
    version bigint primary key, name text not null, checksum bytea not null,
    applied_us bigint not null default (extract(epoch from clock_timestamp()) * 1000000)::bigint)";
const TABLE_EXISTS: &str = "select to_regclass('schema_migration') is not null";
const APPLIED: &str = "select version, checksum from schema_migration order by version";
const RECORD: &str = "insert into schema_migration (version, name, checksum) values ($1, $2, $3)";
/// "rapport" in ASCII; advisory locks are per database.
const LOCK: &str = "select pg_advisory_lock(x'72617070'::int, x'6f7274'::int)";
/// A migration may run longer than a request, but must not queue others behind its lock.
const RELAX: &str = "set statement_timeout = 0; set lock_timeout = 0";
const GUARD: &str = "set lock_timeout = '5s'";
/// The first line of a file that must run outside a transaction.
const NO_TRANSACTION: &str = "-- no-transaction";

/// Brings the schema to the newest version; answers how many migrations were applied.
///
/// # Errors
/// [`Error::Changed`], [`Error::Ahead`] or [`Error::OutOfOrder`] before anything is touched,
/// [`Error::Failed`] with the earlier ones applied.
pub async fn apply(database: &Database, migrations: &[Migration]) -> Result<usize, Error> {
    in_order(migrations)?;
    // Detached: its settings and its lock end with it.
    let mut connection = database.acquire().await?.detach();
    let result = apply_on(&mut connection, migrations).await;
    let closed = tokio::time::timeout(Duration::from_secs(1), connection.close()).await;
    if closed.is_err() {
        tracing::debug!("the migration connection did not close in time");
    }
    result
}

async fn apply_on(connection: &mut PgConnection, migrations: &[Migration]) -> Result<usize, Error> {
    sqlx::raw_sql(RELAX).execute(&mut *connection).await?;
    sqlx::query(LOCK).execute(&mut *connection).await?;
    sqlx::raw_sql(GUARD).execute(&mut *connection).await?;
    sqlx::query(CREATE_TABLE).execute(&mut *connection).await?;
    let done = matching(&applied(connection).await?, migrations)?;
    let pending = &migrations[done..];
    for migration in pending {
        run(connection, migration)
            .await
            .map_err(|source| Error::Failed { version: migration.version, source })?;
        tracing::info!(version = migration.version, name = migration.name, "migration applied");
    }
    Ok(pending.len())
}

async fn run(connection: &mut PgConnection, migration: &Migration) -> Result<(), crate::Error> {
    if migration.sql.starts_with(NO_TRANSACTION) {
        sqlx::raw_sql(migration.sql).execute(&mut *connection).await?;
        return record(connection, migration).await;
    }
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(migration.sql).execute(&mut *transaction).await?;
    record(&mut transaction, migration).await?;
    transaction.commit().await?;
    Ok(())
}

async fn record(connection: &mut PgConnection, migration: &Migration) -> Result<(), crate::Error> {
    sqlx::query(RECORD)
        .bind(migration.version)
        .bind(migration.name)
        .bind(checksum(migration))
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes sure that exactly these migrations were applied.
///
/// # Errors
/// [`Error::Behind`], [`Error::Ahead`], [`Error::Changed`], or the database is away.
pub async fn check(database: &Database, migrations: &[Migration]) -> Result<(), Error> {
    in_order(migrations)?;
    let mut connection = database.acquire().await?;
    let exists: bool = sqlx::query_scalar(TABLE_EXISTS).fetch_one(&mut *connection).await?;
    let rows = if exists { applied(&mut connection).await? } else { Vec::new() };
    let done = matching(&rows, migrations)?;
    match migrations.last() {
        Some(newest) if done < migrations.len() => Err(Error::Behind {
            found: rows.last().map_or(0, |(version, _)| *version),
            expected: newest.version,
        }),
        _ => Ok(()),
    }
}

/// A name for this exact list, for caches of migrated databases (hex, 16 digits).
#[must_use]
pub fn fingerprint(migrations: &[Migration]) -> String {
    let mut context = digest::Context::new(&SHA256);
    for migration in migrations {
        context.update(&migration.version.to_be_bytes());
        context.update(&checksum(migration));
    }
    let mut text = String::new();
    for byte in context.finish().as_ref().iter().take(8) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

async fn applied(connection: &mut PgConnection) -> Result<Vec<(i64, Vec<u8>)>, Error> {
    Ok(sqlx::query_as(APPLIED).fetch_all(connection).await?)
}

fn checksum(migration: &Migration) -> Vec<u8> {
    digest::digest(&SHA256, migration.sql.as_bytes()).as_ref().to_vec()
}

fn in_order(migrations: &[Migration]) -> Result<(), Error> {
    for pair in migrations.windows(2) {
        if pair[0].version >= pair[1].version {
            return Err(Error::OutOfOrder { version: pair[1].version });
        }
    }
    Ok(())
}

/// How many of `migrations` were applied: the applied ones must be a prefix of them.
fn matching(applied: &[(i64, Vec<u8>)], migrations: &[Migration]) -> Result<usize, Error> {
    for (position, (version, recorded)) in applied.iter().enumerate() {
        let Some(known) = migrations.get(position) else {
            let expected = migrations.last().map_or(0, |newest| newest.version);
            return Err(Error::Ahead { found: *version, expected });
        };
        if known.version != *version || checksum(known) != *recorded {
            return Err(Error::Changed { version: known.version });
        }
    }
    Ok(applied.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migration = Migration { version: 1, name: "one", sql: "select 1" };
    const TWO: Migration = Migration { version: 2, name: "two", sql: "select 2" };

    #[test]
    fn applied_migrations_must_be_a_prefix_of_the_known() {
        let row = |migration: &Migration| (migration.version, checksum(migration));
        assert!(matches!(matching(&[], &[ONE, TWO]), Ok(0)));
        assert!(matches!(matching(&[row(&ONE)], &[ONE, TWO]), Ok(1)));
        assert!(matches!(matching(&[row(&ONE), row(&TWO)], &[ONE]), Err(Error::Ahead { .. })));
        let edited = Migration { sql: "select 3", ..ONE };
        assert!(matches!(matching(&[row(&ONE)], &[edited]), Err(Error::Changed { version: 1 })));
        assert!(matches!(matching(&[row(&TWO)], &[ONE, TWO]), Err(Error::Changed { version: 1 })));
        assert!(matches!(in_order(&[TWO, ONE]), Err(Error::OutOfOrder { version: 1 })));
    }
}
