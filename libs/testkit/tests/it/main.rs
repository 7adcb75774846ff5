//! The shared stack, clones and private servers, against the real thing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::env;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection, Row};
use testkit::{PrivateStack, Stack, TestDatabase, eventually};

const SCHEMA: &str = "CREATE TABLE note (id int PRIMARY KEY, text text NOT NULL)";
/// Set in the process that a test starts from its own program.
const CHILD: &str = "TESTKIT_CHILD";

async fn migrate(url: String) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(&url).await?;
    connection.execute(SCHEMA).await?;
    Ok(())
}

async fn connect(database: &TestDatabase) -> PgConnection {
    PgConnection::connect(database.url()).await.unwrap()
}

async fn count(connection: &mut PgConnection) -> i64 {
    sqlx::query("SELECT count(*) FROM note").fetch_one(connection).await.unwrap().get(0)
}

async fn database_exists(name: &str) -> bool {
    let mut admin = PgConnection::connect(Stack::get().await.admin_url()).await.unwrap();
    let query = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(name);
    query.fetch_optional(&mut admin).await.unwrap().is_some()
}

#[tokio::test]
async fn clones_are_migrated_isolated_and_dropped() {
    let stack = Stack::get().await;
    let a = stack.database("testkit", SCHEMA, migrate).await.unwrap();
    let b = stack.database("testkit", SCHEMA, migrate).await.unwrap();
    let (mut in_a, mut in_b) = (connect(&a).await, connect(&b).await);
    in_a.execute("INSERT INTO note VALUES (1, 'only in a')").await.unwrap();
    assert_eq!((count(&mut in_a).await, count(&mut in_b).await), (1, 0));
    let name = a.name().to_owned();
    assert!(database_exists(&name).await);
    drop(a);
    assert!(!database_exists(&name).await, "open sessions must not keep a clone");
}

#[tokio::test]
async fn concurrent_tests_migrate_a_template_once() {
    let stack = Stack::get().await;
    let key = uuid::Uuid::new_v4().to_string();
    let migrations = AtomicU32::new(0);
    let clone = || {
        stack.database("testkit_once", &key, |url| {
            migrations.fetch_add(1, Ordering::Relaxed);
            migrate(url)
        })
    };
    let (a, b, c) = tokio::join!(clone(), clone(), clone());
    for database in [a.unwrap(), b.unwrap(), c.unwrap()] {
        assert_eq!(count(&mut connect(&database).await).await, 0);
    }
    assert_eq!(migrations.into_inner(), 1);
}

#[tokio::test]
async fn a_failed_migration_is_reported_and_leaves_no_template() {
    let stack = Stack::get().await;
    let key = uuid::Uuid::new_v4().to_string();
    let failing = |_url| async { Err::<(), _>(anyhow::anyhow!("column missing")) };
    let error = stack.database("testkit_failing", &key, failing).await.unwrap_err();
    assert!(format!("{error:#}").contains("column missing"), "{error:#}");
    let mended = stack.database("testkit_failing", &key, migrate).await.unwrap();
    assert_eq!(count(&mut connect(&mended).await).await, 0);
}

#[tokio::test]
async fn redis_corners_do_not_meet() {
    let stack = Stack::get().await;
    let (a, b) = (stack.redis(), stack.redis());
    assert_ne!(a.prefix(), b.prefix());
    let client = redis::Client::open(a.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let key = format!("{}key", a.prefix());
    redis::cmd("SET").arg(&key).arg(7).exec_async(&mut connection).await.unwrap();
    let read: u32 = redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
    assert_eq!(read, 7);
}

/// The other half of the next test: says which server it was given.
#[tokio::test]
async fn child_names_its_server() {
    if env::var_os(CHILD).is_some() {
        println!("server {}", server_start(Stack::get().await).await);
    }
}

async fn server_start(stack: &Stack) -> String {
    let mut admin = PgConnection::connect(stack.admin_url()).await.unwrap();
    sqlx::query("SELECT pg_postmaster_start_time()::text")
        .fetch_one(&mut admin)
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn processes_share_one_server() {
    let children: Vec<_> = (0..2)
        .map(|_| {
            Command::new(env::current_exe().unwrap())
                .args(["--exact", "child_names_its_server", "--nocapture"])
                .env(CHILD, "1")
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let expected = format!("server {}", server_start(Stack::get().await).await);
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&expected), "expected {expected}, got {said}");
    }
}

#[tokio::test]
async fn a_durable_private_stack_survives_its_death() {
    let stack = PrivateStack::start(true).await.unwrap();
    let database = stack.database("testkit", SCHEMA, migrate).await.unwrap();
    let mut session = connect(&database).await;
    session.execute("INSERT INTO note VALUES (1, 'committed')").await.unwrap();
    stack.kill_postgres().await.unwrap();
    assert!(session.execute("SELECT 1").await.is_err());
    stack.start_postgres().await.unwrap();
    assert_eq!(count(&mut connect(&database).await).await, 1);

    let corner = stack.redis().unwrap();
    let client = redis::Client::open(corner.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("SET").arg("key").arg(1).exec_async(&mut connection).await.unwrap();
    stack.flush_redis().await.unwrap();
    let size: u32 = redis::cmd("DBSIZE").query_async(&mut connection).await.unwrap();
    assert_eq!(size, 0);
    stack.kill_redis().await.unwrap();
    stack.start_redis().await.unwrap();
    assert!(client.get_multiplexed_async_connection().await.is_ok());
}

#[tokio::test]
async fn eventually_hands_back_what_came() {
    let asked = AtomicU32::new(0);
    let answer = || async { (asked.fetch_add(1, Ordering::Relaxed) >= 2).then_some("there") };
    assert_eq!(eventually(Duration::from_secs(5), "it comes", answer).await, "there");
}

#[tokio::test]
#[should_panic(expected = "in vain for: pigs fly")]
async fn eventually_fails_with_a_message() {
    eventually(Duration::from_millis(30), "pigs fly", || async { false }).await;
}
