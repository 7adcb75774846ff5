//! The private Postgres and Redis of `rapport up`: one database per service.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use embedded::{Listen, Postgres, PostgresOptions, Redis, RedisOptions};
use store::{Cache, Database, Migration};

use super::claim::Claim;
use super::{Databases, Options, SERVICES};
use crate::backup::{self, Keeper, Metrics, Target};
use crate::settings::BackupSettings;

/// The connections of one pool: on two cores more of them only wait for each other.
const POOL: u32 = 12;

/// Private servers that stop with their owner.
pub struct Private {
    /// Dropped first: it works with the servers.
    keeper: Option<Keeper>,
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
    // A backup takes up to fifteen more.
    options.max_connections = 5 * (2 * POOL + 5) + 30;
    options
}

/// Whether Postgres hands finished log out, and how soon.
pub(crate) fn archive(settings: &BackupSettings) -> Option<Duration> {
    settings.enabled.then(|| Duration::from_secs(settings.archive_seconds))
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
        let settings = crate::settings::load(&options.layers)?;
        wanted.archive = archive(&settings.backup);
        if settings.listen.postgres_port != 0 {
            wanted.listen = Listen::Loopback { port: settings.listen.postgres_port };
        }
        let postgres = Postgres::start(&wanted).await?;
        let redis = Redis::start(&redis_options(&options.directory)).await?;
        Ok(Self { keeper: None, postgres, redis, _claim: claim })
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

    /// Begins to make backups by itself, if the settings want it. After [`Private::databases`].
    ///
    /// # Errors
    /// When the place of backups, its key or the programs of Postgres cannot be used.
    pub(super) fn keep(&mut self, options: &Options, metrics: Metrics) -> anyhow::Result<()> {
        let settings = crate::settings::load(&options.layers)?.backup;
        if !settings.enabled {
            return Ok(());
        }
        let wanted = postgres_options(&options.directory, options.pg_bin.as_deref());
        let life = backup::incarnation(&wanted.dir)?;
        let url = self.postgres.url("identity");
        let mut pool = store::database::Options::new(&url, "rapport-backup");
        pool.max_connections = 1;
        let charge = backup::Charge {
            target: Target::new(&url, wanted.programs()?, Some(life))?,
            incarnation: life,
            spool: wanted.spool(),
            directory: backup::directory(&settings, &options.directory),
            key: backup::key(&options.directory.join("keys"))?,
            scratch: backup::scratch(&settings, &options.directory),
            pg_bin: options.pg_bin.clone(),
            database: Database::connect_lazily(&pool)?,
            metrics,
            settings,
        };
        self.keeper = Some(Keeper::start(charge)?);
        Ok(())
    }

    /// Stops both; what was committed stays in the directory.
    ///
    /// # Errors
    /// When a server does not stop.
    pub async fn stop(self) -> anyhow::Result<()> {
        let shipper = match self.keeper {
            Some(keeper) => Some(keeper.quit().await),
            None => None,
        };
        let redis = self.redis.stop().await;
        self.postgres.stop().await?;
        // Postgres finishes its last segment as it stops.
        if let Some(shipper) = shipper {
            backup::blocking(move || shipper.round())
                .await
                .context("archiving the end of the log")?;
        }
        Ok(redis?)
    }
}

/// Creates the database of a service if it is not there.
pub(crate) async fn ensure(postgres: &Postgres, service: &str) -> anyhow::Result<()> {
    let options = store::database::Options::new(postgres.url("postgres"), "rapport");
    let admin = Database::connect(&options).await?;
    let created = create(&admin, service).await;
    admin.close().await;
    created
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
