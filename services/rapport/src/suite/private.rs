//! The private Postgres and Redis of `rapport up`: one database per service.

use std::path::Path;

use anyhow::Context as _;
use embedded::{Postgres, PostgresOptions, Redis, RedisOptions};
use store::{Cache, Database, Migration};

use super::claim::Claim;
use super::{Databases, Options, SERVICES};

/// The connections of one pool: on two cores more of them only wait for each other.
const POOL: u32 = 12;

/// Private servers that stop with their owner.
pub struct Private {
    postgres: Postgres,
    redis: Redis,
    /// Given back after the servers have stopped: the last field is dropped last.
    _claim: Claim,
}

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Private").finish_non_exhaustive()
    }
}

/// The migrations of a service.
#[must_use]
pub fn migrations(service: &str) -> &'static [Migration] {
    match service {
        "identity" => identity::MIGRATIONS,
        "profile" => profile::MIGRATIONS,
        "scoring" => scoring::MIGRATIONS,
        "routing" => routing::MIGRATIONS,
        "feedback" => feedback::MIGRATIONS,
        _ => &[],
    }
}

/// How Postgres is run below a data directory.
pub(crate) fn postgres_options(directory: &Path, bin: Option<&Path>) -> PostgresOptions {
    let mut options = PostgresOptions::new(directory.join("postgres"));
    options.bin = bin.map(Path::to_owned);
    // Five services with two pools and the tail of a feed each.
    options.max_connections = 5 * (2 * POOL + 5) + 10;
    options
}

/// How Redis is run below a data directory.
pub(crate) fn redis_options(directory: &Path) -> RedisOptions {
    RedisOptions::new(directory.join("redis"))
}

impl Private {
    /// Adopts or starts both servers below the claimed directory.
    ///
    /// # Errors
    /// When one is not installed or does not start; the message says what to install.
    pub(super) async fn start(claim: Claim, options: &Options) -> anyhow::Result<Self> {
        let mut wanted = postgres_options(&options.directory, options.pg_bin.as_deref());
        wanted.durable = options.durable;
        let postgres = Postgres::start(&wanted).await?;
        let redis = Redis::start(&redis_options(&options.directory)).await?;
        Ok(Self { postgres, redis, _claim: claim })
    }

    /// Postgres.
    #[must_use]
    pub const fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// Redis.
    #[must_use]
    pub const fn redis(&self) -> &Redis {
        &self.redis
    }

    /// Creates the database of each service if it is not there, brings its schema to the
    /// newest version, and opens it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn databases(&self) -> anyhow::Result<Databases> {
        let admin = Database::connect(&store::database::Options::new(
            self.postgres.url("postgres"),
            "rapport-up",
        ))
        .await?;
        let mut databases = Vec::new();
        for service in SERVICES {
            create(&admin, service).await?;
            let mut options = store::database::Options::new(
                self.postgres.url(service),
                format!("rapport-{service}"),
            );
            options.max_connections = POOL;
            let database = Database::connect(&options).await?;
            store::migrate::apply(&database, migrations(service))
                .await
                .with_context(|| format!("migrating {service}"))?;
            databases.push(database);
        }
        admin.close().await;
        Databases::from_five(databases)
    }

    /// The cache of a service.
    ///
    /// # Errors
    /// When the address is malformed.
    pub fn cache(&self, service: &str) -> anyhow::Result<Cache> {
        Ok(Cache::new(&self.redis.url(), format!("rapport:{service}:"))?)
    }

    /// Stops both; what was committed stays in the directory.
    ///
    /// # Errors
    /// When a server does not stop.
    pub async fn stop(self) -> anyhow::Result<()> {
        let redis = self.redis.stop().await;
        self.postgres.stop().await?;
        Ok(redis?)
    }
}

const EXISTS: &str = "select exists (select from pg_database where datname = $1)";

async fn create(admin: &Database, service: &str) -> anyhow::Result<()> {
    let mut connection = admin.acquire().await?;
    let exists: bool = sqlx::query_scalar(EXISTS).bind(service).fetch_one(&mut *connection).await?;
    if exists {
        return Ok(());
    }
    // The name is one of SERVICES; CREATE DATABASE takes no parameters.
    let statement = sqlx::AssertSqlSafe(format!("create database {service}"));
    sqlx::query(statement).execute(&mut *connection).await?;
    Ok(())
}
