//! More work than can be finished in time is refused at once: RESOURCE_EXHAUSTED with
//! `RetryInfo`. The limit is for the whole process; health checks are exempt.
//!
//! Calls and streams are counted apart, so that many idle watchers do not keep calls out. The
//! permit of a call travels with it: it is held until the work is done, also when the caller
//! has gone (see [`super::deadline`]).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Code;

use super::{Around, Request, Response, Rpc, body, is_exempt, is_streaming, refuse};
use crate::status;

/// Held while a call is at work.
#[derive(Debug, Clone)]
pub(crate) struct Permit(
    #[expect(dead_code, reason = "held for its Drop")] Arc<OwnedSemaphorePermit>,
);

/// See the module. Clones share the limits.
#[derive(Debug, Clone)]
pub struct Shed {
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Shed {
    /// At most this many at a time.
    #[must_use]
    pub fn new(max_in_flight: usize, max_streams: usize) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(max_in_flight)),
            streams: Arc::new(Semaphore::new(max_streams)),
        }
    }
}

impl Around for Shed {
    async fn around<R: Rpc>(&self, mut request: Request, rest: &R) -> Response {
        if is_exempt(&request) {
            return rest.call(request).await;
        }
        let streaming = is_streaming(&request);
        let semaphore = if streaming { &self.streams } else { &self.calls };
        let Ok(permit) = Arc::clone(semaphore).try_acquire_owned() else {
            let message = "the server has more work than it can finish in time";
            return refuse(status::plain(Code::ResourceExhausted, "OVERLOADED", message));
        };
        let permit = Permit(Arc::new(permit));
        if streaming {
            return body::hold(rest.call(request).await, permit);
        }
        request.extensions_mut().insert(permit.clone());
        let response = rest.call(request).await;
        drop(permit);
        response
    }
}
