//! Poison, truncation and another epoch.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use feed::dead_letter::{self, Redriven};
use feed::retention::retain;
use uuid::Uuid;

use crate::retention::{short, small_partitions};
use crate::world::{Recorder, World, change, change_with, quick};

#[tokio::test]
async fn poison_parks_its_subject_and_a_redrive_keeps_the_order() {
    let world = World::new().await;
    let recorder = Recorder::default();
    let replica = world.follow(recorder.clone(), quick());
    world
        .change(&[
            change(1, 1),
            change(2, 1),
            change_with(2, 2, b"poison"),
            change(2, 3),
            change(3, 1),
        ])
        .await;
    world.wait_for_position(5).await;
    // A later entry of the parked subject follows it, others pass.
    world.change(&[change(2, 4), change(1, 2)]).await;
    world.wait_for_position(7).await;
    let of = |subject: u128, version: i64| (Uuid::from_u128(subject), version);
    assert_eq!(world.effects().await, [of(1, 1), of(2, 1), of(3, 1), of(1, 2)]);
    let letters = async || dead_letter::count(&world.consumer, "test.world").await.unwrap();
    assert_eq!(letters().await, 3);

    let still = replica.consumer.redrive(None).await.unwrap();
    assert_eq!(still, Redriven { applied: 0, parked_subjects: 1 });
    assert_eq!(letters().await, 3);
    let attempts: i32 = sqlx::query_scalar("select max(attempts) from dead_letter")
        .fetch_one(world.consumer.pool())
        .await
        .unwrap();
    assert_eq!(attempts, 2);

    recorder.cured.store(true, Ordering::SeqCst);
    let done = replica.consumer.redrive(None).await.unwrap();
    assert_eq!(done, Redriven { applied: 3, parked_subjects: 0 });
    assert_eq!(letters().await, 0);
    world.change(&[change(2, 5)]).await;
    world.wait_for(8).await;
    let versions: Vec<i64> = world
        .effects()
        .await
        .into_iter()
        .filter_map(|(subject, version)| (subject == Uuid::from_u128(2)).then_some(version))
        .collect();
    assert_eq!(versions, [1, 2, 3, 4, 5], "of the parked subject, in order");
    replica.end().await;
}

#[tokio::test]
async fn a_consumer_behind_what_is_kept_reads_a_snapshot() {
    let world = World::new().await;
    small_partitions(&world.owner).await;
    let replica = world.follow(Recorder::default(), quick());
    world.change(&[change(1, 1)]).await;
    world.wait_for(1).await;
    replica.end().await;
    // While it is away the log moves on and forgets.
    for version in 2..=12 {
        world.change(&[change(1, version), change(2, version)]).await;
        let keep_all = feed::retention::Options { max_age: std::time::Duration::MAX, ..short() };
        retain(&world.owner, &keep_all).await.unwrap();
    }
    assert_eq!(retain(&world.owner, &short()).await.unwrap().unwrap().dropped, 2);

    let replica = world.follow(Recorder::default(), quick());
    let effects = world.wait_for(3).await;
    let of = |subject: u128, version: i64| (Uuid::from_u128(subject), version);
    assert_eq!(effects, [of(1, 1), of(1, 12), of(2, 12)], "states, not steps");
    world.wait_for_position(23).await;
    world.change(&[change(3, 1)]).await;
    assert_eq!(world.wait_for(4).await.last(), Some(&of(3, 1)), "and follows on");
    replica.end().await;
}

#[tokio::test]
async fn a_consumer_of_another_epoch_reads_a_snapshot() {
    let world = World::new().await;
    let replica = world.follow(Recorder::default(), quick());
    world.change(&[change(1, 1)]).await;
    world.wait_for(1).await;
    // A restore: other content under positions that the consumer has passed, told by the epoch
    // alone. The consumer is at work meanwhile.
    let mut connection = world.owner.acquire().await.unwrap();
    let restored = "update subject set version = 7; insert into subject values \
                    ('00000000-0000-0000-0000-000000000009', 3, '')";
    sqlx::raw_sql(restored).execute(&mut *connection).await.unwrap();
    feed::schema::renew_epoch(&mut connection).await.unwrap();
    let epoch = world.tail.read_head().await.unwrap().epoch;

    let seen: HashSet<_> = world.wait_for(3).await.into_iter().collect();
    let of = |subject: u128, version: i64| (Uuid::from_u128(subject), version);
    assert_eq!(seen, HashSet::from([of(1, 1), of(1, 7), of(9, 3)]));
    testkit::eventually(crate::world::LIMIT, "the new epoch", async || {
        world.position().await.0 == Some(epoch)
    })
    .await;
    replica.end().await;
}
