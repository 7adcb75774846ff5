//! `FeedService`: the own log for the consumers of other services.
//!
//! Every answer of `Subscribe` without entries is a heartbeat; its head is also the position up
//! to which everything was sent, so a subscriber of a quiet shard can move its checkpoint. The
//! streams are pulled, not pushed: a slow subscriber holds one run of entries, no queue.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use contracts::feed::v1::feed_service_server::{self, FeedServiceServer};
use contracts::feed::v1::{
    RecordReceiptsRequest, RecordReceiptsResponse, SnapshotRequest, SnapshotResponse,
    SubscribeRequest, SubscribeResponse,
};
use futures::stream::{self, BoxStream, StreamExt};
use kernel::TenantId;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::tail::{Position, Subscription};
use crate::upstream::epoch;
use crate::{Entry, Error, Shards, Tail, receipt};

/// How often a subscriber hears something.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);
/// Entries of one answer.
const MAX_ENTRIES: usize = 500;
/// Bytes of one answer, well below the 4 MiB that clients accept.
const MAX_BYTES: usize = 1 << 20;

/// The key after which a snapshot continues.
pub type SnapshotKey = (TenantId, Uuid);

/// The current state of the owner's subjects, for those who cannot follow the log from where
/// they are.
pub trait SnapshotSource: Send + Sync + 'static {
    /// At most `limit` subjects of the shards, each as if it had just changed (`seq` 0, current
    /// version), after the given key in one order of the owner's; empty at the end. All
    /// entries of one subject are in one answer, the last one of the answer names the next key.
    fn snapshot(
        &self,
        shards: Shards,
        after: Option<SnapshotKey>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Entry>, Error>> + Send;
}

/// Serves the log of `tail`.
pub struct FeedService<S> {
    tail: Tail,
    source: std::sync::Arc<S>,
    cancel: CancellationToken,
}

impl<S: SnapshotSource> FeedService<S> {
    /// The streams end with UNAVAILABLE when `cancel` is cancelled (drain).
    pub fn new(tail: Tail, source: S, cancel: CancellationToken) -> Self {
        Self { tail, source: std::sync::Arc::new(source), cancel }
    }

    /// To be mounted.
    pub fn into_server(self) -> FeedServiceServer<Self> {
        FeedServiceServer::new(self)
    }
}

fn status(error: &Error) -> Status {
    server::status(error)
}

/// Takes from the front what fits into one answer.
fn cut(waiting: &mut VecDeque<Entry>) -> Vec<contracts::feed::v1::FeedEntry> {
    let mut bytes = 0;
    let mut taken = Vec::new();
    while let Some(entry) = waiting.pop_front() {
        bytes += entry.weight();
        taken.push(entry.to_message());
        let next = waiting.front().map_or(0, Entry::weight);
        if taken.len() == MAX_ENTRIES || bytes + next > MAX_BYTES {
            break;
        }
    }
    taken
}

/// The state of one Subscribe stream.
struct Following {
    subscription: Subscription,
    shards: Shards,
    waiting: VecDeque<Entry>,
    beat: tokio::time::Interval,
    cancel: CancellationToken,
}

impl Following {
    async fn answer(&mut self) -> Result<SubscribeResponse, Error> {
        while self.waiting.is_empty() {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(Error::Stopped),
                // The first tick is immediate: the epoch and the head are known at once.
                _ = self.beat.tick() => {
                    return Ok(self.response(self.subscription.position(), Vec::new()));
                }
                run = self.subscription.next() => {
                    let shards = self.shards;
                    let run = run?;
                    let wanted = run.entries().iter().filter(|entry| shards.contains(entry.shard));
                    self.waiting.extend(wanted.cloned());
                }
            }
        }
        let entries = cut(&mut self.waiting);
        Ok(self.response(self.subscription.head(), entries))
    }

    fn response(
        &self,
        head_seq: i64,
        entries: Vec<contracts::feed::v1::FeedEntry>,
    ) -> SubscribeResponse {
        SubscribeResponse { feed_epoch: self.subscription.epoch().to_string(), head_seq, entries }
    }
}

/// The state of one Snapshot stream.
struct Reading<S> {
    tail: Tail,
    source: std::sync::Arc<S>,
    shards: Shards,
    head: crate::Head,
    after: Option<SnapshotKey>,
    waiting: VecDeque<Entry>,
    begun: bool,
}

impl<S: SnapshotSource> Reading<S> {
    /// The next answer; nothing at the end.
    async fn answer(&mut self) -> Result<Option<SnapshotResponse>, Error> {
        if self.waiting.is_empty() {
            let page = self.source.snapshot(self.shards, self.after, MAX_ENTRIES).await?;
            self.after = page.last().map(|entry| (entry.tenant, entry.subject));
            self.waiting.extend(page);
        }
        if self.waiting.is_empty() && self.begun {
            // A log that was replaced meanwhile is another one than the subjects were read from.
            let unchanged = self.tail.read_head().await?.epoch == self.head.epoch;
            return if unchanged { Ok(None) } else { Err(Error::Truncated) };
        }
        self.begun = true;
        Ok(Some(SnapshotResponse {
            feed_epoch: self.head.epoch.to_string(),
            head_seq: self.head.seq,
            entries: cut(&mut self.waiting),
        }))
    }
}

#[tonic::async_trait]
impl<S: SnapshotSource> feed_service_server::FeedService for FeedService<S> {
    type SubscribeStream = BoxStream<'static, Result<SubscribeResponse, Status>>;
    type SnapshotStream = BoxStream<'static, Result<SnapshotResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        let shards = Shards::from_message(&request.shards).map_err(|error| status(&error))?;
        let epoch = match request.feed_epoch.as_str() {
            "" => None,
            text => Some(epoch(text).map_err(|error| status(&error))?),
        };
        let from = Position { epoch, seq: request.after_seq };
        let subscription = self.tail.subscribe(from).await.map_err(|error| status(&error))?;
        let following = Following {
            subscription,
            shards,
            waiting: VecDeque::new(),
            beat: tokio::time::interval(HEARTBEAT),
            cancel: self.cancel.clone(),
        };
        let answers = stream::unfold(Some(following), async |state| {
            let mut following = state?;
            match following.answer().await {
                Ok(answer) => Some((Ok(answer), Some(following))),
                Err(error) => Some((Err(status(&error)), None)),
            }
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn record_receipts(
        &self,
        request: Request<RecordReceiptsRequest>,
    ) -> Result<Response<RecordReceiptsResponse>, Status> {
        let kept = receipt::keep(self.tail.pool(), request.into_inner().receipts).await;
        kept.map_err(|error| status(&error))?;
        self.tail.pass_receipts();
        Ok(Response::new(RecordReceiptsResponse {}))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let shards = Shards::from_message(&request.into_inner().shards);
        let reading = Reading {
            tail: self.tail.clone(),
            source: self.source.clone(),
            shards: shards.map_err(|error| status(&error))?,
            // Noted before the first subject is read: what changes meanwhile comes after it.
            head: self.tail.read_head().await.map_err(|error| status(&error))?,
            after: None,
            waiting: VecDeque::new(),
            begun: false,
        };
        let cancel = self.cancel.clone();
        let answers = stream::unfold((Some(reading), cancel), async |(state, cancel)| {
            let mut reading = state?;
            let answer = tokio::select! {
                () = cancel.cancelled() => Err(Error::Stopped),
                answer = reading.answer() => answer,
            };
            match answer.transpose()? {
                Ok(answer) => Some((Ok(answer), (Some(reading), cancel))),
                Err(error) => Some((Err(status(&error)), (None, cancel))),
            }
        });
        Ok(Response::new(answers.boxed()))
    }
}
