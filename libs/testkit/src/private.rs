//! Servers of one test's own, which it may kill, pause and restart.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use embedded::{Care, Listen, OnDrop, Postgres, PostgresOptions, Redis, RedisOptions};

use crate::cache::TestRedis;
use crate::databases::{Databases, TestDatabase};
use crate::place;
use crate::watchdog::{self, Afterwards, InUse};

const PATIENCE: Duration = Duration::from_secs(10);

/// A Postgres and a Redis for one test; stopped and deleted with this value, or by a
/// watchdog if the test is killed.
pub struct PrivateStack {
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    databases: Databases,
    dir: PathBuf,
    _in_use: InUse,
}

impl PrivateStack {
    /// Starts fresh servers. Fault tests ask for `durable`: what was committed must survive
    /// [`PrivateStack::kill_postgres`].
    ///
    /// # Errors
    /// A server does not start.
    pub async fn start(durable: bool) -> anyhow::Result<Self> {
        Self::begin(durable, Listen::SocketOnly).await
    }

    /// Starts fresh servers, not durable, of which Postgres listens on a free port as well: for
    /// what asks for passwords, and for programs of others.
    ///
    /// # Errors
    /// A server does not start.
    pub async fn start_on_port() -> anyhow::Result<Self> {
        Self::begin(false, Listen::Loopback { port: 0 }).await
    }

    async fn begin(durable: bool, listen: Listen) -> anyhow::Result<Self> {
        let dir = place::private();
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let dir = dir.canonicalize()?;
        let in_use = watchdog::sign_in(&dir, PATIENCE, Afterwards::Remove).await?;
        let care = Care { supervise: false, on_drop: OnDrop::Stop, ..Care::default() };
        let mut options = PostgresOptions::new(dir.join("postgres"));
        options.bin = place::postgres_programs();
        options.durable = durable;
        options.listen = listen;
        options.care = care.clone();
        let mut redis_options = RedisOptions::new(dir.join("redis"));
        redis_options.care = care;
        let postgres = Postgres::start(&options).await?;
        let redis = Redis::start(&redis_options).await?;
        let databases = Databases::new(postgres.url("postgres"))?;
        Ok(Self { postgres: Some(postgres), redis: Some(redis), databases, dir, _in_use: in_use })
    }

    /// As [`crate::Stack::database`].
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

    /// The administrator's address; it stays the same over kills and restarts.
    #[must_use]
    pub fn admin_url(&self) -> &str {
        self.databases.admin_url()
    }

    /// The administrator's address of a database through the port, if there is one.
    #[must_use]
    pub fn tcp_url(&self, database: &str) -> Option<String> {
        self.postgres.as_ref()?.tcp_url(database)
    }

    /// This Redis with a fresh prefix.
    ///
    /// # Errors
    /// Never while the stack lives.
    pub fn redis(&self) -> anyhow::Result<TestRedis> {
        Ok(TestRedis::new(self.redis_server()?.url()))
    }

    /// Kills the postmaster (SIGKILL) and waits for its end; the sessions die with it.
    ///
    /// # Errors
    /// The process does not end.
    pub async fn kill_postgres(&self) -> anyhow::Result<()> {
        Ok(self.postgres_server()?.kill().await?)
    }

    /// Starts Postgres again at the same address and waits until it has recovered.
    ///
    /// # Errors
    /// The server does not start.
    pub async fn start_postgres(&self) -> anyhow::Result<()> {
        Ok(self.postgres_server()?.revive().await?)
    }

    /// Kills Redis (SIGKILL).
    ///
    /// # Errors
    /// The process does not end.
    pub async fn kill_redis(&self) -> anyhow::Result<()> {
        Ok(self.redis_server()?.kill().await?)
    }

    /// Starts Redis again, empty, at the same address.
    ///
    /// # Errors
    /// The server does not start.
    pub async fn start_redis(&self) -> anyhow::Result<()> {
        Ok(self.redis_server()?.revive().await?)
    }

    /// Empties Redis, as an eviction storm or a careless operator would.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn flush_redis(&self) -> anyhow::Result<()> {
        let client = redis::Client::open(self.redis_server()?.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
        Ok(())
    }

    /// Closes every connection to Redis, which keeps what it holds.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn disconnect_redis(&self) -> anyhow::Result<()> {
        let client = redis::Client::open(self.redis_server()?.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
        kill.exec_async(&mut connection).await?;
        Ok(())
    }

    fn postgres_server(&self) -> anyhow::Result<&Postgres> {
        self.postgres.as_ref().context("the stack has ended")
    }

    fn redis_server(&self) -> anyhow::Result<&Redis> {
        self.redis.as_ref().context("the stack has ended")
    }
}

impl Drop for PrivateStack {
    fn drop(&mut self) {
        // The servers end before their directory goes.
        drop(self.postgres.take());
        drop(self.redis.take());
        watchdog::remove(&self.dir);
    }
}
