use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::PgConnection;
use store::database::Options;
use store::{Cause, Database, Error, Migration, migrate, transaction};
use testkit::{PrivateStack, Stack};

use crate::{LIMIT, MIGRATIONS, database, options};

const ADD: &str = "insert into tally values ($1, $2)
    on conflict (name) do update set count = tally.count + excluded.count";
const COUNT: &str = "select coalesce(sum(count), 0) from tally where name = $1";

async fn add(connection: &mut PgConnection, name: &str, count: i32) -> Result<(), Error> {
    sqlx::query(ADD).bind(name).bind(count).execute(connection).await?;
    Ok(())
}

async fn count(database: &Database, name: &str) -> i64 {
    sqlx::query_scalar(COUNT).bind(name).fetch_one(database.pool()).await.unwrap()
}

#[tokio::test]
async fn migrations_are_applied_once_and_watched() {
    let empty = Stack::get().await.database("store_empty", "", async |_| anyhow::Ok(())).await;
    let empty = empty.unwrap();
    let database = Database::connect(&options(empty.url())).await.unwrap();
    let behind = migrate::check(&database, MIGRATIONS).await.unwrap_err();
    assert!(matches!(behind, migrate::Error::Behind { found: 0, expected: 4 }), "{behind}");

    let both =
        tokio::join!(migrate::apply(&database, MIGRATIONS), migrate::apply(&database, MIGRATIONS));
    assert_eq!(both.0.unwrap() + both.1.unwrap(), MIGRATIONS.len());
    migrate::check(&database, MIGRATIONS).await.unwrap();
    assert_eq!(migrate::apply(&database, MIGRATIONS).await.unwrap(), 0);

    let ahead = migrate::check(&database, &MIGRATIONS[..2]).await.unwrap_err();
    assert!(matches!(ahead, migrate::Error::Ahead { .. }), "{ahead}");
    let mut edited = MIGRATIONS.to_vec();
    edited[1].sql = "select 1";
    let changed = migrate::apply(&database, &edited).await.unwrap_err();
    assert!(matches!(changed, migrate::Error::Changed { version: 2 }), "{changed}");
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing_behind() {
    let (_clone, database) = database().await;
    let mut more = MIGRATIONS.to_vec();
    let sql = "create table half (id int); create table half (id int);";
    more.push(Migration { version: 9, name: "half", sql });
    let failed = migrate::apply(&database, &more).await.unwrap_err();
    assert!(matches!(failed, migrate::Error::Failed { version: 9, .. }), "{failed}");
    more[4].sql = "-- no-transaction\ncreate index concurrently tally_count on tally (count)";
    assert_eq!(migrate::apply(&database, &more).await.unwrap(), 1);
}

#[tokio::test]
async fn an_error_rolls_back_and_names_its_constraint() {
    let (_clone, database) = database().await;
    let refused: Result<(), Error> = transaction!(&database, async |connection| {
        add(connection, "a", 1).await?;
        add(connection, "b", -1).await
    });
    assert!(refused.unwrap_err().violates("tally_is_positive"));
    assert_eq!(count(&database, "a").await, 0);

    let plain = "insert into tally values ('a', 1)";
    transaction!(&database, async |connection| add(connection, "a", 1).await).unwrap();
    let twice = sqlx::query(plain).execute(database.pool()).await.map_err(Error::from);
    assert!(twice.unwrap_err().violates("tally_pkey"));
    let not_null = "insert into tally values ('c', null)";
    let missing = sqlx::query(not_null).execute(database.pool()).await.map_err(Error::from);
    assert!(missing.unwrap_err().violates("count"));
    let data = sqlx::query("select 'personal'::int").execute(database.pool()).await;
    let data = Error::from(data.unwrap_err());
    assert!(matches!(data, Error::Data(_)) && !format!("{data:?}").contains("personal"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deadlocked_transactions_are_repeated_until_all_are_in() {
    let (_clone, database) = database().await;
    let tries = std::sync::Arc::new(AtomicU32::new(0));
    transaction!(&database, async |connection| {
        add(connection, "a", 1).await?;
        add(connection, "b", 1).await
    })
    .unwrap();
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    let mut tasks = tokio::task::JoinSet::new();
    for (first, second) in [("a", "b"), ("b", "a")] {
        let (database, tries) = (database.clone(), std::sync::Arc::clone(&tries));
        let barrier = std::sync::Arc::clone(&barrier);
        // Spawned: the future of a transaction must be Send.
        tasks.spawn(async move {
            let mut met = false;
            transaction!(&database, async |connection| {
                tries.fetch_add(1, Ordering::SeqCst);
                // A lock time-out shorter than deadlock_timeout would come first.
                sqlx::query("set local deadlock_timeout = '50ms'")
                    .execute(&mut *connection)
                    .await?;
                add(connection, first, 1).await?;
                if !std::mem::replace(&mut met, true) {
                    barrier.wait().await;
                }
                add(connection, second, 1).await
            })
        });
    }
    for result in tasks.join_all().await {
        result.unwrap();
    }
    assert_eq!(tries.load(Ordering::SeqCst), 3, "one was the victim, once");
    assert_eq!((count(&database, "a").await, count(&database, "b").await), (3, 3));
}

#[tokio::test]
async fn a_conflict_is_repeated_five_times_and_then_told() {
    let (_clone, database) = database().await;
    let mut tries = 0;
    let lost: Result<(), Error> = transaction!(&database, async |_| {
        tries += 1;
        Err(Error::Conflict(Cause::new("always")))
    });
    assert!(matches!(lost, Err(Error::Conflict(_))));
    assert_eq!(tries, 5);
}

#[tokio::test]
async fn waiting_for_a_lock_or_a_connection_ends_as_busy() {
    let (clone, database) = database().await;
    let mut holder = database.acquire().await.unwrap();
    sqlx::query("begin").execute(&mut *holder).await.unwrap();
    sqlx::query("lock table tally").execute(&mut *holder).await.unwrap();
    let short = Options {
        max_connections: 1,
        lock_timeout: Duration::from_millis(20),
        statement_timeout: Duration::from_millis(40),
        ..options(clone.url())
    };
    let narrow = Database::connect(&short).await.unwrap();
    let locked = transaction!(&narrow, async |connection| add(connection, "a", 1).await);
    assert!(matches!(locked, Err(Error::Busy(_))), "{locked:?}");
    let slow = sqlx::query("select pg_sleep(5)").execute(narrow.pool()).await;
    assert!(matches!(slow.map_err(Error::from), Err(Error::Busy(_))));

    let acquire_timeout = Duration::from_millis(250);
    let one = Options { max_connections: 1, ..options(clone.url()) };
    Database::connect(&one).await.unwrap();
    let exhausted = Database::connect_lazily(&Options { acquire_timeout, ..one }).unwrap();
    let _held = testkit::eventually(LIMIT, "the one connection", || exhausted.acquire()).await;
    let refused = exhausted.acquire().await;
    assert!(matches!(refused, Err(Error::Busy(_))), "{refused:?}");
}

#[tokio::test]
async fn a_restarted_postgres_is_found_again_and_a_dead_one_is_unavailable() {
    let stack = PrivateStack::start(false).await.unwrap();
    let quick = Options {
        acquire_timeout: Duration::from_secs(5),
        ..Options::new(stack.admin_url(), "store-test")
    };
    let database = Database::connect(&quick).await.unwrap();
    stack.kill_postgres().await.unwrap();
    let dead = database.ping().await.unwrap_err();
    assert!(matches!(dead, Error::Unavailable { .. }), "{dead:?}");
    stack.start_postgres().await.unwrap();
    let one: i32 = transaction!(&database, async |connection| {
        Ok::<_, Error>(sqlx::query_scalar("select 1").fetch_one(connection).await?)
    })
    .unwrap();
    assert_eq!(one, 1);
}

#[tokio::test]
async fn a_keyed_session_plans_by_the_whole_key_also_while_a_table_is_empty() {
    let (_clone, database) = database().await;
    let keyed = database.keyed();
    let mut connection = keyed.acquire().await.unwrap();
    let tables = "create table piece (tenant_id uuid, shard smallint, id uuid,
            primary key (tenant_id, shard, id));
        prepare pieces(uuid, smallint[], uuid[]) as select p.id
            from unnest(array_fill($1, array[cardinality($2)]), $2, $3) k(tenant_id, shard, id)
            join piece p on p.tenant_id = k.tenant_id and p.shard = k.shard and p.id = k.id";
    sqlx::raw_sql(tables).execute(&mut *connection).await.unwrap();
    let nobody = "00000000-0000-4000-8000-000000000001";
    let explain = format!("explain execute pieces('{nobody}', '{{1}}', '{{{nobody}}}')");
    let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(explain))
        .persistent(false)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let whole_key = "((tenant_id = k.tenant_id) AND (shard = k.shard) AND (id = k.id))";
    assert!(plan.iter().any(|line| line.contains(whole_key)), "{plan:#?}");
}

#[tokio::test]
async fn a_full_pool_shows_and_those_it_refuses_are_counted() {
    let (clone, _database) = database().await;
    let mut options = options(clone.url());
    (options.max_connections, options.acquire_timeout) = (2, Duration::from_millis(200));
    let database = Database::connect(&options).await.unwrap();
    let keyed = database.keyed();
    let mut registry = prometheus_client::registry::Registry::default();
    database.register(registry.sub_registry_with_label(("service".into(), "notes".into())));
    let scrape = || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    };
    let shows = |line: &str| assert!(scrape().contains(line), "{line} in\n{}", scrape());

    shows("db_client_connections_max{service=\"notes\"} 4\n");
    let held = [database.acquire().await.unwrap(), database.acquire().await.unwrap()];
    let one_more = keyed.acquire().await.unwrap();
    shows("db_client_connections_used{service=\"notes\"} 3\n");
    shows("db_client_connection_refusals_total{service=\"notes\"} 0\n");
    assert!(matches!(database.begin().await.unwrap_err(), Error::Busy(_)));
    shows("db_client_connection_refusals_total{service=\"notes\"} 1\n");
    drop((held, one_more));
}
