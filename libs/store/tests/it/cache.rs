use std::time::Duration;

use store::{Bell, Cache};
use testkit::{Stack, eventually};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::LIMIT;

const MINUTE: Duration = Duration::from_secs(60);

async fn cache() -> Cache {
    let redis = Stack::get().await.redis();
    let cache = Cache::with_timeout(redis.url(), redis.prefix(), LIMIT).unwrap();
    eventually(LIMIT, "redis", || cache.is_reachable()).await;
    cache
}

#[tokio::test]
async fn an_older_version_does_not_replace_a_newer_one() {
    let cache = cache().await;
    for (version, value) in [(9, "nine"), (10, "ten"), (9, "late"), (10, "again")] {
        cache.set_if_newer("k", version, value.as_bytes(), MINUTE).await;
    }
    let kept = eventually(LIMIT, "the value", || cache.get_versioned("k")).await;
    assert_eq!(kept, (10, b"ten".to_vec()));
    cache.delete("k").await;
    assert_eq!(cache.get_versioned("k").await, None);
    cache.set("plain", b"\0\xff", MINUTE).await;
    assert_eq!(cache.get("plain").await.as_deref(), Some(b"\0\xff".as_slice()));
}

#[tokio::test]
async fn a_bell_is_heard_here_and_in_other_replicas() {
    let cache = cache().await;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let here = Bell::start(&cache, "feed", &tasks, &stop);
    let there = Bell::start(&cache, "feed", &tasks, &stop);
    let mut heard_here = here.listen();
    here.ring();
    assert!(heard_here.heard(LIMIT).await);
    // The subscription of the other takes its time; a bell is rung again and again anyway.
    eventually(LIMIT, "the bell abroad", async || {
        let mut heard_there = there.listen();
        here.ring();
        heard_there.heard(Duration::from_millis(200)).await
    })
    .await;
    stop.cancel();
    tasks.close();
    tokio::time::timeout(LIMIT, tasks.wait()).await.unwrap();
}

#[tokio::test]
async fn without_redis_the_bell_rings_at_home() {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let bell = Bell::start(&Cache::disabled(), "feed", &tasks, &stop);
    let mut listener = bell.listen();
    assert!(!listener.heard(Duration::from_millis(1)).await);
    bell.ring();
    assert!(listener.heard(LIMIT).await);
    assert!(!Cache::disabled().is_reachable().await);
}
