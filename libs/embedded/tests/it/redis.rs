use embedded::{OnDrop, Redis, RedisOptions};
use rustix::process::{Signal, kill_process};

use crate::{Scratch, care, process, runs, until};

fn options(scratch: &Scratch) -> RedisOptions {
    let mut options = RedisOptions::new(scratch.0.join("redis"));
    options.care = care(false, OnDrop::Stop);
    options
}

#[tokio::test]
async fn redis_is_adopted_killed_revived_and_stopped() {
    let scratch = Scratch::new();
    let options = options(&scratch);
    let mut leaving = options.clone();
    leaving.care.on_drop = OnDrop::Leave;
    let first = Redis::start(&leaving).await.unwrap();
    let pid = first.pid().unwrap();
    drop(first);
    let server = Redis::start(&options).await.unwrap();
    assert!(server.adopted());
    assert_eq!(server.pid(), Some(pid));

    server.kill().await.unwrap();
    server.revive().await.unwrap();
    let pid = server.pid().unwrap();
    assert!(runs(pid));
    server.stop().await.unwrap();
    assert!(!runs(pid));
}

#[tokio::test]
async fn a_supervised_redis_is_restarted_after_its_death() {
    let scratch = Scratch::new();
    let mut options = options(&scratch);
    options.care.supervise = true;
    let server = Redis::start(&options).await.unwrap();
    let first = server.pid().unwrap();
    kill_process(process(first), Signal::KILL).unwrap();
    until("another one runs", || server.pid().is_some_and(|pid| pid != first)).await;
    let second = server.pid().unwrap();
    server.stop().await.unwrap();
    assert!(!runs(second));
}
