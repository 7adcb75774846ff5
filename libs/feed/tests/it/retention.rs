//! Partitions come and go; the one with the head stays.

use std::time::Duration;

use feed::retention::{Options, retain};
use feed::tail::Position;
use feed::{Error, schema};
use sqlx::Executor;
use store::Database;

use crate::world::{World, change};

/// Ten rows to a partition, everything too old.
pub(crate) fn short() -> Options {
    Options { rows_per_partition: 10, max_age: Duration::ZERO, ..Options::default() }
}

/// Replaces the large partitions of the schema by small ones.
pub(crate) async fn small_partitions(database: &Database) {
    let sql = "drop table feed_p0, feed_p5000000, feed_p10000000";
    database.pool().execute(sql).await.unwrap();
    retain(database, &short()).await.unwrap();
}

#[tokio::test]
async fn old_partitions_go_new_ones_come_and_the_head_stays() {
    let world = World::new().await;
    small_partitions(&world.owner).await;
    let pool = world.owner.pool();
    for round in 0..40 {
        world.change(&[change(1, round + 1)]).await;
        let report =
            retain(&world.owner, &Options { max_age: Duration::MAX, ..short() }).await.unwrap();
        assert!(report.is_some_and(|report| report.ahead == 2 && report.dropped == 0));
    }
    let report = retain(&world.owner, &short()).await.unwrap().unwrap();
    assert_eq!((report.dropped, report.ahead), (4, 2));
    assert_eq!(schema::oldest(pool).await.unwrap(), Some(40), "the head's partition stays");
    let epoch = Some(world.tail.read_head().await.unwrap().epoch);
    let refused = world.tail.subscribe(Position { epoch, seq: 38 }).await;
    assert!(matches!(refused, Err(Error::Truncated)));
    assert!(world.tail.subscribe(Position { epoch, seq: 39 }).await.is_ok());
    assert_eq!(world.change(&[change(1, 41)]).await, 41, "numbers go on");
}

#[tokio::test]
async fn a_byte_budget_drops_the_oldest_first() {
    let world = World::new().await;
    small_partitions(&world.owner).await;
    let pool = world.owner.pool();
    let keep_all = Options { max_age: Duration::MAX, ..short() };
    for round in 0..25 {
        world.change(&[change(1, round + 1)]).await;
        retain(&world.owner, &keep_all).await.unwrap();
    }
    let bytes = retain(&world.owner, &keep_all).await.unwrap().unwrap().bytes;
    let budget = Options { max_bytes: bytes - 1, ..keep_all };
    assert_eq!(retain(&world.owner, &budget).await.unwrap().unwrap().dropped, 1);
    assert_eq!(schema::oldest(pool).await.unwrap(), Some(10));
}

#[tokio::test]
async fn a_detach_that_was_cut_short_is_finished() {
    let world = World::new().await;
    small_partitions(&world.owner).await;
    let pool = world.owner.pool();
    let keep_all = Options { max_age: Duration::MAX, ..short() };
    for round in 0..15 {
        world.change(&[change(1, round + 1)]).await;
    }
    // An old snapshot that has seen the partition keeps the detach waiting until it gives up.
    let mut dump = world.owner.acquire().await.unwrap();
    dump.execute("begin isolation level repeatable read; select count(*) from feed").await.unwrap();
    let mut impatient = world.owner.acquire().await.unwrap();
    impatient.execute("set lock_timeout = '100ms'").await.unwrap();
    let cut = impatient.execute("alter table feed detach partition feed_p0 concurrently").await;
    assert!(cut.is_err());
    dump.execute("rollback").await.unwrap();
    let report = retain(&world.owner, &keep_all).await.unwrap().unwrap();
    assert_eq!(report.dropped, 1);
    assert_eq!(schema::oldest(pool).await.unwrap(), Some(10));
}
