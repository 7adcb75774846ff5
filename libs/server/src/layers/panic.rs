//! A handler that panics answers INTERNAL, also in the middle of a stream, and the process
//! lives. Neither the answer nor the log has the message: it may be personal.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tonic::Status;

use super::{Around, Request, Response, Rpc, body, is_streaming, refuse};
use crate::status;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct CatchPanic;

impl Around for CatchPanic {
    async fn around<R: Rpc>(&self, request: Request, rest: &R) -> Response {
        let streaming = is_streaming(&request);
        match AssertUnwindSafe(rest.call(request)).catch_unwind().await {
            Ok(response) if streaming => body::catch(response, answer),
            Ok(response) => response,
            Err(panic) => refuse(answer(panic)),
        }
    }
}

fn answer(_: Box<dyn Any + Send>) -> Status {
    status::internal()
}

/// Logs where a panic happened and nothing else. Replaces the hook of the process: only for
/// its `main`.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(event = "panic", location = place);
    }));
}
