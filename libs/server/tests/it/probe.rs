//! The probe service, written by hand over tonic's codec, and a server around it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt};
use kernel::TenantId;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus_client::registry::Registry;
use server::layers::metrics::Metrics;
use server::token::{Audience, Grant, InternalTokens, Signer, Verifier};
use server::{Call, Drain, Endpoint, Health, Peer, Server, Surface, client, settings, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::Service;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use uuid::Uuid;

type Codec = ProstCodec<String, String>;
type Messages = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

#[derive(Clone)]
pub(crate) struct Probe {
    pub(crate) started: Arc<AtomicU64>,
    pub(crate) done: Arc<AtomicU64>,
    flaky: Arc<AtomicU64>,
    drain: Drain,
}

impl NamedService for Probe {
    const NAME: &'static str = "rapport.probe.v1.ProbeService";
}

impl Service<http::Request<Body>> for Probe {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let probe = self.clone();
        let mut grpc = Grpc::new(Codec::default()).apply_max_message_size_config(
            Some(server::server::MAX_REQUEST_BYTES),
            Some(server::server::MAX_RESPONSE_BYTES),
        );
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or("").to_owned();
            Ok(match method.as_str() {
                "Watch" => {
                    let serve = |request| std::future::ready(probe.watch(&request));
                    grpc.server_streaming(tower::service_fn(serve), request).await
                }
                "Pour" => {
                    let serve = |request| std::future::ready(Ok(pour(request)));
                    grpc.server_streaming(tower::service_fn(serve), request).await
                }
                "Chat" => grpc.streaming(tower::service_fn(chat), request).await,
                _ => {
                    let serve = move |request| probe.clone().unary(method.clone(), request);
                    grpc.unary(tower::service_fn(serve), request).await
                }
            })
        })
    }
}

async fn chat(request: Request<Streaming<String>>) -> Result<Response<Messages>, Status> {
    Ok(Response::new(request.into_inner().boxed()))
}

fn pour(request: Request<String>) -> Response<Messages> {
    let words = request.into_inner();
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    let items = futures::stream::iter(words).then(|word| async move {
        tokio::task::yield_now().await; // what is ready together goes out together
        match word.parse() {
            Ok(bytes) => Ok("x".repeat(bytes)),
            Err(_) => panic!("{word}"),
        }
    });
    Response::new(items.boxed())
}

impl Probe {
    async fn unary(
        self,
        method: String,
        request: Request<String>,
    ) -> Result<Response<String>, Status> {
        let text = request.get_ref().clone();
        match method.as_str() {
            "Echo" | "Open" => Ok(Response::new(text)),
            "Work" => {
                self.started.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(text.parse().unwrap())).await;
                self.done.fetch_add(1, Ordering::SeqCst);
                Ok(Response::new(text))
            }
            "Large" => Ok(Response::new("x".repeat(text.parse().unwrap()))),
            "Panic" => panic!("{text}"),
            "Fail" => Err(Status::internal(text)),
            "Flaky" if self.flaky.fetch_add(1, Ordering::SeqCst) < 2 => {
                Err(Status::unavailable("come again"))
            }
            "Flaky" => Ok(Response::new(text)),
            "Describe" => Ok(Response::new(describe(&Call::of(&request)?))),
            other => Err(Status::unimplemented(other)),
        }
    }

    fn watch(&self, request: &Request<String>) -> Result<Response<Messages>, Status> {
        let call = Call::of(request)?;
        let item = watch::Item { resume_token: "1".to_owned(), message: "first".to_owned() };
        let source = futures::stream::iter([Ok(item)]).chain(futures::stream::pending());
        let options = watch::Options { heartbeat: Duration::from_millis(50), ..Default::default() };
        let beat = |position: &str| format!("alive at {position}");
        let stream = watch::stream(&call, &self.drain, options, "0".to_owned(), source, beat);
        Ok(Response::new(stream.boxed()))
    }
}

/// tenant, whether a deadline within a second stands, request id, trace id.
fn describe(call: &Call) -> String {
    let soon = call.remaining().is_some_and(|left| left <= Duration::from_secs(1));
    let trace = tracing::Span::current().context().span().span_context().trace_id();
    format!("{} {soon} {} {trace}", call.tenant(), call.request_id().unwrap_or(""))
}

pub(crate) fn descriptors() -> Vec<u8> {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let includes = [crate_dir.join("tests/it"), crate_dir.join("../../proto")];
    let mut compiler = protox::Compiler::new(includes).unwrap();
    compiler.include_imports(true).open_file("probe.proto").unwrap();
    compiler.encode_file_descriptor_set()
}

/// A server with the probe, all its parts at hand.
pub(crate) struct Fixture {
    pub(crate) signer: Signer,
    pub(crate) verifier: Verifier,
    pub(crate) probe: Probe,
    pub(crate) server: Server,
    pub(crate) endpoint: Endpoint,
    pub(crate) registry: Arc<Registry>,
}

impl Fixture {
    /// With these lines in `[server]`.
    pub(crate) async fn new(lines: &str) -> Self {
        trace_everything();
        Self::untraced(lines).await
    }

    /// The same, with whatever subscriber the process has.
    pub(crate) async fn untraced(lines: &str) -> Self {
        let lines = format!("[server]\ndrain_lag_ms = 0\n{lines}");
        let settings = settings::Server::load(&[settings::Layer::toml("test", lines)]).unwrap();
        let (signer, _) = Signer::generate().unwrap();
        let key = || signer.public_key();
        let verifier = Verifier::new([(Audience::Public, key()), (Audience::Internal, key())]);
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let drain = Drain::new(CancellationToken::new(), TaskTracker::new(), &settings);
        let health = Health::new();
        health.set(Probe::NAME, true).await;
        let descriptors = descriptors();
        let server =
            Server::new(settings, &descriptors, verifier.clone(), metrics, health, drain.clone())
                .unwrap();
        let probe =
            Probe { started: Arc::default(), done: Arc::default(), flaky: Arc::default(), drain };
        let routes = Routes::new(probe.clone());
        let endpoint = server.mount(routes, Surface::All).unwrap();
        Self { signer, verifier, probe, server, endpoint, registry: Arc::new(registry) }
    }

    pub(crate) fn token(&self, scopes: &[&str]) -> String {
        let grant = Grant {
            audience: Audience::Public,
            tenant: tenant(),
            subject: "tester",
            scopes,
            ttl: Duration::from_secs(60),
        };
        self.signer.issue(&grant).unwrap().0
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer_at(client::Endpoint::Memory(self.endpoint.memory()))
    }

    pub(crate) fn direct_peer(&self) -> Peer {
        self.peer_at(client::Endpoint::Direct(self.endpoint.clone()))
    }

    pub(crate) fn tcp_peer(&self, address: SocketAddr) -> Peer {
        self.peer_at(client::Endpoint::Tcp(format!("http://{address}").parse().unwrap()))
    }

    fn peer_at(&self, endpoint: client::Endpoint) -> Peer {
        Peer::new(endpoint, InternalTokens::new(self.signer.clone(), "tester"))
    }
}

/// Spans with trace ids, for the whole test binary: a subscriber of one thread would be missed
/// by call sites that another thread meets first.
fn trace_everything() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing_subscriber::registry().with(layer).init();
    });
}

pub(crate) fn tenant() -> TenantId {
    TenantId::new(Uuid::from_u128(7))
}
