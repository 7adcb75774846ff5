//! The store against a real Postgres and a real Redis.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod cache;
mod committer;
mod database;
mod idempotency;
mod keys;
mod resource;
mod sealing;

use std::time::Duration;

use store::{Database, Migration, database::Options, schema};
use testkit::{Stack, TestDatabase};

/// What the tests use of the store's tables.
const MIGRATIONS: &[Migration] = &[
    schema::tenant_key(1),
    schema::request_log(2),
    schema::resource(3),
    Migration {
        version: 4,
        name: "tally",
        sql: "create table tally (name text primary key, count int not null,
                  constraint tally_is_positive check (count > 0));",
    },
];

const LIMIT: Duration = Duration::from_secs(20);

fn options(url: &str) -> Options {
    // The machine may be busy with other tests; time-outs have tests of their own.
    Options { acquire_timeout: LIMIT, ..Options::new(url, "store-test") }
}

/// A migrated database of this test's own; the first part keeps it alive.
async fn database() -> (TestDatabase, Database) {
    let key = store::migrate::fingerprint(MIGRATIONS);
    let clone = Stack::get()
        .await
        .database("store", &key, async |url: String| {
            let database = Database::connect(&options(&url)).await?;
            store::migrate::apply(&database, MIGRATIONS).await?;
            database.close().await;
            anyhow::Ok(())
        })
        .await
        .expect("test database");
    let database = Database::connect(&options(clone.url())).await.expect("connect");
    (clone, database)
}

fn tenant(number: u128) -> kernel::TenantId {
    kernel::TenantId::new(uuid::Uuid::from_u128(number))
}
