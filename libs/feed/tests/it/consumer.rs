//! Exactly one effect, whoever is killed and however many compete.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use feed::consumer::Options;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::world::{LIMIT, Recorder, World, change, change_with, quick};

fn expected(count: u128) -> Vec<(Uuid, i64)> {
    (1..=count).map(|subject| (Uuid::from_u128(subject), 1)).collect()
}

#[tokio::test]
async fn entries_are_applied_once_and_in_order() {
    let world = World::new().await;
    let entries: Vec<_> = (1..=1_200).map(|subject| change(subject, 1)).collect();
    world.change(&entries).await;
    let replica = world.follow(Recorder::default(), quick());
    assert_eq!(world.wait_for(1_200).await, expected(1_200));
    world.change(&[change(1_201, 1)]).await;
    assert_eq!(world.wait_for(1_201).await.len(), 1_201);
    replica.end().await;
    let epoch = world.tail.read_head().await.unwrap().epoch;
    assert_eq!(world.position().await, (Some(epoch), 1_201));
}

#[tokio::test]
async fn a_consumer_killed_between_effect_and_commit_leaves_one_effect() {
    let world = World::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let stuck = Recorder { gate: Some(gate), ..Recorder::default() };
    let victim = world.follow(stuck.clone(), quick());
    world.change(&[change(1, 1), change(2, 1)]).await;
    testkit::eventually(LIMIT, "the effect", async || *stuck.arrived.lock().unwrap() == 1).await;
    victim.task.abort();
    // The lease was not given back: the next one waits until it has expired.
    let heir = world.follow(Recorder::default(), quick());
    assert_eq!(world.wait_for(2).await, expected(2));
    world.change(&[change(3, 1)]).await;
    assert_eq!(world.wait_for(3).await, expected(3));
    heir.end().await;
}

#[tokio::test]
async fn a_consumer_that_is_behind_takes_more_at_a_time() {
    let world = World::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let slow = Recorder { gate: Some(Arc::clone(&gate)), ..Recorder::default() };
    let replica = world.follow(slow.clone(), quick());
    world.change(&[change(1, 1)]).await;
    testkit::eventually(LIMIT, "the first run", async || *slow.arrived.lock().unwrap() == 1).await;
    // A hundred commits, each told in an answer of its own, while the first run is at work.
    for subject in 2..=101 {
        world.change(&[change(subject, 1)]).await;
    }
    gate.add_permits(1_000);
    assert_eq!(world.wait_for(101).await, expected(101));
    let runs = *slow.arrived.lock().unwrap();
    assert!(runs < 20, "{runs} runs for a hundred answers that were waiting");
    replica.end().await;
}

#[tokio::test]
async fn a_run_that_loses_its_connection_is_repeated_whole() {
    let world = World::new().await;
    let recorder = Recorder { broken: Arc::new(Mutex::new(2)), ..Recorder::default() };
    let replica = world.follow(recorder.clone(), quick());
    world.change(&[change(1, 1), change(2, 1)]).await;
    assert_eq!(world.wait_for(2).await, expected(2));
    assert_eq!(*recorder.broken.lock().unwrap(), 0, "it was broken twice");
    replica.end().await;
}

#[tokio::test]
async fn two_replicas_compete_for_a_lane_and_each_entry_has_one_effect() {
    let world = World::new().await;
    let one = world.follow(Recorder::default(), quick());
    let two = world.follow(Recorder::default(), quick());
    for subject in 1..=60 {
        world.change(&[change(subject, 1)]).await;
    }
    world.wait_for(30).await;
    one.end().await;
    for subject in 61..=120 {
        world.change(&[change(subject, 1)]).await;
    }
    assert_eq!(world.wait_for(120).await, expected(120));
    two.end().await;
    assert_eq!(world.effects().await.len(), 120);
}

#[tokio::test]
async fn lanes_share_the_shards_and_can_be_changed() {
    let world = World::new().await;
    let entries: Vec<_> = (1..=100).map(|subject| change(subject, 1)).collect();
    world.change(&entries).await;
    let replica = world.follow(Recorder::default(), Options { lanes: 4, ..quick() });
    let seen: HashSet<_> = world.wait_for(100).await.into_iter().collect();
    assert_eq!(seen, expected(100).into_iter().collect());
    replica.end().await;
    // One lane again begins where the slowest of the four was; versions absorb the rest.
    let replica = world.follow(Recorder::default(), quick());
    world.change(&[change(101, 1)]).await;
    assert_eq!(world.wait_for(101).await.len(), 101);
    replica.end().await;
    assert_eq!(world.effects().await.len(), 101);
}

#[tokio::test]
async fn an_own_entry_is_there_exactly_when_the_effect_is() {
    let world = World::new().await;
    let recorder =
        Recorder { broken: Arc::new(Mutex::new(1)), own_log: true, ..Recorder::default() };
    let replica = world.follow(recorder, quick());
    world.change(&[change(1, 1), change(2, 1)]).await;
    assert_eq!(world.wait_for(2).await, expected(2));
    let sql = "select subject from feed order by seq";
    let own: Vec<Uuid> = sqlx::query_scalar(sql).fetch_all(world.consumer.pool()).await.unwrap();
    assert_eq!(own, [Uuid::from_u128(1), Uuid::from_u128(2)]);
    replica.end().await;
}

#[tokio::test]
async fn entries_without_effect_are_passed_and_the_row_soon_knows() {
    let world = World::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let choosy = Recorder { choosy: true, gate: Some(gate), ..Recorder::default() };
    let victim = world.follow(choosy.clone(), quick());
    world.change(&[change_with(1, 1, b"idle"), change_with(2, 1, b"idle")]).await;
    world.wait_for_position(2).await;
    assert_eq!(*choosy.arrived.lock().unwrap(), 0, "no run was made of them");
    assert_eq!(world.effects().await, []);
    // A run with an effect among others without; killed before its commit.
    let mixed = [change_with(3, 1, b"idle"), change(4, 1), change_with(5, 1, b"idle")];
    world.change(&mixed).await;
    testkit::eventually(LIMIT, "the effect", async || *choosy.arrived.lock().unwrap() == 1).await;
    victim.task.abort();
    let heir = world.follow(Recorder { choosy: true, ..Recorder::default() }, quick());
    let four = (Uuid::from_u128(4), 1);
    assert_eq!(world.wait_for(1).await, [four]);
    world.wait_for_position(5).await;
    world.change(&[change(6, 1)]).await;
    assert_eq!(world.wait_for(2).await, [four, (Uuid::from_u128(6), 1)]);
    heir.end().await;
}
