//! The life of one lane: lease, subscription, bootstrap, and again.

use std::future::Future;
use std::time::Duration;

use contracts::feed::v1::{FeedEntry, SubscribeResponse};
use futures::FutureExt;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use uuid::Uuid;

use super::Lane;
use super::apply::{Mode, pause};
use super::checkpoint::{Held, Target};
use crate::service::HEARTBEAT;
use crate::tail::Position;
use crate::upstream::epoch;
use crate::{Entry, Error, Handler};

/// How long entries without an effect may be passed before the row knows of it.
const PASS: Duration = Duration::from_millis(500);
/// After so many heartbeats without a sound the connection is taken for dead.
const SILENT_BEATS: u32 = 4;

/// How a turn at the lease ended.
enum Turn {
    /// Somebody else holds it.
    NotOurs,
    /// The owner closed the stream.
    Ended,
}

impl<H: Handler> Lane<H> {
    /// Works until cancelled.
    pub(super) async fn run(self, cancel: CancellationToken) {
        let mut failures = 0;
        while !cancel.is_cancelled() {
            let begun = Instant::now();
            match self.turn(&cancel).await {
                Ok(Turn::NotOurs) => {
                    let wait = self.checkpoint.lease / 4;
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                    continue;
                }
                Ok(Turn::Ended) | Err(Error::Stopped | Error::LeaseLost) => {}
                Err(error) => tracing::warn!(
                    consumer = self.checkpoint.consumer,
                    lane = self.checkpoint.lane,
                    error = &error as &dyn std::error::Error,
                    "feed not followed"
                ),
            }
            if begun.elapsed() > HEARTBEAT {
                failures = 0;
            }
            if pause(failures, &cancel).await.is_err() {
                return;
            }
            failures += 1;
        }
    }

    /// Takes the lease, works, gives it back.
    async fn turn(&self, cancel: &CancellationToken) -> Result<Turn, Error> {
        let held = {
            let mut connection = self.database.acquire().await?;
            self.checkpoint.acquire(&mut connection).await?
        };
        let Some(mut held) = held else { return Ok(Turn::NotOurs) };
        let outcome = match self.follow(&mut held, cancel).await {
            Err(Error::Truncated) => self.begin_again(&mut held, cancel).await,
            other => other,
        };
        if !matches!(outcome, Err(Error::LeaseLost)) {
            let mut connection = self.database.acquire().await?;
            self.checkpoint.release(&mut connection, &held).await?;
        }
        outcome.map(|()| Turn::Ended)
    }

    async fn begin_again(&self, held: &mut Held, cancel: &CancellationToken) -> Result<(), Error> {
        self.bootstrap(held, cancel).await?;
        // Truncated once more means that something is wrong: the caller pauses.
        self.follow(held, cancel).await
    }

    /// Applies the log from the checkpoint on.
    async fn follow(&self, held: &mut Held, cancel: &CancellationToken) -> Result<(), Error> {
        let from = Position { epoch: held.feed_epoch, seq: held.position };
        let call = self.upstream.subscribe(from, self.shards);
        let mut answers = self.hear(held, call, cancel).await?;
        let mut ahead = None;
        let mut not_before = Instant::now();
        loop {
            let answer = match ahead.take() {
                Some(heard) => heard?,
                None => self.hear(held, next(&mut answers), cancel).await?,
            };
            let Some(mut answer) = answer else { return Ok(()) };
            sleep_until(not_before).await;
            ahead = gather(&mut answers, &mut answer, self.max_run);
            self.accept(held, answer, cancel).await?;
            not_before = Instant::now() + self.pace;
        }
    }

    async fn accept(
        &self,
        held: &mut Held,
        answer: SubscribeResponse,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        let epoch = epoch(&answer.feed_epoch)?;
        if held.feed_epoch.is_some_and(|known| known != epoch) {
            return Err(Error::Truncated);
        }
        let mut entries = read(answer.entries)?;
        if entries.is_empty() {
            // A heartbeat: everything up to the head was sent.
            let moves = answer.head_seq > held.position || held.feed_epoch.is_none();
            if moves {
                self.move_to(held, answer.head_seq, epoch).await?;
            }
        }
        let mut last = held.passed;
        for entry in &entries {
            if entry.seq <= last {
                return Err(Error::Malformed("seq"));
            }
            last = entry.seq;
        }
        entries.retain(|entry| self.handler.concerns(entry));
        for run in entries.chunks(self.max_run) {
            self.apply(held, run, Mode::Follow(epoch), cancel).await?;
            self.measure(answer.head_seq - held.position, run);
            if cancel.is_cancelled() {
                return Err(Error::Stopped);
            }
        }
        held.passed = last;
        // A row that knows no epoch yet cannot be read from a position.
        if held.feed_epoch.is_none() || held.has_passed() && held.written.elapsed() >= PASS {
            self.move_to(held, last, epoch).await?;
        }
        self.measure(answer.head_seq - last, &[]);
        Ok(())
    }

    /// Reads the current state of all subjects, then stands where that began.
    async fn bootstrap(&self, held: &mut Held, cancel: &CancellationToken) -> Result<(), Error> {
        let consumer = &self.checkpoint.consumer;
        let lane = self.checkpoint.lane;
        tracing::warn!(consumer, lane, position = held.position, "bootstrap begins");
        self.metrics.bootstraps.get_or_create(&self.label).inc();
        let call = self.upstream.snapshot(self.shards);
        let mut answers = self.hear(held, call, cancel).await?;
        let mut head: Option<(Uuid, i64)> = None;
        let mut applied = 0;
        while let Some(answer) = self.hear(held, next(&mut answers), cancel).await? {
            let named = (epoch(&answer.feed_epoch)?, answer.head_seq);
            if *head.get_or_insert(named) != named {
                return Err(Error::Malformed("head_seq"));
            }
            let mut entries = read(answer.entries)?;
            entries.retain(|entry| self.handler.concerns(entry));
            for run in entries.chunks(self.max_run) {
                self.apply(held, run, Mode::Bootstrap, cancel).await?;
                applied += run.len();
            }
        }
        let (epoch, seq) = head.ok_or(Error::Malformed("feed_epoch"))?;
        self.move_to(held, seq, epoch).await?;
        tracing::info!(consumer, lane, position = seq, applied, "bootstrap ends");
        Ok(())
    }

    /// Moves the checkpoint without an effect.
    async fn move_to(&self, held: &mut Held, position: i64, epoch: Uuid) -> Result<(), Error> {
        let to = Target { position, feed_epoch: Some(epoch) };
        let mut connection = self.database.acquire().await?;
        self.checkpoint.advance(&mut connection, held, to).await?;
        held.moved(to);
        Ok(())
    }

    /// Keeps the lease; the row learns how far entries were passed.
    async fn renew(&self, held: &mut Held) -> Result<(), Error> {
        let to = Target { position: held.passed, feed_epoch: held.feed_epoch };
        let mut connection = self.database.acquire().await?;
        self.checkpoint.advance(&mut connection, held, to).await?;
        held.moved(to);
        Ok(())
    }

    /// Waits for the owner; renews the lease meanwhile.
    async fn hear<T>(
        &self,
        held: &mut Held,
        answer: impl Future<Output = Result<T, Error>>,
        cancel: &CancellationToken,
    ) -> Result<T, Error> {
        let silent = sleep_until(Instant::now() + HEARTBEAT * SILENT_BEATS);
        tokio::pin!(silent, answer);
        loop {
            let renewal = if held.has_passed() { PASS } else { self.checkpoint.lease / 3 };
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(Error::Stopped),
                answer = &mut answer => return answer,
                () = &mut silent => return Err(Error::Silent),
                () = tokio::time::sleep(renewal) => {
                    self.renew(held).await?;
                }
            }
        }
    }

    fn measure(&self, lag: i64, run: &[Entry]) {
        self.metrics.lag.get_or_create(&self.label).set(lag.max(0));
        if let Some(last) = run.last() {
            let now = jiff::Timestamp::now().as_microsecond();
            let delay = (now - last.at_us).max(0) as f64 / 1e6;
            self.metrics.delay.get_or_create(&self.label).set(delay);
        }
    }
}

/// What the stream said next, for the next round.
type Ahead = Option<Result<Option<SubscribeResponse>, Error>>;

/// Adds what is there already to an answer, up to a full run: a transaction costs a flush, so
/// a consumer that is behind must take more at a time, not more often. What does not belong
/// to the run is handed back.
fn gather(
    answers: &mut Streaming<SubscribeResponse>,
    answer: &mut SubscribeResponse,
    max_run: usize,
) -> Ahead {
    while !answer.entries.is_empty() && answer.entries.len() < max_run {
        // Nothing is lost when nothing is there: the stream keeps what it has read of a message.
        match answers.message().now_or_never()? {
            Ok(Some(more)) if more.feed_epoch == answer.feed_epoch && !more.entries.is_empty() => {
                answer.head_seq = more.head_seq;
                answer.entries.extend(more.entries);
            }
            other => return Some(other.map_err(Error::from)),
        }
    }
    None
}

async fn next<T>(answers: &mut Streaming<T>) -> Result<Option<T>, Error> {
    Ok(answers.message().await?)
}

fn read(messages: Vec<FeedEntry>) -> Result<Vec<Entry>, Error> {
    messages.into_iter().map(Entry::from_message).collect()
}
