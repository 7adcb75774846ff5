use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::committer::Options;
use store::{Cause, Committer, Database, Error, database};
use testkit::TestDatabase;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::LIMIT;

const ONE: Options = Options { committers: 1, max_batch: 500, max_queued: 1_000 };

/// A committer whose writes wait for a permit of `gate` and note their batches.
struct Rig {
    committer: Committer<u32, u32>,
    gate: Arc<Semaphore>,
    batches: Arc<Mutex<Vec<Vec<u32>>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Rig {
    fn new(options: Options, gate: usize, refuse: fn(&[u32]) -> Option<Error>) -> Self {
        let gate = Arc::new(Semaphore::new(gate));
        let batches = Arc::new(Mutex::new(Vec::new()));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (inner_gate, inner_batches) = (Arc::clone(&gate), Arc::clone(&batches));
        let write = move |items: Vec<Arc<u32>>| {
            let (gate, batches) = (Arc::clone(&inner_gate), Arc::clone(&inner_batches));
            async move {
                gate.acquire().await.unwrap().forget();
                let items: Vec<u32> = items.iter().map(|item| **item).collect();
                batches.lock().unwrap().push(items.clone());
                match refuse(&items) {
                    Some(error) => Err(error),
                    None => Ok(items.iter().map(|item| item * 10).collect()),
                }
            }
        };
        let committer = Committer::start(options, &tasks, stop.clone(), write);
        Self { committer, gate, batches, tasks, stop }
    }

    /// Queues `items` in order; a first one, 0, occupies the only committer meanwhile.
    async fn queue(&self, items: std::ops::Range<u32>) -> Vec<tokio::task::JoinHandle<Answer>> {
        let mut answers = vec![self.submit(0)];
        self.until(|| self.committer.queued() == 0).await;
        for (position, item) in items.enumerate() {
            answers.push(self.submit(item));
            self.until(|| self.committer.queued() == position + 1).await;
        }
        answers
    }

    fn submit(&self, item: u32) -> tokio::task::JoinHandle<Answer> {
        let committer = self.committer.clone();
        tokio::spawn(async move { committer.submit(item, 1).await })
    }

    async fn until(&self, mut reached: impl FnMut() -> bool) {
        // On the test's own thread everything that is ready runs before this wakes.
        tokio::task::yield_now().await;
        testkit::eventually(LIMIT, "the queue", || std::future::ready(reached())).await;
    }

    fn batches(&self) -> Vec<Vec<u32>> {
        self.batches.lock().unwrap().clone()
    }
}

type Answer = Result<u32, Error>;

async fn all(answers: Vec<tokio::task::JoinHandle<Answer>>) -> Vec<Answer> {
    let mut results = Vec::new();
    for answer in answers {
        results.push(answer.await.unwrap());
    }
    results
}

fn data_error() -> Error {
    Error::Data(Cause::new("bad item"))
}

#[tokio::test]
async fn what_queued_during_a_write_goes_as_one_batch_in_order() {
    let rig = Rig::new(ONE, 0, |_| None);
    let answers = rig.queue(1..8).await;
    rig.gate.add_permits(2);
    let expected: Vec<Answer> = (0..8).map(|item| Ok(item * 10)).collect();
    assert_eq!(all(answers).await, expected);
    assert_eq!(rig.batches(), [vec![0], (1..8).collect()]);
}

#[tokio::test]
async fn one_bad_item_fails_alone() {
    let rig = Rig::new(ONE, 0, |items| items.contains(&5).then(data_error));
    let answers = rig.queue(1..17).await;
    rig.gate.add_permits(100);
    for (item, answer) in all(answers).await.into_iter().enumerate() {
        let expected = if item == 5 { Err(data_error()) } else { Ok(item as u32 * 10) };
        assert_eq!(answer, expected, "item {item}");
    }
    assert!(rig.batches().len() <= 1 + 2 * 4 + 1, "halved, not one by one");
}

#[tokio::test]
async fn a_conflict_repeats_the_whole_batch() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let lose_once = |_: &[u32]| {
        (CALLS.fetch_add(1, Ordering::SeqCst) == 1).then(|| Error::Conflict(Cause::new("race")))
    };
    let rig = Rig::new(ONE, 0, lose_once);
    let answers = rig.queue(1..4).await;
    rig.gate.add_permits(3);
    assert!(all(answers).await.iter().all(Result::is_ok));
    assert_eq!(rig.batches(), [vec![0], vec![1, 2, 3], vec![1, 2, 3]]);
}

#[tokio::test]
async fn an_outage_is_everybodys_answer_and_a_panic_ends_nothing() {
    let rig = Rig::new(ONE, 10, |items| match items[0] {
        1 => Some(Error::Busy(Cause::new("lock"))),
        2 => panic!("a bug"),
        _ => None,
    });
    assert!(matches!(rig.committer.submit(1, 1).await, Err(Error::Busy(_))));
    assert!(matches!(rig.committer.submit(2, 1).await, Err(Error::Internal(_))));
    assert_eq!(rig.committer.submit(3, 1).await, Ok(30));
}

#[tokio::test]
async fn the_queue_is_bounded_by_weight_and_batches_too() {
    let bounds = Options { committers: 1, max_batch: 4, max_queued: 10 };
    let rig = Rig::new(bounds, 0, |_| None);
    let first = rig.submit(0);
    rig.until(|| rig.committer.queued() == 0).await;
    let mut heavy = Vec::new();
    for item in 1..=3 {
        let committer = rig.committer.clone();
        heavy.push(tokio::spawn(async move { committer.submit(item, 3).await }));
        rig.until(|| rig.committer.queued() == item as usize * 3).await;
    }
    assert!(matches!(rig.committer.submit(9, 2).await, Err(Error::Full { .. })));
    rig.gate.add_permits(4);
    assert!(first.await.unwrap().is_ok());
    assert!(all(heavy).await.iter().all(Result::is_ok));
    assert_eq!(rig.batches(), [vec![0], vec![1], vec![2], vec![3]]);
}

#[tokio::test]
async fn a_caller_that_leaves_takes_nothing_back_and_shutdown_drains() {
    let rig = Rig::new(ONE, 0, |_| None);
    let mut answers = rig.queue(1..3).await;
    answers.remove(1).abort();
    rig.stop.cancel();
    rig.tasks.close();
    rig.gate.add_permits(10);
    tokio::time::timeout(LIMIT, rig.tasks.wait()).await.unwrap();
    assert_eq!(all(answers).await, [Ok(0), Ok(20)]);
    assert_eq!(rig.batches(), [vec![0], vec![1, 2]]);
    let late = rig.committer.submit(4, 1).await.unwrap_err();
    assert!(late.certainly_not_committed(), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_each_get_their_own_answer() {
    let options = Options { committers: 2, max_batch: 7, max_queued: 100_000 };
    let rig = Rig::new(options, 100_000, |items| {
        items.iter().any(|item| item % 97 == 0).then(data_error)
    });
    let answers: Vec<_> = (1..3_000).map(|item| (item, rig.submit(item))).collect();
    for (item, answer) in answers {
        let expected = if item % 97 == 0 { Err(data_error()) } else { Ok(item * 10) };
        assert_eq!(answer.await.unwrap(), expected, "item {item}");
    }
}

/// Counts up rows of table `tally`, as one batch; notes how many batches were tried.
async fn tallies(lock_timeout: Duration) -> (TestDatabase, Database, Committer<String, ()>, Tried) {
    let (clone, _) = crate::database().await;
    let options = database::Options { lock_timeout, ..crate::options(clone.url()) };
    let database = Database::connect(&options).await.unwrap();
    let tried = Tried::default();
    let (writer, count) = (database.clone(), Arc::clone(&tried));
    let write = move |names: Vec<Arc<String>>| {
        let database = writer.clone();
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            let sql = "update tally set count = count + 1 where name = any($1)";
            store::transaction!(&database, async |connection| {
                sqlx::query(sql).bind(&names).execute(connection).await?;
                Ok::<_, Error>(vec![(); names.len()])
            })
        }
    };
    let tasks = TaskTracker::new();
    let committer = Committer::start(ONE, &tasks, CancellationToken::new(), write);
    let sql = "insert into tally select 'n' || n, 1 from generate_series(0, 63) n";
    sqlx::query(sql).execute(database.pool()).await.unwrap();
    (clone, database, committer, tried)
}

type Tried = Arc<AtomicUsize>;

#[tokio::test]
async fn a_row_that_somebody_holds_delays_the_others_and_fails_alone() {
    let (_clone, database, committer, tried) = tallies(Duration::from_millis(200)).await;
    let mut holder = database.begin().await.unwrap();
    let hold = "select from tally where name = 'n7' for update";
    sqlx::query(hold).execute(&mut *holder).await.unwrap();
    let submit = |n: usize| {
        let committer = committer.clone();
        async move { committer.submit(format!("n{n}"), 1).await }
    };
    let answers = futures::future::join_all((0..64).map(submit)).await;
    for (n, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(()) => assert_ne!(n, 7),
            Err(error) => assert!(n == 7 && error.is_lock_timeout(), "{n}: {error:?}"),
        }
    }
    let before = tried.load(Ordering::SeqCst);
    assert!(before <= 1 + 1 + 8 + 8, "{before} batches");

    let all = "select from tally for update";
    sqlx::query(all).execute(&mut *holder).await.unwrap();
    let answers = futures::future::join_all((0..64).map(submit)).await;
    assert!(answers.iter().all(|it| it.as_ref().is_err_and(Error::is_lock_timeout)));
    let looks = tried.load(Ordering::SeqCst) - before;
    assert!(looks <= 1 + 6, "given up after {looks} looks");
}
