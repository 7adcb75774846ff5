//! `feed_append`: gapless, in commit order, whatever the writers do.

use std::collections::BTreeSet;
use std::time::Duration;

use feed::Error;
use feed::tail::Position;
use sqlx::{Connection, Executor};
use store::Database;
use uuid::Uuid;

use crate::world::{LIMIT, World, change, database};

const WRITERS: u64 = 8;
const TRANSACTIONS: u64 = 50;

/// A small generator, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Appends with delays before the append and some roll-backs after it; returns what committed.
async fn write(database: Database, writer: u64) -> BTreeSet<Uuid> {
    let mut dice = Dice(writer + 1);
    let mut committed = BTreeSet::new();
    for number in 0..TRANSACTIONS {
        let rows = 1 + dice.below(5);
        let subject = |row| u128::from(1 + writer * 1_000_000 + number * 1_000 + row);
        let entries: Vec<_> = (0..rows).map(|row| change(subject(row), 1)).collect();
        let mut connection = database.acquire().await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        // An early snapshot, and an id taken before those who will commit first.
        transaction.execute("select txid_current()").await.unwrap();
        tokio::time::sleep(Duration::from_millis(dice.below(20))).await;
        feed::append(&mut transaction, &entries).await.unwrap();
        if dice.below(100) < 5 {
            transaction.rollback().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
            committed.extend(entries.iter().map(|entry| entry.subject));
        }
    }
    committed
}

/// Reads by `seq >` alone until it has seen `done` (known at the end) entries.
async fn read(database: Database, done: tokio::sync::watch::Receiver<usize>) -> Vec<(i64, Uuid)> {
    let mut seen: Vec<(i64, Uuid)> = Vec::new();
    let sql = "select seq, subject from feed where seq > $1 order by seq limit 500";
    while seen.len() < *done.borrow() {
        let after = seen.last().map_or(0, |(seq, _)| *seq);
        let next: Vec<(i64, Uuid)> =
            sqlx::query_as(sql).bind(after).fetch_all(database.pool()).await.unwrap();
        seen.extend(next);
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_concurrent_reader_misses_nothing_and_sees_no_gap() {
    let world = World::new().await;
    let database = world.owner.clone();
    // What a dump or a report does: it must neither stop nor mislead anybody.
    let mut dump = database.acquire().await.unwrap();
    let mut old_snapshot = dump.begin_with("begin isolation level repeatable read").await.unwrap();
    old_snapshot.execute("select count(*) from feed").await.unwrap();

    let (total, done) = tokio::sync::watch::channel(usize::MAX);
    let reader = tokio::spawn(read(database.clone(), done));
    let mut subscription = world.tail.subscribe(Position { epoch: None, seq: 0 }).await.unwrap();

    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(database.clone(), writer))).collect();
    let mut committed = BTreeSet::new();
    for writer in writers {
        committed.extend(writer.await.unwrap());
    }
    total.send_replace(committed.len());

    let seen = tokio::time::timeout(LIMIT, reader).await.unwrap().unwrap();
    let seqs: Vec<i64> = seen.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, (1..=committed.len() as i64).collect::<Vec<_>>(), "gapless and in order");
    assert_eq!(seen.iter().map(|(_, subject)| *subject).collect::<BTreeSet<_>>(), committed);

    let mut followed = Vec::new();
    while followed.len() < committed.len() {
        let run = tokio::time::timeout(LIMIT, subscription.next()).await.unwrap().unwrap();
        followed.extend(run.entries().iter().map(|entry| (entry.seq, entry.subject)));
    }
    assert_eq!(followed, seen, "the tail agrees with the table");
    old_snapshot.rollback().await.unwrap();
}

#[tokio::test]
async fn a_transaction_with_one_snapshot_for_all_is_refused() {
    let (_guard, database) = database().await;
    let mut connection = database.acquire().await.unwrap();
    let mut transaction =
        connection.begin_with("begin isolation level repeatable read").await.unwrap();
    let refused = feed::append(&mut transaction, &[change(1, 1)]).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Database(store::Error::Internal(cause))
        if cause.sqlstate() == Some("25000")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_append_says_where_it_stands_and_is_bounded() {
    let (_guard, database) = database().await;
    let mut connection = database.acquire().await.unwrap();
    assert_eq!(feed::append(&mut connection, &[]).await.unwrap(), 0);
    assert_eq!(feed::append(&mut connection, &[change(1, 1), change(2, 1)]).await.unwrap(), 1);
    assert_eq!(feed::append(&mut connection, &[change(3, 1)]).await.unwrap(), 3);
    let too_many = vec![change(1, 1); feed::MAX_APPEND + 1];
    let refused = feed::append(&mut connection, &too_many).await;
    assert!(matches!(refused, Err(Error::TooLarge)));
    let head = feed::schema::head(&mut *connection).await.unwrap();
    assert_eq!(head.seq, 3);
}

#[tokio::test]
async fn a_missing_partition_blames_no_row() {
    let (_guard, database) = database().await;
    let mut connection = database.acquire().await.unwrap();
    connection.execute("drop table feed_p0").await.unwrap();
    let refused = feed::append(&mut connection, &[change(1, 1)]).await.unwrap_err();
    assert!(matches!(&refused, Error::Database(error) if !error.blames_one_row()), "{refused:?}");
}
