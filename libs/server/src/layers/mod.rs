//! What every call passes through before its handler, outermost first; one file each.
//!
//! route → metrics → trace → request id → panic → shed → deadline → authentication →
//! authorisation → rate → garbage. A layer is an `async fn` around the rest ([`Around`]);
//! [`layer`] makes a tower layer of it. tonic's own time-out and concurrency limit are not used:
//! the one answers CANCELLED and drops a handler half-way, the other is per connection.

pub mod authentication;
pub mod authorisation;
pub mod body;
pub mod deadline;
pub mod garbage;
pub mod metrics;
pub mod panic;
pub mod rate;
pub mod request_id;
pub mod route;
pub mod shed;
pub mod trace;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt};

use crate::auth::Method;

/// As tonic hands it over.
pub type Request = http::Request<Body>;
/// As tonic takes it back.
pub type Response = http::Response<Body>;

/// The rest of the stack below a layer: a service that answers every call, with a status if
/// need be, and is always ready.
pub trait Rpc:
    Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S> Rpc for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// What a layer does.
pub trait Around: Clone + Send + Sync + 'static {
    /// Answers, usually by calling the rest.
    fn around<S: Rpc>(&self, request: Request, rest: S) -> impl Future<Output = Response> + Send;
}

/// A tower layer that does `around`.
pub const fn layer<A: Around>(around: A) -> AroundLayer<A> {
    AroundLayer(around)
}

/// See [`layer`].
#[derive(Debug, Clone)]
pub struct AroundLayer<A>(A);

impl<A: Around, S> Layer<S> for AroundLayer<A> {
    type Service = AroundService<A, S>;
    fn layer(&self, rest: S) -> Self::Service {
        AroundService { around: self.0.clone(), rest }
    }
}

/// See [`layer`].
#[derive(Debug, Clone)]
pub struct AroundService<A, S> {
    around: A,
    rest: S,
}

impl<A: Around, S: Rpc> Service<Request> for AroundService<A, S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // `call` below waits for the rest to be ready.
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (around, rest) = (self.around.clone(), self.rest.clone());
        Box::pin(async move { Ok(around.around(request, rest).await) })
    }
}

/// Calls the rest of the stack.
pub(crate) async fn call<S: Rpc>(rest: S, request: Request) -> Response {
    match rest.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// An answer without a body.
pub(crate) fn refuse(status: Status) -> Response {
    status.into_http()
}

/// The method as [`route`] found it.
pub(crate) fn method(request: &Request) -> Option<&Arc<Method>> {
    request.extensions().get::<Arc<Method>>()
}

pub(crate) fn is_streaming(request: &Request) -> bool {
    method(request).is_some_and(|method| method.streaming)
}

/// gRPC's own services stay reachable when others are refused.
pub(crate) fn is_exempt(request: &Request) -> bool {
    method(request).is_some_and(|method| method.name.starts_with("grpc.health."))
}
