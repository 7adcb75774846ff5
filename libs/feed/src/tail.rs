//! Reading the end of the service's own log: one reader per process, any number of subscribers.
//!
//! The tail wakes when the process commits ([`Tail::wake`]), when another replica rings, and
//! every 250 ms; it reads only while somebody is subscribed. What it reads goes to a broadcast
//! that is bounded in entries and in bytes. A subscriber that is behind (new, or too slow for the broadcast) reads the table
//! itself until it has caught up: slow subscribers cost themselves, never the others.
//!
//! Every step checks that `seq` has no gap. A gap, another epoch or a head below the position
//! means that the log is not the one that was followed: subscribers get [`Error::Truncated`] and
//! bootstrap. There is no skipping.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use store::{Bell, Database, bell};
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::schema::{self, Head, Limit};
use crate::{Entry, Error, Metrics};

/// How much one read takes.
const BATCH: Limit = Limit { entries: 2_000, bytes: 4 << 20 };
/// How many reads the broadcast holds before a subscriber counts as slow: 64 MiB at most.
const CHUNKS: usize = 16;
/// The floor when no bell rings.
const POLL: Duration = Duration::from_millis(250);
/// The pause after a failed read.
const PAUSE: Duration = Duration::from_millis(500);

/// Where a subscriber stands: entries after `seq` are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The life of the log that `seq` counts in; nothing for a first subscription from 0.
    pub epoch: Option<Uuid>,
    /// The last entry that was seen.
    pub seq: i64,
}

/// A handle on the tail; clones share it.
#[derive(Clone)]
pub struct Tail(Arc<Inner>);

struct Inner {
    pool: PgPool,
    signals: broadcast::Sender<Signal>,
    head: watch::Sender<i64>,
    bell: Option<Bell>,
    woken: Notify,
    joined: Notify,
    receipts: Notify,
    metrics: Metrics,
}

#[derive(Clone)]
enum Signal {
    /// The next entries of this epoch.
    Entries(Uuid, Arc<[Entry]>),
    /// The tail begins here: who is before it reads the table.
    Begin(i64),
    /// This is not the log that was followed.
    Broken,
    /// The process stops.
    Stopped,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("head", &self.head()).finish_non_exhaustive()
    }
}

impl Tail {
    /// A tail of the log in `database`, with at most three connections of its own.
    /// The bell is heard and rung by all replicas of the service. Nothing arrives until
    /// [`Tail::run`] runs.
    #[must_use]
    pub fn new(database: &Database, bell: Option<Bell>, metrics: Metrics) -> Self {
        // A read must end between two heartbeats, or it would be begun again for ever.
        // A plan made while the log was empty would scan and sort it for ever after.
        let guarded = PgPoolOptions::new()
            .max_connections(3)
            .acquire_timeout(Duration::from_secs(2))
            .after_connect(|connection, _| {
                Box::pin(async move {
                    let guards = "set enable_seqscan = off; set enable_bitmapscan = off; \
                                  set enable_sort = off; set statement_timeout = '4s'";
                    sqlx::raw_sql(guards).execute(connection).await?;
                    Ok(())
                })
            })
            .connect_lazy_with((*database.pool().connect_options()).clone());
        Self(Arc::new(Inner {
            pool: guarded,
            signals: broadcast::channel(CHUNKS).0,
            head: watch::channel(0).0,
            bell,
            woken: Notify::new(),
            joined: Notify::new(),
            receipts: Notify::new(),
            metrics,
        }))
    }

    /// Says that this process committed something. Never waits.
    pub fn wake(&self) {
        match &self.0.bell {
            Some(bell) => bell.ring(),
            None => self.0.woken.notify_one(),
        }
    }

    /// Says that a receipt was committed here, see [`receipt`](crate::receipt). Never waits.
    pub fn pass_receipts(&self) {
        self.0.receipts.notify_one();
    }

    pub(crate) async fn receipts_to_pass(&self) {
        self.0.receipts.notified().await;
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.0.pool
    }

    /// The highest sequence number that was read; 0 while nobody has subscribed.
    #[must_use]
    pub fn head(&self) -> i64 {
        *self.0.head.borrow()
    }

    /// Reads the head from the database.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn read_head(&self) -> Result<Head, Error> {
        schema::head(&self.0.pool).await
    }

    /// Reads until cancelled, then ends every subscription with [`Error::Stopped`].
    pub async fn run(&self, cancel: CancellationToken) {
        let mut at = None;
        let mut listener = self.0.bell.as_ref().map(Bell::listen);
        while !cancel.is_cancelled() {
            if self.0.signals.receiver_count() == 0 {
                at = None;
                tokio::select! {
                    () = cancel.cancelled() => break,
                    () = self.0.joined.notified() => {}
                }
            }
            let pause = match self.step(&mut at).await {
                Ok(true) => continue,
                Ok(false) => POLL,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "feed not read");
                    PAUSE
                }
            };
            tokio::select! {
                () = cancel.cancelled() => break,
                () = self.woken(listener.as_mut(), pause) => {}
            }
        }
        self.send(Signal::Stopped);
        self.0.pool.close().await;
    }

    /// Waits until somebody committed, at most `at_most`.
    async fn woken(&self, listener: Option<&mut bell::Listener>, at_most: Duration) {
        match listener {
            Some(listener) => {
                listener.heard(at_most).await;
            }
            None => {
                // An error is the time-out.
                let _ = tokio::time::timeout(at_most, self.0.woken.notified()).await;
            }
        }
    }

    /// One look at the end; true if there may be more at once.
    async fn step(&self, at: &mut Option<Head>) -> Result<bool, Error> {
        let head = self.read_head().await?;
        self.0.head.send_replace(head.seq);
        self.0.metrics.head.set(head.seq);
        let Some(position) = at else {
            *at = Some(head);
            self.send(Signal::Begin(head.seq));
            return Ok(false);
        };
        if head.epoch != position.epoch || head.seq < position.seq {
            tracing::error!(from = position.seq, to = head.seq, "feed was replaced");
            *at = Some(head);
            self.send(Signal::Broken);
            return Ok(false);
        }
        if head.seq == position.seq {
            return Ok(false);
        }
        let entries = schema::read_after(&self.0.pool, position.seq, BATCH).await?;
        if !self.follows(position.seq, &entries) {
            *at = Some(head);
            self.send(Signal::Broken);
            return Ok(false);
        }
        let Some(last) = entries.last() else { return Ok(false) };
        position.seq = last.seq;
        let more = position.seq < head.seq;
        self.send(Signal::Entries(head.epoch, entries.into()));
        Ok(more)
    }

    fn send(&self, signal: Signal) {
        // An error says that nobody listens.
        let _ = self.0.signals.send(signal);
    }

    /// True if the entries follow the position without a gap.
    fn follows(&self, position: i64, entries: &[Entry]) -> bool {
        for (entry, expected) in entries.iter().zip(position + 1..) {
            if entry.seq != expected {
                tracing::error!(expected, found = entry.seq, "gap in the feed");
                self.0.metrics.gaps.inc();
                return false;
            }
        }
        true
    }

    /// Subscribes from a position.
    ///
    /// # Errors
    /// [`Error::Truncated`] when the position is older than what is kept, ahead of the head or of
    /// another epoch; [`Error::Database`].
    pub async fn subscribe(&self, from: Position) -> Result<Subscription, Error> {
        // Listen first, then read: what is committed in between is in one of the two.
        let signals = self.0.signals.subscribe();
        self.0.joined.notify_one();
        let head = self.read_head().await?;
        let same_epoch = from.epoch.map_or(from.seq == 0, |epoch| epoch == head.epoch);
        if !same_epoch || from.seq > head.seq || from.seq < 0 {
            return Err(Error::Truncated);
        }
        let subscription = Subscription {
            tail: self.clone(),
            signals,
            epoch: head.epoch,
            position: from.seq,
            behind: true,
        };
        let oldest = schema::oldest(&self.0.pool).await?;
        if oldest.is_some_and(|oldest| oldest > from.seq + 1) {
            return Err(Error::Truncated);
        }
        Ok(subscription)
    }
}

/// Some entries in order, without a gap to the run before.
#[derive(Debug, Clone)]
pub struct Run {
    all: Arc<[Entry]>,
    from: usize,
}

impl Run {
    /// The entries; at least one.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.all.get(self.from..).unwrap_or_default()
    }
}

/// One subscriber's place in the log.
pub struct Subscription {
    tail: Tail,
    signals: broadcast::Receiver<Signal>,
    epoch: Uuid,
    position: i64,
    behind: bool,
}

impl Subscription {
    /// The epoch that the positions count in.
    #[must_use]
    pub fn epoch(&self) -> Uuid {
        self.epoch
    }

    /// The last entry that was returned, or where the subscription began.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The highest sequence number known; never below the position.
    #[must_use]
    pub fn head(&self) -> i64 {
        self.tail.head().max(self.position)
    }

    /// Waits for the next entries. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Truncated`] when the log is no longer the one that was subscribed to,
    /// [`Error::Stopped`] when the process stops, [`Error::Database`].
    pub async fn next(&mut self) -> Result<Run, Error> {
        loop {
            if self.behind {
                if let Some(run) = self.catch_up().await? {
                    return Ok(self.take(run));
                }
                self.behind = false;
            }
            match self.signals.recv().await {
                Ok(Signal::Entries(epoch, entries)) if epoch == self.epoch => {
                    if let Some(run) = self.fit(entries) {
                        return Ok(self.take(run));
                    }
                }
                Ok(Signal::Entries(..) | Signal::Broken) => return Err(Error::Truncated),
                Ok(Signal::Begin(seq)) => self.behind = seq > self.position,
                Ok(Signal::Stopped) | Err(broadcast::error::RecvError::Closed) => {
                    return Err(Error::Stopped);
                }
                Err(broadcast::error::RecvError::Lagged(_)) => self.behind = true,
            }
        }
    }

    fn take(&mut self, run: Run) -> Run {
        if let Some(last) = run.all.last() {
            self.position = last.seq;
        }
        run
    }

    /// The part of a broadcast after the position; notes when something is missing before it.
    fn fit(&mut self, all: Arc<[Entry]>) -> Option<Run> {
        let first = all.first()?.seq;
        if first > self.position + 1 {
            self.behind = true;
            return None;
        }
        let from = usize::try_from(self.position + 1 - first).ok()?;
        (from < all.len()).then_some(Run { all, from })
    }

    /// Reads the table after the position; nothing when there is no more.
    async fn catch_up(&self) -> Result<Option<Run>, Error> {
        let pool = &self.tail.0.pool;
        let head = schema::head(pool).await?;
        if head.epoch != self.epoch || head.seq < self.position {
            return Err(Error::Truncated);
        }
        let entries = schema::read_after(pool, self.position, BATCH).await?;
        let Some(first) = entries.first() else { return Ok(None) };
        if first.seq > self.position + 1 {
            return Err(Error::Truncated); // retention was faster than this subscriber
        }
        if !self.tail.follows(self.position, &entries) {
            return Err(Error::Truncated);
        }
        Ok(Some(Run { all: entries.into(), from: 0 }))
    }
}
