//! The pool of one service's database.
//!
//! A connection that was used within the last second is handed out unchecked (a check is a
//! round trip, paid by every hot call); one that idled longer is pinged first. What breaks
//! in between is repeated by [`transaction!`](crate::transaction!).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Postgres, Transaction};

use crate::error::{Cause, Error};
use crate::pool_metrics::{Gauges, Pools};

/// How to reach the database and what to allow there.
#[derive(Clone)]
pub struct Options {
    /// `postgres://user:password@host:port/database`, or
    /// `postgres:///database?host=/directory/of/socket&user=name`. Never printed.
    pub url: String,
    /// Shown in `pg_stat_activity`.
    pub application_name: String,
    /// Upper bound of the pool.
    pub max_connections: u32,
    /// How long a call waits for a connection.
    pub acquire_timeout: Duration,
    /// The cap of one statement.
    pub statement_timeout: Duration,
    /// How long a statement waits for a lock.
    pub lock_timeout: Duration,
    /// How long a transaction may sit between two statements.
    pub idle_in_transaction_session_timeout: Duration,
    /// A connection older than this is replaced.
    pub max_lifetime: Duration,
}

impl Options {
    /// The defaults for `url`.
    pub fn new(url: impl Into<String>, application_name: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            application_name: application_name.into(),
            max_connections: 10,
            acquire_timeout: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(1),
            idle_in_transaction_session_timeout: Duration::from_secs(10),
            max_lifetime: Duration::from_secs(30 * 60),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("application_name", &self.application_name)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

/// A handle on the pool; cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
    pools: Arc<Pools>,
}

/// Idle connections older than this are pinged before use.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

impl Database {
    /// Builds the pool and makes sure that the database answers.
    ///
    /// # Errors
    /// [`Error::Internal`] for a malformed url, [`Error::Unavailable`] if nobody answers.
    pub async fn connect(options: &Options) -> Result<Self, Error> {
        let database = Self::connect_lazily(options)?;
        database.ping().await?;
        Ok(database)
    }

    /// Builds the pool without connecting. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Internal`] for a malformed url.
    pub fn connect_lazily(options: &Options) -> Result<Self, Error> {
        let millis = |duration: Duration| duration.as_millis().to_string();
        // The parse error may quote the url, and with it a password.
        let connect = PgConnectOptions::from_str(&options.url)
            .map_err(|_| Error::internal("the database url is malformed"))?
            .application_name(&options.application_name)
            .statement_cache_capacity(256)
            .options([
                ("statement_timeout", millis(options.statement_timeout)),
                ("lock_timeout", millis(options.lock_timeout)),
                (
                    "idle_in_transaction_session_timeout",
                    millis(options.idle_in_transaction_session_timeout),
                ),
                ("default_transaction_isolation", "read committed".to_owned()),
                ("timezone", "UTC".to_owned()),
            ])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.acquire_timeout)
            .max_lifetime(options.max_lifetime)
            .idle_timeout(Duration::from_secs(10 * 60))
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    Ok(meta.idle_for < TRUSTED_IDLE || connection.ping().await.is_ok())
                })
            })
            .connect_lazy_with(connect);
        let pools = Arc::<Pools>::default();
        pools.add(&pool);
        Ok(Self { pool, pools })
    }

    /// A second pool of the same size, lazily connected, whose sessions plan every statement
    /// once as nested loops over indexes: for services whose statements all go by key. A plan
    /// made while a table was nearly empty would scan it for as long as its session lives.
    /// Needs a tokio runtime.
    ///
    /// A statement for many keys of one tenant must take the tenant from the array as well:
    /// `unnest(array_fill($1::uuid, array[cardinality($2)]), $2, …) k(tenant_id, …)`. Compared with
    /// `$1` alone, the planner may walk the whole tenant and look each row up in the array.
    #[must_use]
    pub fn keyed(&self) -> Self {
        let connect = (*self.pool.connect_options()).clone().options([
            ("enable_seqscan", "off"),
            ("enable_bitmapscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("plan_cache_mode", "force_generic_plan"),
        ]);
        let pool = self.pool.options().clone().connect_lazy_with(connect);
        self.pools.add(&pool);
        Self { pool, pools: Arc::clone(&self.pools) }
    }

    /// Shows how full the pools are, the keyed one among them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(Gauges(Arc::clone(&self.pools))));
    }

    /// The pool, for reads with `sqlx` directly.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// One connection.
    ///
    /// # Errors
    /// [`Error::Busy`] when all connections are in use, [`Error::Unavailable`] when the
    /// database is away.
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>, Error> {
        self.pool.acquire().await.map_err(|error| self.explain(error))
    }

    /// A time-out has two reasons; both, and any other error here, come before any effect.
    fn explain(&self, error: sqlx::Error) -> Error {
        match error {
            sqlx::Error::PoolTimedOut if self.is_exhausted() => {
                self.pools.refuse();
                Error::Busy(Cause::new("all connections of the pool are in use"))
            }
            other => Error::from(other).before_commit(),
        }
    }

    fn is_exhausted(&self) -> bool {
        self.pool.num_idle() == 0 && self.pool.size() >= self.pool.options().get_max_connections()
    }

    /// A transaction, rolled back unless committed. Prefer [`transaction!`](crate::transaction!).
    ///
    /// # Errors
    /// As [`Database::acquire`].
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        self.pool.begin().await.map_err(|error| self.explain(error))
    }

    /// Asks the database for a sign of life (readiness).
    ///
    /// # Errors
    /// As [`Database::acquire`].
    pub async fn ping(&self) -> Result<(), Error> {
        let mut connection = self.acquire().await?;
        connection.ping().await.map_err(Error::from)
    }

    /// Closes all connections once they are given back.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
