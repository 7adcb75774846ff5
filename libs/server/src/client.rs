//! The client side: how one service calls another.
//!
//! A [`Peer`] is a channel for generated clients. [`Peer::during`] ties it to the call being
//! served: the internal token of its tenant, what remains of its deadline, its trace and its
//! request id travel along. Retries are for calls that the caller marks idempotent, on
//! UNAVAILABLE only, and together at most a tenth of the calls (AWS, Google SRE: retry budget).

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use opentelemetry::propagation::{Injector, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::{Service, ServiceExt};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::layers::body::head_code;
use crate::layers::request_id;
use crate::listener::Memory;
use crate::request::Call;
use crate::status::{plain, status};
use crate::token::InternalTokens;

const ATTEMPTS: u32 = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(25);

/// Where a peer is.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// `http://host:port`.
    Tcp(Uri),
    /// In this process.
    Memory(Memory),
    /// In this process, built after its client: services may call each other in a circle.
    Later(Later),
    /// In this process and without a connection between: all layers and the same messages, but
    /// no second HTTP/2. For the edge, whose callers have a connection of their own already.
    Direct(crate::server::Endpoint),
}

/// How requests get there.
#[derive(Debug, Clone)]
enum Wire {
    Connection(Channel),
    Direct(crate::server::Endpoint),
}

/// An endpoint in this process that is filled in once it is built; until then connections
/// are refused and calls are UNAVAILABLE.
#[derive(Debug, Clone, Default)]
pub struct Later(Arc<OnceLock<Memory>>);

impl Later {
    /// Fills it in. The first one stays.
    pub fn set(&self, memory: Memory) {
        let _ = self.0.set(memory);
    }

    fn connect(&self) -> std::io::Result<tokio::io::DuplexStream> {
        let memory = self.0.get().ok_or(std::io::ErrorKind::ConnectionRefused)?;
        memory.connect()
    }
}

/// A channel to another service. Cheap to clone; clones share the connection and the retry
/// budget.
#[derive(Debug, Clone)]
pub struct Peer {
    wire: Wire,
    tokens: InternalTokens,
    bearer: Option<Arc<str>>,
    call: Call,
    default_deadline: Option<Duration>,
    idempotent: bool,
    budget: Arc<Budget>,
}

impl Peer {
    /// Connects when first used, and again when the connection is lost. Calls are
    /// [`Call::across_tenants`] until [`Peer::during`] says otherwise.
    #[must_use]
    pub fn new(endpoint: Endpoint, tokens: InternalTokens) -> Self {
        Self {
            wire: wire(endpoint),
            tokens,
            bearer: None,
            call: Call::across_tenants(),
            default_deadline: Some(DEFAULT_DEADLINE),
            idempotent: false,
            budget: Arc::default(),
        }
    }

    /// For this call: its tenant, deadline and request id.
    #[must_use]
    pub fn during(&self, call: &Call) -> Self {
        Self { call: call.clone(), ..self.clone() }
    }

    /// The calls made with this one may be repeated. Not for streams of requests: they are read
    /// to their end before they are sent.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Calls carry this token, the caller's own, instead of an internal one: its scopes and its
    /// rate are judged where the call arrives. For the edge.
    #[must_use]
    pub fn bearing(mut self, token: Arc<str>) -> Self {
        self.bearer = Some(token);
        self
    }

    /// No deadline when the call has none: for long streams.
    #[must_use]
    pub fn without_deadline(mut self) -> Self {
        self.default_deadline = None;
        self
    }

    async fn send(self, mut request: http::Request<Body>) -> Result<http::Response<Body>, Status> {
        let budget = self.call.remaining().or(self.default_deadline);
        let deadline = budget.map(|budget| Instant::now() + budget);
        let token = match &self.bearer {
            Some(token) => Arc::clone(token),
            None => self.tokens.get(self.call.tenant()).await.map_err(|error| status(&error))?,
        };
        write_headers(request.headers_mut(), &self.call, &token)?;
        let attempts = self.attempts(request, deadline);
        match deadline {
            None => attempts.await,
            Some(deadline) => {
                let answer = tokio::time::timeout_at(deadline, attempts).await;
                answer.unwrap_or_else(|_| Err(expired()))
            }
        }
    }

    async fn attempts(
        &self,
        request: http::Request<Body>,
        deadline: Option<Instant>,
    ) -> Result<http::Response<Body>, Status> {
        self.budget.earn();
        if !self.idempotent {
            return self.attempt(request, deadline).await;
        }
        let (head, body) = request.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let mut backoff = FIRST_BACKOFF;
        for _ in 1..ATTEMPTS {
            let request = http::Request::from_parts(head.clone(), replay(bytes.clone()));
            let answer = self.attempt(request, deadline).await;
            if !is_unavailable(&answer) || !self.budget.spend() {
                return answer;
            }
            tokio::time::sleep(jittered(backoff)).await;
            backoff *= 4;
        }
        self.attempt(http::Request::from_parts(head, replay(bytes)), deadline).await
    }

    async fn attempt(
        &self,
        mut request: http::Request<Body>,
        deadline: Option<Instant>,
    ) -> Result<http::Response<Body>, Status> {
        if let Some(deadline) = deadline {
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return Err(expired());
            }
            request.headers_mut().insert("grpc-timeout", grpc_timeout(remaining));
        }
        match &self.wire {
            Wire::Connection(channel) => {
                channel.clone().oneshot(request).await.map_err(transport_status)
            }
            Wire::Direct(endpoint) => endpoint.call(request).await,
        }
    }
}

impl Service<http::Request<Body>> for Peer {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(())) // `attempt` waits for the channel, within the deadline.
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

fn wire(endpoint: Endpoint) -> Wire {
    let settings = |uri: Uri| {
        Channel::builder(uri)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
    };
    let channel = match endpoint {
        Endpoint::Direct(endpoint) => return Wire::Direct(endpoint),
        Endpoint::Tcp(uri) => settings(uri).connect_lazy(),
        Endpoint::Memory(memory) => {
            let connect = tower::service_fn(move |_: Uri| {
                let connected = memory.connect().map(TokioIo::new);
                async move { connected }
            });
            settings(Uri::from_static("http://memory")).connect_with_connector_lazy(connect)
        }
        Endpoint::Later(later) => {
            let connect = tower::service_fn(move |_: Uri| {
                let connected = later.connect().map(TokioIo::new);
                async move { connected }
            });
            settings(Uri::from_static("http://memory")).connect_with_connector_lazy(connect)
        }
    };
    Wire::Connection(channel)
}

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = HeaderName::from_bytes(key.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            self.0.insert(name, value);
        }
    }
}

fn write_headers(headers: &mut HeaderMap, call: &Call, token: &str) -> Result<(), Status> {
    let mut bearer = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| plain(Code::Internal, "INTERNAL", "internal error"))?;
    bearer.set_sensitive(true);
    headers.insert(http::header::AUTHORIZATION, bearer);
    if let Some(Ok(id)) = call.request_id().map(HeaderValue::from_str) {
        headers.insert(request_id::HEADER, id);
    }
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut Headers(headers));
    Ok(())
}

/// Milliseconds if they fit into eight digits (27 hours), rounded up.
fn grpc_timeout(remaining: Duration) -> HeaderValue {
    let millis = u64::try_from(remaining.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
    let text = format!("{}m", millis.min(99_999_999));
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("5S"))
}

fn replay(bytes: Bytes) -> Body {
    Body::new(Full::new(bytes))
}

fn is_unavailable(answer: &Result<http::Response<Body>, Status>) -> bool {
    match answer {
        Ok(response) => head_code(response) == Some(Code::Unavailable),
        Err(status) => status.code() == Code::Unavailable,
    }
}

fn expired() -> Status {
    plain(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the peer did not answer in time")
}

/// A peer that cannot be reached, or is lost, is UNAVAILABLE whatever the reason; tonic calls
/// its own time-out CANCELLED.
fn transport_status(error: tonic::transport::Error) -> Status {
    let status = Status::from_error(Box::new(error));
    match status.code() {
        Code::Cancelled if status.message() == "Timeout expired" => expired(),
        Code::Unknown | Code::Cancelled | Code::Internal => {
            let mut unavailable = plain(Code::Unavailable, "UNAVAILABLE", "the peer is away");
            unavailable.set_source(Arc::new(status));
            unavailable
        }
        _ => status,
    }
}

/// Between half and all of it.
fn jittered(backoff: Duration) -> Duration {
    let fraction = uuid::Uuid::new_v4().as_bytes()[0];
    backoff / 2 + backoff.mul_f64(f64::from(fraction) / 512.0)
}

/// Ten calls earn one retry; at most ten retries are saved up.
#[derive(Debug)]
struct Budget(AtomicI64);

const RETRY_COST: i64 = 10;
const MAX_SAVED: i64 = 100;

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicI64::new(MAX_SAVED))
    }
}

impl Budget {
    fn earn(&self) {
        let more = |saved: i64| (saved < MAX_SAVED).then_some(saved + 1);
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    fn spend(&self) -> bool {
        let less = |saved: i64| (saved >= RETRY_COST).then_some(saved - RETRY_COST);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_tenth_of_the_calls() {
        let budget = Budget::default();
        let spent = |times: usize| (0..times).filter(|_| budget.spend()).count();
        assert_eq!(spent(50), 10, "the saved ones");
        for _ in 0..100 {
            budget.earn();
        }
        assert_eq!(spent(50), 10);
    }

    #[test]
    fn a_deadline_is_written_as_the_protocol_reads_it() {
        assert_eq!(grpc_timeout(Duration::from_micros(1)), "1m");
        assert_eq!(grpc_timeout(Duration::from_secs(5)), "5000m");
        assert_eq!(grpc_timeout(Duration::from_secs(1_000_000)), "99999999m");
    }
}
