//! Response bodies that a layer looks at: how the call ended, what stands in the trailers,
//! and panics while a stream is read.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::body::Body;
use tonic::{Code, Status};

use super::Response;

/// The code of a response that has ended with its head, else none yet.
pub(crate) fn head_code(response: &Response) -> Option<Code> {
    response.headers().get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

/// Calls `ended` once with the code of the call: at once if the head has it, else when the
/// trailers come. A body that is dropped before is CANCELLED.
pub(crate) fn on_end<F>(response: Response, ended: F) -> Response
where
    F: FnOnce(Code) + Send + Unpin + 'static,
{
    if let Some(code) = head_code(&response) {
        ended(code);
        return response;
    }
    response.map(|inner| Body::new(Ending { inner, ended: Some(ended) }))
}

struct Ending<F: FnOnce(Code)> {
    inner: Body,
    ended: Option<F>,
}

impl<F: FnOnce(Code) + Unpin> http_body::Body for Ending<F> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let code = match &frame {
            Some(Ok(frame)) => frame.trailers_ref().map(trailer_code),
            Some(Err(status)) => Some(status.code()),
            None => Some(Code::Ok),
        };
        if let Some(code) = code
            && let Some(ended) = self.ended.take()
        {
            ended(code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<F: FnOnce(Code)> Drop for Ending<F> {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended(Code::Cancelled);
        }
    }
}

fn trailer_code(trailers: &HeaderMap) -> Code {
    trailers.get("grpc-status").map_or(Code::Unknown, |value| Code::from_bytes(value.as_bytes()))
}

/// Keeps `guard` until the body is gone.
pub(crate) fn hold<G: Send + Unpin + 'static>(response: Response, guard: G) -> Response {
    let mut guard = Some(guard);
    on_end(response, move |_| drop(guard.take()))
}

/// Lets `rewrite` change the trailers.
pub(crate) fn map_trailers(response: Response, rewrite: fn(&mut HeaderMap)) -> Response {
    response.map(|inner| Body::new(Trailers { inner, rewrite }))
}

struct Trailers {
    inner: Body,
    rewrite: fn(&mut HeaderMap),
}

impl http_body::Body for Trailers {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            (self.rewrite)(trailers);
        }
        Poll::Ready(frame)
    }
}

/// Turns a panic while the stream is read into trailers made by `answer`.
pub(crate) fn catch(response: Response, answer: fn(Box<dyn Any + Send>) -> Status) -> Response {
    response.map(|inner| Body::new(Caught { inner: Some(inner), answer }))
}

struct Caught {
    inner: Option<Body>,
    answer: fn(Box<dyn Any + Send>) -> Status,
}

impl http_body::Body for Caught {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(inner) = self.inner.as_mut() else { return Poll::Ready(None) };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx))) {
            Ok(polled) => polled,
            Err(panic) => {
                self.inner = None;
                let mut trailers = HeaderMap::new();
                let written = (self.answer)(panic).add_header(&mut trailers);
                Poll::Ready(Some(written.map(|()| Frame::trailers(trailers))))
            }
        }
    }
}

/// Ends the stream with `status` when `ending` is cancelled.
pub(crate) fn until(response: Response, ending: CancellationToken, status: Status) -> Response {
    let ending = Box::pin(ending.cancelled_owned());
    response.map(|inner| Body::new(Until { inner, ending, status: Some(status) }))
}

struct Until {
    inner: Body,
    ending: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Gone when it has been sent.
    status: Option<Status>,
}

impl http_body::Body for Until {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.status.is_none() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        ready!(self.ending.as_mut().poll(cx));
        let mut trailers = HeaderMap::new();
        let written = self.status.take().map(|status| status.add_header(&mut trailers));
        Poll::Ready(written.map(|written| written.map(|()| Frame::trailers(trailers))))
    }
}
