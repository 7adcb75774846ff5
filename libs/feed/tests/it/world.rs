//! A service with a log, one that consumes it, and a handler that records what it did.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use feed::consumer::Options;
use feed::{
    Consumer, Entry, Error, FeedService, HandleError, Handler, Metrics, Shards, SnapshotKey,
    SnapshotSource, Tail, Upstream,
};
use kernel::TenantId;
use sqlx::{Connection, PgConnection, Row};
use store::Database;
use testkit::{Stack, TestDatabase};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

pub(crate) const LIMIT: Duration = Duration::from_secs(20);
pub(crate) const TENANT: TenantId = TenantId::new(Uuid::from_u128(1));

/// `subject` is the owner's state, `effect` what the consumer did with it.
const TABLES: &str = "
    create table subject (id uuid primary key, version bigint not null, data bytea not null);
    create table effect (
        id bigint primary key generated always as identity, subject uuid not null,
        version bigint not null, seq bigint not null);";

pub(crate) async fn database() -> (TestDatabase, Database) {
    let sql = format!("{}{TABLES}", feed::SCHEMA);
    let migrate = async |url: String, sql: String| -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&url).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    };
    let made = Stack::get().await.database("feed", &sql, |url| migrate(url, sql.clone())).await;
    let made = made.unwrap();
    let options = store::database::Options {
        max_connections: 16,
        acquire_timeout: Duration::from_secs(10),
        lock_timeout: Duration::from_secs(10),
        ..store::database::Options::new(made.url(), "feed-test")
    };
    let database = Database::connect(&options).await.unwrap();
    (made, database)
}

/// The owner of a log and the database of its consumers.
pub(crate) struct World {
    pub(crate) owner: Database,
    pub(crate) consumer: Database,
    pub(crate) tail: Tail,
    pub(crate) stop: CancellationToken,
    _stop: DropGuard,
    _databases: [TestDatabase; 2],
}

impl World {
    pub(crate) async fn new() -> Self {
        let (owner_guard, owner) = database().await;
        let (consumer_guard, consumer) = database().await;
        let tail = Tail::new(&owner, None, Metrics::default());
        let stop = CancellationToken::new();
        let (running, token) = (tail.clone(), stop.clone());
        tokio::spawn(async move { running.run(token).await });
        let _databases = [owner_guard, consumer_guard];
        Self { owner, consumer, tail, _stop: stop.clone().drop_guard(), stop, _databases }
    }

    pub(crate) fn upstream(&self) -> Upstream {
        let source = Subjects(self.owner.clone());
        let service = FeedService::new(self.tail.clone(), source, self.stop.clone());
        Upstream::new(service.into_server())
    }

    /// Changes subjects and says so, in one transaction.
    pub(crate) async fn change(&self, entries: &[Entry]) -> i64 {
        let mut connection = self.owner.acquire().await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        for entry in entries {
            sqlx::query("insert into subject values ($1, $2, $3) on conflict (id) do update set version = $2, data = $3")
                .bind(entry.subject)
                .bind(entry.version)
                .bind(entry.data.to_vec())
                .execute(&mut *transaction)
                .await
                .unwrap();
        }
        let first = feed::append(&mut transaction, entries).await.unwrap();
        transaction.commit().await.unwrap();
        self.tail.wake();
        first
    }

    /// A replica of the consumer; ends when the returned guard is dropped or cancelled.
    pub(crate) fn follow(&self, recorder: Recorder, options: Options) -> Replica {
        let consumer = Consumer::new(
            "test.world",
            self.upstream(),
            self.consumer.clone(),
            recorder,
            options,
            Metrics::default(),
        );
        let consumer = Arc::new(consumer);
        let stop = CancellationToken::new();
        let (running, token) = (consumer.clone(), stop.clone());
        let task = tokio::spawn(async move { running.run(token).await });
        Replica { consumer, task, stop }
    }

    /// What was applied: (subject, version), in order of application.
    pub(crate) async fn effects(&self) -> Vec<(Uuid, i64)> {
        let sql = "select subject, version from effect order by id";
        sqlx::query_as(sql).fetch_all(self.consumer.pool()).await.unwrap()
    }

    /// Waits until the effects are `count`, then returns them.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<(Uuid, i64)> {
        testkit::eventually(LIMIT, "the effects", async || {
            let effects = self.effects().await;
            if effects.len() >= count { Ok(()) } else { Err(effects.len()) }
        })
        .await;
        self.effects().await
    }

    /// Where the single lane stands.
    pub(crate) async fn position(&self) -> (Option<Uuid>, i64) {
        let sql = "select feed_epoch, position from checkpoint where lanes = 1";
        let row = sqlx::query_as(sql).fetch_optional(self.consumer.pool()).await.unwrap();
        row.unwrap_or_default()
    }

    pub(crate) async fn wait_for_position(&self, seq: i64) {
        testkit::eventually(LIMIT, "the position", async || {
            let at = self.position().await.1;
            if at == seq { Ok(()) } else { Err(at) }
        })
        .await;
    }
}

/// A consumer at work.
pub(crate) struct Replica {
    pub(crate) consumer: Arc<Consumer<Recorder>>,
    pub(crate) task: tokio::task::JoinHandle<()>,
    pub(crate) stop: CancellationToken,
}

impl Replica {
    /// Ends in an orderly way.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

pub(crate) fn quick() -> Options {
    Options { lease: Duration::from_secs(1), ..Options::default() }
}

/// A change of subject number `subject`.
pub(crate) fn change(subject: u128, version: i64) -> Entry {
    change_with(subject, version, b"")
}

pub(crate) fn change_with(subject: u128, version: i64, data: &'static [u8]) -> Entry {
    Entry::new(TENANT, Uuid::from_u128(subject), 1, version, Bytes::from_static(data))
}

/// The owner's subjects as a snapshot.
struct Subjects(Database);

impl SnapshotSource for Subjects {
    async fn snapshot(
        &self,
        shards: Shards,
        after: Option<SnapshotKey>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let sql = "select id, version, data from subject where id > $1 order by id limit $2";
        let rows = sqlx::query(sql)
            .bind(after.map_or(Uuid::nil(), |(_, subject)| subject))
            .bind(limit as i64)
            .fetch_all(self.0.pool())
            .await?;
        let entry = |row: &sqlx::postgres::PgRow| {
            let data: Vec<u8> = row.get(2);
            Entry::new(TENANT, row.get(0), 1, row.get(1), data.into())
        };
        Ok(rows.iter().map(entry).filter(|entry| shards.contains(entry.shard)).collect())
    }
}

/// Writes one `effect` row for each newer version.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    /// While false, an entry with data `poison` is refused.
    pub(crate) cured: Arc<AtomicBool>,
    /// When present, a run waits here after its effect and before its commit.
    pub(crate) gate: Option<Arc<Semaphore>>,
    /// How many runs reached the gate.
    pub(crate) arrived: Arc<Mutex<usize>>,
    /// How many times the next runs lose their connection.
    pub(crate) broken: Arc<Mutex<usize>>,
    /// While true, entries with data `idle` concern nobody.
    pub(crate) choosy: bool,
    /// When present, effects are also appended to the consumer's own log.
    pub(crate) own_log: bool,
}

impl Handler for Recorder {
    fn concerns(&self, entry: &Entry) -> bool {
        !self.choosy || &entry.data[..] != b"idle"
    }

    async fn handle(
        &self,
        connection: &mut PgConnection,
        entries: &[Entry],
    ) -> Result<(), HandleError> {
        let mut known: HashMap<Uuid, i64> = HashMap::new();
        for entry in entries {
            if &entry.data[..] == b"poison" && !self.cured.load(Ordering::SeqCst) {
                return Err(HandleError::Poison("it is poison".to_owned()));
            }
            let sql = "select coalesce(max(version), 0) from effect where subject = $1";
            let stored: i64 =
                sqlx::query_scalar(sql).bind(entry.subject).fetch_one(&mut *connection).await?;
            let stored = *known.entry(entry.subject).or_insert(stored);
            if entry.version <= stored {
                continue;
            }
            known.insert(entry.subject, entry.version);
            sqlx::query("insert into effect (subject, version, seq) values ($1, $2, $3)")
                .bind(entry.subject)
                .bind(entry.version)
                .bind(entry.seq)
                .execute(&mut *connection)
                .await?;
        }
        let breaks = {
            let mut broken = self.broken.lock().unwrap();
            let breaks = *broken > 0;
            *broken = broken.saturating_sub(1);
            breaks
        };
        if breaks {
            let sql = "select pg_terminate_backend(pg_backend_pid())";
            sqlx::query(sql).execute(&mut *connection).await?;
        }
        if let Some(gate) = &self.gate {
            *self.arrived.lock().unwrap() += 1;
            gate.acquire().await.unwrap().forget();
        }
        if self.own_log {
            feed::append(connection, entries).await?;
        }
        Ok(())
    }
}
