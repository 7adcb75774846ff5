//! The log for the public Watch RPCs: one tenant's entries, with a place to resume from.
//!
//! A resume token is a sealed [`Cursor`] (`store::page_token` binds it to tenant and method).
//! Entries of other tenants, and those that the caller did not ask for, never leave this module;
//! that they passed shows only as a cursor that moves, so that the token of one who hears little
//! does not fall out of what is kept.

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use futures::stream::try_unfold;
use kernel::TenantId;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::tail::{Position, Subscription};
use crate::{Entry, Error, Tail};

/// How long a watch with nothing to show keeps to itself that its cursor moved.
const PROGRESS: Duration = Duration::from_secs(10);

type Wanted = Box<dyn Fn(&Entry) -> bool + Send + Sync>;

/// A place in one life of the log: what a resume token carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Which life of the log.
    pub epoch: Uuid,
    /// Everything up to here was seen.
    pub seq: i64,
}

impl Cursor {
    /// The payload of a resume token.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let (epoch, seq) = bytes.split_at_mut(16);
        epoch.copy_from_slice(self.epoch.as_bytes());
        seq.copy_from_slice(&self.seq.to_be_bytes());
        bytes
    }

    /// Reads the payload of a resume token.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not a cursor.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = || Error::Malformed("resume_token");
        let (epoch, seq) = bytes.split_at_checked(16).ok_or_else(malformed)?;
        let epoch = Uuid::from_slice(epoch).map_err(|_| malformed())?;
        let seq = i64::from_be_bytes(seq.try_into().map_err(|_| malformed())?);
        if seq < 0 { Err(malformed()) } else { Ok(Self { epoch, seq }) }
    }
}

/// What a watch has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// An entry of the tenant that is wanted.
    Entry(Entry),
    /// Other entries passed: only the cursor moved.
    Nothing,
}

/// One tenant's view of the log.
pub struct Watch {
    subscription: Subscription,
    tenant: TenantId,
    wanted: Wanted,
    waiting: VecDeque<Entry>,
    /// The cursor that the caller has, and since when.
    told: (i64, Instant),
    progress: Duration,
}

impl Watch {
    /// Begins after a cursor, or now.
    ///
    /// # Errors
    /// [`Error::Truncated`] when the cursor is no longer, or not, of this log;
    /// [`Error::Database`].
    pub async fn open(tail: &Tail, tenant: TenantId, from: Option<Cursor>) -> Result<Self, Error> {
        let from = match from {
            Some(cursor) => Position { epoch: Some(cursor.epoch), seq: cursor.seq },
            None => {
                let head = tail.read_head().await?;
                Position { epoch: Some(head.epoch), seq: head.seq }
            }
        };
        let subscription = tail.subscribe(from).await?;
        Ok(Self {
            told: (subscription.position(), Instant::now()),
            subscription,
            tenant,
            wanted: Box::new(|_| true),
            waiting: VecDeque::new(),
            progress: PROGRESS,
        })
    }

    /// Shows only some of the tenant's entries. To be asked for here: an entry that the caller
    /// drops by itself moves no cursor.
    #[must_use]
    pub fn only(self, wanted: impl Fn(&Entry) -> bool + Send + Sync + 'static) -> Self {
        Self { wanted: Box::new(wanted), ..self }
    }

    /// Says after this time, instead of ten seconds, that only the cursor moved.
    #[must_use]
    pub fn telling_after(self, progress: Duration) -> Self {
        Self { progress, ..self }
    }

    /// Where a caller that has seen everything returned so far resumes.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let next = self.waiting.front().map(|entry| entry.seq - 1);
        Cursor {
            epoch: self.subscription.epoch(),
            seq: next.unwrap_or_else(|| self.subscription.position()),
        }
    }

    /// Waits for the next entry, or for the cursor to have moved for a while, and says where to
    /// resume after it. Cancel-safe.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    pub async fn next(&mut self) -> Result<(Cursor, Seen), Error> {
        while self.waiting.is_empty() {
            let (told, at) = self.told;
            let run = if self.subscription.position() == told {
                self.subscription.next().await?
            } else if at.elapsed() >= self.progress {
                break; // however busy the others are
            } else {
                match timeout_at(at + self.progress, self.subscription.next()).await {
                    Ok(run) => run?,
                    Err(_) => break,
                }
            };
            let is_wanted = |entry: &&Entry| entry.tenant == self.tenant && (self.wanted)(entry);
            self.waiting.extend(run.entries().iter().filter(is_wanted).cloned());
        }
        let seen = self.waiting.pop_front().map_or(Seen::Nothing, Seen::Entry);
        let cursor = self.cursor();
        self.told = (cursor.seq, Instant::now());
        Ok((cursor, seen))
    }

    /// All of it, for `server::watch::stream`; ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<(Cursor, Seen), Error>> + Send {
        try_unfold(self, async |mut watch| Ok(Some((watch.next().await?, watch))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_a_token_and_garbage_is_refused() {
        let cursor = Cursor { epoch: Uuid::from_u128(7), seq: i64::MAX };
        assert_eq!(Cursor::from_bytes(&cursor.to_bytes()).ok(), Some(cursor));
        let negative = Cursor { seq: -1, ..cursor };
        for garbage in [&[][..], &[1; 23], &[1; 25], &negative.to_bytes()] {
            assert!(Cursor::from_bytes(garbage).is_err());
        }
    }
}
