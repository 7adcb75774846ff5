//! Group commit without a timer.
//!
//! Callers queue items; a free committer takes what is queued – nothing waits for company, a
//! batch is what arrived while the last one was being written. Order: batches are taken
//! first-in first-out, but two committers write side by side, so items of different batches
//! may commit in either order.
//!
//! - The caller's answer comes after the commit of its item. A caller that leaves takes
//!   nothing back: an item once queued is written.
//! - The queue is bounded by weight (an item may carry several rows); when it is full the
//!   caller hears [`Error::Full`] at once.
//! - An error that blames a row ([`Error::blames_one_row`]) splits the batch in halves until
//!   the bad item stands alone; the others are committed. A conflict repeats the whole batch.
//! - A lock that was waited for in vain ([`Error::is_lock_timeout`]) splits the batch too, in
//!   eighths, since each look costs the time-out: one held row delays the others by three of
//!   them in a batch of 500. When many rows are held, the batch is given up after a few.
//! - Any other error is the answer to every item of the batch.
//! - After cancellation nothing new is taken; what is queued is written, then the tasks end.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{Cause, Error};
use crate::jitter;

/// The bounds of a [`Committer`].
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many batches are written at the same time. More than two on a small machine only
    /// adds waiting (measured, see the notes on the feed).
    pub committers: usize,
    /// The weight of a batch; an item heavier than this goes alone.
    pub max_batch: usize,
    /// The weight that may wait.
    pub max_queued: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { committers: 2, max_batch: 500, max_queued: 10_000 }
    }
}

/// How often a batch is tried in all when it loses races.
const ATTEMPTS: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(10);
/// Into how many parts a lock that is held splits a batch, and how often.
const LOCK_PARTS: usize = 8;
const LOCK_TIMEOUTS: u32 = 6;
/// What a caller is told when the queue is full: about two batches.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// A handle to queue items; cheap to clone.
pub struct Committer<I, O> {
    shared: Arc<Shared<I, O>>,
}

impl<I, O> Clone for Committer<I, O> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<I, O> std::fmt::Debug for Committer<I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer").field("queued", &self.queued()).finish_non_exhaustive()
    }
}

struct Shared<I, O> {
    options: Options,
    state: Mutex<State<I, O>>,
    work: Notify,
    stop: CancellationToken,
}

struct State<I, O> {
    queue: VecDeque<Job<I, O>>,
    weight: usize,
    closed: bool,
}

struct Job<I, O> {
    item: Arc<I>,
    weight: usize,
    answer: oneshot::Sender<Result<O, Error>>,
}

impl<I, O> Shared<I, O> {
    fn state(&self) -> MutexGuard<'_, State<I, O>> {
        // Nothing panics while holding the lock; a poisoned queue is still a queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I, O> Committer<I, O>
where
    I: Send + Sync + 'static,
    O: Send + 'static,
{
    /// Starts the committers on `tasks`; they drain and end when `stop` is cancelled.
    ///
    /// `write` commits a batch in one transaction and answers one output per item, in order.
    /// A refusal that is a decision (not an error of the store) belongs in the output.
    pub fn start<F, R>(
        options: Options,
        tasks: &TaskTracker,
        stop: CancellationToken,
        write: F,
    ) -> Self
    where
        F: Fn(Vec<Arc<I>>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<O>, Error>> + Send + 'static,
    {
        let state = State { queue: VecDeque::new(), weight: 0, closed: false };
        let shared =
            Arc::new(Shared { options, state: Mutex::new(state), work: Notify::new(), stop });
        let write = Arc::new(write);
        for _ in 0..options.committers.max(1) {
            tasks.spawn(run(Arc::clone(&shared), Arc::clone(&write)));
        }
        Self { shared }
    }

    /// Queues an item of `weight` rows and waits until it is committed.
    ///
    /// # Errors
    /// [`Error::Full`] when the queue is, [`Error::Unavailable`] while shutting down, else
    /// what the write of this item's batch answered.
    pub async fn submit(&self, item: I, weight: usize) -> Result<O, Error> {
        let weight = weight.max(1);
        let (answer, committed) = oneshot::channel();
        {
            let mut state = self.shared.state();
            if state.closed {
                return Err(unavailable(true, "shutting down"));
            }
            // An item heavier than the whole queue is let in when nothing else waits.
            let max_queued = self.shared.options.max_queued;
            if state.weight > 0 && state.weight + weight > max_queued {
                return Err(Error::Full { retry_after: RETRY_AFTER });
            }
            state.weight += weight;
            state.queue.push_back(Job { item: Arc::new(item), weight, answer });
        }
        self.shared.work.notify_one();
        committed.await.unwrap_or_else(|_| Err(unavailable(false, "the committer is gone")))
    }
}

impl<I, O> Committer<I, O> {
    /// The weight that waits (for a gauge).
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.state().weight
    }
}

fn unavailable(certainly_not_committed: bool, why: &'static str) -> Error {
    Error::Unavailable { certainly_not_committed, cause: Cause::new(why) }
}

async fn run<I, O, F, R>(shared: Arc<Shared<I, O>>, write: Arc<F>)
where
    I: Send + Sync + 'static,
    O: Send + 'static,
    F: Fn(Vec<Arc<I>>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Vec<O>, Error>> + Send + 'static,
{
    loop {
        let batch = take(&shared);
        if !batch.is_empty() {
            commit(batch, write.as_ref()).await;
            continue;
        }
        if shared.state().closed {
            return;
        }
        tokio::select! {
            () = shared.work.notified() => {}
            () = shared.stop.cancelled() => shared.state().closed = true,
        }
    }
}

/// What is queued, up to the weight of a batch.
fn take<I, O>(shared: &Shared<I, O>) -> Vec<Job<I, O>> {
    let mut state = shared.state();
    if shared.stop.is_cancelled() {
        state.closed = true;
    }
    let mut batch = Vec::new();
    let mut weight = 0;
    while let Some(job) = state.queue.front() {
        if !batch.is_empty() && weight + job.weight > shared.options.max_batch {
            break;
        }
        weight += job.weight;
        batch.extend(state.queue.pop_front());
    }
    state.weight -= weight;
    if !state.queue.is_empty() {
        // Two submits may have left one wake-up: pass it on.
        shared.work.notify_one();
    }
    batch
}

/// Writes a batch, in parts where a row is to blame. O(b · log n) writes for b bad items.
async fn commit<I, O, F, R>(batch: Vec<Job<I, O>>, write: &F)
where
    F: Fn(Vec<Arc<I>>) -> R,
    R: Future<Output = Result<Vec<O>, Error>>,
{
    let mut parts = vec![batch];
    let mut lock_timeouts = 0;
    while let Some(part) = parts.pop() {
        match write_whole(&part, write).await {
            Ok(outputs) => {
                for (job, output) in part.into_iter().zip(outputs) {
                    // The caller may have left: the write stands.
                    let _ = job.answer.send(Ok(output));
                }
            }
            Err(error) if error.blames_one_row() && part.len() > 1 => split(&mut parts, part, 2),
            Err(error) if error.is_lock_timeout() => {
                lock_timeouts += 1;
                if lock_timeouts >= LOCK_TIMEOUTS {
                    refuse(parts.drain(..).flatten().chain(part), &error);
                } else if part.len() > 1 {
                    split(&mut parts, part, LOCK_PARTS);
                } else {
                    refuse(part, &error);
                }
            }
            Err(error) => refuse(part, &error),
        }
    }
}

/// Puts a part back as several, the first to be taken next.
fn split<J>(parts: &mut Vec<Vec<J>>, mut part: Vec<J>, into: usize) {
    let size = part.len().div_ceil(into);
    while part.len() > size {
        // The last one is the short one.
        let rest = part.len() % size;
        let length = if rest == 0 { size } else { rest };
        parts.push(part.split_off(part.len() - length));
    }
    parts.push(part);
}

fn refuse<I, O>(jobs: impl IntoIterator<Item = Job<I, O>>, error: &Error) {
    for job in jobs {
        let _ = job.answer.send(Err(error.clone()));
    }
}

async fn write_whole<I, O, F, R>(part: &[Job<I, O>], write: &F) -> Result<Vec<O>, Error>
where
    F: Fn(Vec<Arc<I>>) -> R,
    R: Future<Output = Result<Vec<O>, Error>>,
{
    let mut attempt = 0;
    loop {
        let items = part.iter().map(|job| Arc::clone(&job.item)).collect();
        let written = AssertUnwindSafe(async { write(items).await }).catch_unwind().await;
        attempt += 1;
        match written {
            Ok(Ok(outputs)) if outputs.len() == part.len() => return Ok(outputs),
            Ok(Ok(_)) => return Err(Error::internal("a batch answered the wrong number of items")),
            Ok(Err(Error::Conflict(_))) if attempt < ATTEMPTS => {
                tokio::time::sleep(jitter::wait(FIRST_WAIT, attempt)).await;
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(Error::internal("writing a batch panicked")),
        }
    }
}
