//! Applying one run: the checkpoint moves with the effect, a bad entry is isolated.

use std::time::Duration;

use sqlx::Acquire;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Lane;
use super::checkpoint::{Held, Target};
use crate::{Entry, Error, HandleError, Handler, dead_letter};

/// The first pause after a failure; it doubles up to `MAX_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// How the checkpoint moves with a run.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mode {
    /// To the last entry of the run, in this epoch of the feed.
    Follow(Uuid),
    /// Not at all: the snapshot counts only when it is complete.
    Bootstrap,
}

impl Mode {
    fn target(self, held: &Held, run: &[Entry]) -> Target {
        match (self, run.last()) {
            (Self::Follow(epoch), Some(last)) => {
                Target { position: last.seq, feed_epoch: Some(epoch) }
            }
            _ => held.here(),
        }
    }
}

/// Why a run was not applied.
enum Failure {
    /// One of its entries is bad.
    Poison(String),
    /// To be repeated.
    Transient(Box<dyn std::error::Error + Send + Sync>),
    /// The lane must begin again from its row.
    Fatal(Error),
}

impl From<HandleError> for Failure {
    fn from(error: HandleError) -> Self {
        match error {
            HandleError::Poison(text) => Self::Poison(text),
            HandleError::Transient(error) => Self::Transient(error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::LeaseLost | Error::Stopped => Self::Fatal(error),
            other => Self::Transient(Box::new(other)),
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::Transient(Box::new(error))
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        store::Error::from(error).into()
    }
}

impl<H: Handler> Lane<H> {
    /// Applies a run, in as many transactions as its bad entries need. Returns when it is done,
    /// the lease is lost or the process stops.
    pub(super) async fn apply(
        &self,
        held: &mut Held,
        run: &[Entry],
        mode: Mode,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        let mut parts = vec![run];
        let mut failures = 0;
        while let Some(part) = parts.pop() {
            let to = mode.target(held, part);
            let mut outcome = self.attempt(held, part, to).await;
            if let Err(Failure::Poison(text)) = &outcome {
                if part.len() > 1 {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                    continue;
                }
                outcome = self.park(held, part, to, text).await;
            }
            match outcome {
                Ok(()) => {
                    held.moved(to);
                    failures = 0;
                }
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Poison(text)) => return Err(self.inconsistent(text)),
                Err(Failure::Transient(error)) => {
                    tracing::warn!(
                        consumer = self.checkpoint.consumer,
                        lane = self.checkpoint.lane,
                        seq = part.first().map(|entry| entry.seq),
                        error = &*error as &(dyn std::error::Error + 'static),
                        "run repeated"
                    );
                    self.metrics.repeats.get_or_create(&self.label).inc();
                    parts.push(part);
                    pause(failures, cancel).await?;
                    failures += 1;
                }
            }
        }
        Ok(())
    }

    /// Parking answers no poison; if it ever does, the lane begins again.
    fn inconsistent(&self, text: String) -> Error {
        Error::Database(store::Error::internal(text))
    }

    /// One transaction: checkpoint, letters of parked subjects, effect.
    async fn attempt(&self, held: &Held, run: &[Entry], to: Target) -> Result<(), Failure> {
        let mut connection = self.database.acquire().await?;
        let mut transaction = connection.begin().await?;
        let letters = self.checkpoint.advance(&mut transaction, held, to).await?;
        let consumer = &self.checkpoint.consumer;
        let parked = if letters {
            dead_letter::parked(&mut transaction, consumer, run).await?
        } else {
            Default::default()
        };
        let mut followed = 0;
        if parked.is_empty() {
            self.handler.handle(&mut transaction, run).await?;
        } else {
            let (follow, live): (Vec<Entry>, Vec<Entry>) = run
                .iter()
                .cloned()
                .partition(|entry| parked.contains(&(entry.tenant.uuid(), entry.subject)));
            dead_letter::park(&mut transaction, consumer, &follow, dead_letter::FOLLOWS).await?;
            followed = follow.len() as u64;
            if !live.is_empty() {
                self.handler.handle(&mut transaction, &live).await?;
            }
        }
        let committed = transaction.commit().await;
        // Also when the answer was lost on the way: the row will tell, the hint does no harm.
        self.handler.committed(run);
        committed.map_err(HandleError::from)?;
        self.metrics.applied.get_or_create(&self.label).inc_by(run.len() as u64 - followed);
        self.metrics.parked.get_or_create(&self.label).inc_by(followed);
        Ok(())
    }

    /// Puts one bad entry aside and moves on.
    async fn park(
        &self,
        held: &Held,
        alone: &[Entry],
        to: Target,
        error: &str,
    ) -> Result<(), Failure> {
        let mut connection = self.database.acquire().await?;
        let mut transaction = connection.begin().await?;
        self.checkpoint.advance(&mut transaction, held, to).await?;
        let consumer = &self.checkpoint.consumer;
        dead_letter::park(&mut transaction, consumer, alone, error).await?;
        transaction.commit().await?;
        self.metrics.parked.get_or_create(&self.label).inc();
        for entry in alone {
            let (seq, kind) = (entry.seq, entry.kind);
            let subject = entry.subject;
            tracing::error!(consumer, seq, kind, %subject, error, "subject parked");
        }
        Ok(())
    }
}

/// Waits longer after each failure, spread so that lanes do not repeat in step.
pub(super) async fn pause(failures: u32, cancel: &CancellationToken) -> Result<(), Error> {
    let longest = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(MAX_PAUSE);
    let random = u32::from(Uuid::new_v4().as_bytes()[0]);
    let spread = longest / 2 + longest / 2 * random / 255;
    tokio::select! {
        () = cancel.cancelled() => Err(Error::Stopped),
        () = tokio::time::sleep(spread) => Ok(()),
    }
}
