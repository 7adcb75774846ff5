//! The tail and its subscribers.

use feed::tail::Position;
use feed::watch::{Cursor, Seen};
use feed::{Entry, Error, Watch};
use kernel::TenantId;
use uuid::Uuid;

use crate::world::{LIMIT, TENANT, World, change};

const BEGINNING: Position = Position { epoch: None, seq: 0 };

#[tokio::test]
async fn a_slow_subscriber_reads_the_table_and_misses_nothing() {
    let world = World::new().await;
    let mut slow = world.tail.subscribe(BEGINNING).await.unwrap();
    // Each commit becomes one broadcast; the broadcast holds sixteen.
    for number in 1..=40 {
        world.change(&[change(number, 1)]).await;
        testkit::eventually(LIMIT, "the tail", async || world.tail.head() >= number as i64).await;
    }
    let mut seqs = Vec::new();
    while seqs.len() < 40 {
        let run = tokio::time::timeout(LIMIT, slow.next()).await.unwrap().unwrap();
        seqs.extend(run.entries().iter().map(|entry| entry.seq));
    }
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>());
    // And it is live again.
    world.change(&[change(41, 1)]).await;
    let run = tokio::time::timeout(LIMIT, slow.next()).await.unwrap().unwrap();
    assert_eq!(run.entries().iter().map(|entry| entry.seq).collect::<Vec<_>>(), [41]);
}

#[tokio::test]
async fn a_position_that_is_not_of_this_log_is_told_so() {
    let world = World::new().await;
    world.change(&[change(1, 1)]).await;
    let epoch = world.tail.read_head().await.unwrap().epoch;
    for (epoch, seq) in [(Some(epoch), 2), (Some(Uuid::nil()), 1), (None, 1)] {
        let refused = world.tail.subscribe(Position { epoch, seq }).await;
        assert!(matches!(refused, Err(Error::Truncated)), "{epoch:?} {seq}");
    }
    assert!(world.tail.subscribe(Position { epoch: Some(epoch), seq: 1 }).await.is_ok());
}

#[tokio::test]
async fn a_live_subscriber_notices_a_new_epoch() {
    let world = World::new().await;
    world.change(&[change(1, 1)]).await;
    let mut subscription = world.tail.subscribe(BEGINNING).await.unwrap();
    subscription.next().await.unwrap();
    let mut connection = world.owner.acquire().await.unwrap();
    feed::schema::renew_epoch(&mut connection).await.unwrap();
    let told = tokio::time::timeout(LIMIT, subscription.next()).await.unwrap();
    assert!(matches!(told, Err(Error::Truncated)));
}

#[tokio::test]
async fn a_stopping_process_ends_its_subscriptions() {
    let world = World::new().await;
    let mut subscription = world.tail.subscribe(BEGINNING).await.unwrap();
    world.stop.cancel();
    let told = tokio::time::timeout(LIMIT, subscription.next()).await.unwrap();
    assert!(matches!(told, Err(Error::Stopped | Error::Database(_))));
}

#[tokio::test]
async fn a_watch_shows_one_tenant_and_resumes_behind_what_was_seen() {
    let world = World::new().await;
    let other = TenantId::new(Uuid::from_u128(2));
    let mut watch = Watch::open(&world.tail, TENANT, None).await.unwrap();
    let foreign = |subject| Entry { tenant: other, ..change(subject, 1) };
    world.change(&[change(1, 1), foreign(2), change(3, 1), change(4, 1), foreign(5)]).await;

    let mut seen = Vec::new();
    let mut resume: Option<Cursor> = None;
    while seen.len() < 2 {
        let (cursor, what) = tokio::time::timeout(LIMIT, watch.next()).await.unwrap().unwrap();
        if let Seen::Entry(entry) = what {
            assert_eq!(entry.tenant, TENANT);
            seen.push(entry.seq);
            resume = Some(cursor);
        }
    }
    assert_eq!(seen, [1, 3]);
    assert!(resume.is_some());
    let token = resume.unwrap().to_bytes();
    let resumed = Cursor::from_bytes(&token).unwrap();
    let mut watch = Watch::open(&world.tail, TENANT, Some(resumed)).await.unwrap();
    let (cursor, what) = tokio::time::timeout(LIMIT, watch.next()).await.unwrap().unwrap();
    assert!(matches!(what, Seen::Entry(entry) if entry.seq == 4));
    assert_eq!(cursor.seq, 5, "the rest of the run was foreign");
}

#[tokio::test]
async fn a_read_is_bounded_in_bytes_and_misses_nothing() {
    let world = World::new().await;
    let long = bytes::Bytes::from(vec![7; feed::MAX_DATA]);
    let heavy = |number| Entry { data: long.clone(), ..change(number, 1) };
    let mut live = world.tail.subscribe(BEGINNING).await.unwrap();
    world.change(&[change(1, 1)]).await;
    live.next().await.unwrap();
    // 12.5 MB in one commit.
    world.change(&(2..=100).map(heavy).collect::<Vec<_>>()).await;
    let behind = world.tail.subscribe(BEGINNING).await.unwrap();
    for (mut subscription, first) in [(live, 2), (behind, 1)] {
        let mut seqs = Vec::new();
        while seqs.last() != Some(&100) {
            let run = tokio::time::timeout(LIMIT, subscription.next()).await.unwrap().unwrap();
            let weight: usize = run.entries().iter().map(Entry::weight).sum();
            assert!(weight <= 4 << 20, "{weight} bytes in one run");
            seqs.extend(run.entries().iter().map(|entry| entry.seq));
        }
        assert_eq!(seqs, (first..=100).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_watch_of_few_moves_its_cursor_while_the_tenant_is_busy_with_others() {
    let world = World::new().await;
    let wanted = Uuid::from_u128(1);
    let watch = Watch::open(&world.tail, TENANT, None).await.unwrap();
    let soon = std::time::Duration::from_millis(50);
    let mut watch = watch.only(move |entry| entry.subject == wanted).telling_after(soon);
    let done = std::cell::Cell::new(false);
    let busy = async {
        for number in 2.. {
            if done.get() {
                break;
            }
            world.change(&[change(number, 1)]).await;
        }
    };
    let moves = async {
        let mut cursors = Vec::new();
        while cursors.len() < 3 {
            let (cursor, seen) = watch.next().await.unwrap();
            assert_eq!(seen, Seen::Nothing, "nobody asked for others");
            cursors.push(cursor.seq);
        }
        done.set(true);
        cursors
    };
    let ((), cursors) =
        tokio::time::timeout(LIMIT, async { tokio::join!(busy, moves) }).await.unwrap();
    assert!(cursors.is_sorted_by(|one, next| one < next), "{cursors:?}");
    // The last that passed is told too, when nobody is busy any more.
    let head = world.tail.read_head().await.unwrap().seq;
    let mut at = cursors[2];
    while at < head {
        at = tokio::time::timeout(LIMIT, watch.next()).await.unwrap().unwrap().0.seq;
    }
    world.change(&[change(1, 1)]).await;
    let (cursor, seen) = tokio::time::timeout(LIMIT, watch.next()).await.unwrap().unwrap();
    assert!(matches!(seen, Seen::Entry(entry) if entry.subject == wanted));
    assert_eq!(cursor.seq, head + 1);
}
