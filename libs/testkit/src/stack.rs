//! The servers that all tests of this checkout share.

use std::env;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use embedded::{Care, OnDrop, Postgres, PostgresOptions, Redis, RedisOptions};
use tokio::sync::OnceCell;

use crate::cache::TestRedis;
use crate::databases::{Databases, TestDatabase};
use crate::place;
use crate::watchdog::{self, Afterwards, InUse};

const PATIENCE: Duration = Duration::from_secs(60);
static STACK: OnceCell<Stack> = OnceCell::const_new();

/// One Postgres and one Redis for all tests.
pub struct Stack {
    databases: Databases,
    redis_url: String,
    /// Held by the process for life; absent when both servers were given from outside.
    _in_use: Option<InUse>,
}

impl Stack {
    /// The shared servers; the first caller in a process starts or adopts them.
    ///
    /// # Panics
    /// They cannot be started: the message says what to install or set.
    #[expect(clippy::panic, reason = "no test can go on without its servers")]
    pub async fn get() -> &'static Self {
        match STACK.get_or_try_init(Self::start).await {
            Ok(stack) => stack,
            Err(error) => panic!("the test servers did not start: {error:#}"),
        }
    }

    async fn start() -> anyhow::Result<Self> {
        let given_database = env::var("RAPPORT_TEST_DATABASE_URL").ok();
        let given_redis = env::var("RAPPORT_TEST_REDIS_URL").ok();
        if let (Some(database), Some(redis_url)) = (&given_database, &given_redis) {
            let databases = Databases::new(database.clone())?;
            return Ok(Self { databases, redis_url: redis_url.clone(), _in_use: None });
        }
        let dir = place::shared();
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let dir = dir.canonicalize()?;
        let in_use = watchdog::sign_in(&dir, PATIENCE, Afterwards::Keep).await?;
        let databases = match given_database {
            Some(url) => Databases::new(url)?,
            None => Self::start_postgres(&dir).await?,
        };
        let redis_url = match given_redis {
            Some(url) => url,
            None => {
                let mut options = RedisOptions::new(dir.join("redis"));
                options.care = shared_care();
                Redis::start(&options).await?.url()
            }
        };
        Ok(Self { databases, redis_url, _in_use: Some(in_use) })
    }

    async fn start_postgres(dir: &Path) -> anyhow::Result<Databases> {
        let postgres = Postgres::start(&shared_options(dir)).await?;
        let databases = Databases::new(postgres.url("postgres"))?;
        if !postgres.adopted() {
            databases.drop_left_over().await?;
        }
        Ok(databases)
    }

    /// A database of this test's own: a clone of the template `name`, which `migrate` fills
    /// once for each `key`. The key names the version of the migrations, for instance their
    /// concatenated text; `migrate` gets the address of an empty database.
    ///
    /// # Errors
    /// The migration fails, or the server refuses.
    pub async fn database<M, F, E>(
        &self,
        name: &str,
        key: &str,
        migrate: M,
    ) -> anyhow::Result<TestDatabase>
    where
        M: FnMut(String) -> F,
        F: Future<Output = Result<(), E>>,
        E: Into<anyhow::Error>,
    {
        self.databases.create(name, key, migrate).await
    }

    /// A corner of Redis of this test's own.
    #[must_use]
    pub fn redis(&self) -> TestRedis {
        TestRedis::new(self.redis_url.clone())
    }

    /// The administrator's address of the shared Postgres.
    #[must_use]
    pub fn admin_url(&self) -> &str {
        self.databases.admin_url()
    }
}

/// Nobody owns the shared servers: no supervision, and they survive each test process.
fn shared_care() -> Care {
    Care { supervise: false, on_drop: OnDrop::Leave, ..Care::default() }
}

fn shared_options(dir: &Path) -> PostgresOptions {
    let mut options = PostgresOptions::new(dir.join("postgres"));
    options.bin = place::postgres_programs();
    options.durable = false;
    options.max_connections = 400;
    options.shared_buffers_mib = 128;
    options.care = shared_care();
    // A worker in a template would hold up its cloning; tests that read plans run ANALYZE.
    options.settings = vec![("autovacuum".to_owned(), "off".to_owned())];
    options
}
