//! What every call passes through before its handler, outermost first; one file each.
//!
//! route → metrics → request id → trace → panic → shed → deadline → authentication →
//! authorisation → rate → garbage. A layer is an `async fn` around the rest ([`Around`]). The
//! whole is one future in one box: tower's layers would box and clone the rest at each, and
//! that costs as much as what they do (`benches/stack.rs`). tonic's own time-out and concurrency limit are not used:
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

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::auth::Method;

/// As tonic hands it over.
pub type Request = http::Request<Body>;
/// As tonic takes it back.
pub type Response = http::Response<Body>;

/// The rest of the stack below a layer. It answers every call, with a status if need be.
pub trait Rpc: Clone + Send + Sync + 'static {
    /// Answers.
    fn call(&self, request: Request) -> impl Future<Output = Response> + Send;

    /// The stack with one more layer outside.
    fn within<A: Around>(self, around: A) -> Layered<A, Self> {
        Layered { around, rest: self }
    }
}

/// What a layer does.
pub trait Around: Clone + Send + Sync + 'static {
    /// Answers, usually by calling the rest.
    fn around<R: Rpc>(&self, request: Request, rest: &R) -> impl Future<Output = Response> + Send;
}

/// See [`Rpc::within`].
#[derive(Debug, Clone)]
pub struct Layered<A, R> {
    around: A,
    rest: R,
}

impl<A: Around, R: Rpc> Rpc for Layered<A, R> {
    fn call(&self, request: Request) -> impl Future<Output = Response> + Send {
        self.around.around(request, &self.rest)
    }
}

/// Cheap to clone, for a layer whose work outlives its call.
impl<R: Rpc> Rpc for Arc<R> {
    fn call(&self, request: Request) -> impl Future<Output = Response> + Send {
        (**self).call(request)
    }
}

/// The mounted services, below all layers.
#[derive(Debug, Clone)]
pub struct Mounted(pub Routes);

impl Rpc for Mounted {
    async fn call(&self, request: Request) -> Response {
        match self.0.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A whole stack, its type forgotten. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Stack(Arc<dyn Fn(Request) -> Answer + Send + Sync>);

impl Stack {
    pub(crate) fn new<R: Rpc>(stack: R) -> Self {
        let stack = Arc::new(stack);
        Self(Arc::new(move |request| {
            let stack = Arc::clone(&stack);
            Box::pin(async move { stack.call(request).await })
        }))
    }

    pub(crate) fn call(&self, request: Request) -> Answer {
        (self.0)(request)
    }
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stack(..)")
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

/// gRPC's own services, health and reflection, stay reachable when others are refused. What
/// bounds them are the limits on connections and on streams of each.
pub(crate) fn is_exempt(request: &Request) -> bool {
    method(request).is_some_and(|method| method.name.starts_with("grpc."))
}
