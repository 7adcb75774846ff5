//! Server streams that can be resumed: heartbeats, a bounded buffer, and an end that says
//! where to go on.
//!
//! A task forwards the source into a buffer. When nothing comes for a while the caller gets a
//! heartbeat with the position reached; when the server drains or the connection is to end, it gets
//! UNAVAILABLE with `resume_token` in `ErrorInfo.metadata`; a caller that does not read gets
//! RESOURCE_EXHAUSTED with the same. A source that panics ends with INTERNAL, never like one
//! that has come to its end.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tonic::{Code, Status};
use tracing::Instrument;

use crate::drain::Drain;
use crate::request::Call;
use crate::status::{build, ended, internal};

/// One item of a source, and the position after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item<T> {
    /// From where a caller that has this item goes on.
    pub resume_token: String,
    /// What the caller gets.
    pub message: T,
}

/// The numbers of a watch.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Silence after which a heartbeat is sent.
    pub heartbeat: Duration,
    /// Messages waiting for a slow caller.
    pub buffer: usize,
    /// How long a full buffer is waited for.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(15), buffer: 256, patience: Duration::from_secs(30) }
    }
}

/// The stream that a handler returns.
#[derive(Debug)]
pub struct Watch<T> {
    receiver: Receiver<T>,
    /// Ok when the source came to its end. Not set when the task was lost on the way.
    end: Arc<OnceLock<Result<(), Status>>>,
    done: bool,
}

impl<T> Stream for Watch<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        if let Some(message) = ready!(self.receiver.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(message)));
        }
        self.done = true;
        let end = self.end.get().cloned().unwrap_or_else(|| Err(internal()));
        Poll::Ready(end.err().map(Err))
    }
}

/// Forwards `source`, which begins at the position `start`; `heartbeat` makes a message that
/// carries nothing but a position.
pub fn stream<S, T, H>(
    call: &Call,
    drain: &Drain,
    options: Options,
    start: String,
    source: S,
    heartbeat: H,
) -> Watch<T>
where
    S: Stream<Item = Result<Item<T>, Status>> + Send + 'static,
    T: Send + 'static,
    H: Fn(&str) -> T + Send + 'static,
{
    let (sender, receiver) = channel(options.buffer.max(1));
    let end = Arc::new(OnceLock::new());
    let noted = Arc::clone(&end);
    let (stop, drained) = (call.ending(), drain.token());
    let forward = async move {
        let mut position = start;
        let status = tokio::select! {
            status = forward(source, &sender, options, &mut position, heartbeat) => status,
            () = stop.cancelled() => None,
            () = drained.cancelled() => None,
            () = sender.closed() => return,
        };
        // The source may hear of the end first and fail by it: that is no failure.
        let is_asked = stop.is_cancelled() || drained.is_cancelled();
        let status = status.filter(|end| !(is_asked && matches!(end, End::Failed(_))));
        let end = match status {
            Some(End::Source) => Ok(()),
            Some(End::Slow) => Err(slow(&position)),
            Some(End::Failed(status)) => Err(status),
            None => Err(ended("the server is shutting down or rebalancing: resume", &position)),
        };
        let _ = noted.set(end); // before `sender` is dropped, so the reader finds it
    };
    drain.tracker().spawn(forward.in_current_span());
    Watch { receiver, end, done: false }
}

enum End {
    Source,
    Slow,
    Failed(Status),
}

/// `position` is that of the last message put into the buffer.
async fn forward<S, T, H>(
    source: S,
    sender: &Sender<T>,
    options: Options,
    position: &mut String,
    heartbeat: H,
) -> Option<End>
where
    S: Stream<Item = Result<Item<T>, Status>>,
    H: Fn(&str) -> T,
{
    let mut source = std::pin::pin!(source);
    loop {
        let (message, reached) = match tokio::time::timeout(options.heartbeat, source.next()).await
        {
            Err(_) => (heartbeat(position), None),
            Ok(None) => return Some(End::Source),
            Ok(Some(Err(status))) => return Some(End::Failed(status)),
            Ok(Some(Ok(item))) => (item.message, Some(item.resume_token)),
        };
        match sender.send_timeout(message, options.patience).await {
            Ok(()) => {}
            Err(SendTimeoutError::Closed(_)) => return Some(End::Source),
            Err(SendTimeoutError::Timeout(_)) => return Some(End::Slow),
        }
        if let Some(reached) = reached {
            *position = reached;
        }
    }
}

fn slow(position: &str) -> Status {
    let mut metadata = std::collections::HashMap::new();
    metadata.insert("resume_token".to_owned(), position.to_owned());
    build(
        Code::ResourceExhausted,
        "OVERLOADED",
        "the stream is read too slowly: resume".to_owned(),
        metadata,
    )
}
