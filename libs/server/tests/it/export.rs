//! What leaves the process as traces, and what happens to calls when nobody takes them.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use serde::Deserialize;
use server::telemetry::{Guard, Settings};
use server::{layers, settings, telemetry};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

use crate::child;
use crate::probe::Fixture;
use crate::wire::{call, frame, send};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// With the documented defaults, and this endpoint.
pub(crate) fn install(otlp_endpoint: &str) -> Guard {
    #[derive(Deserialize)]
    struct Whole {
        telemetry: Settings,
    }
    let layer = format!("[telemetry]\notlp_endpoint = \"{otlp_endpoint}\"");
    let layers = [settings::Layer::toml("test", layer)];
    let settings = settings::load::<Whole>(telemetry::DEFAULTS, &layers).unwrap().telemetry;
    telemetry::install("probe", &settings).unwrap()
}

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// The span of the call to this method.
    fn span(&self, method: &str) -> Span {
        let requests = self.0.lock().unwrap().clone();
        let resources = requests.into_iter().flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        let name = format!("rapport.probe.v1.ProbeService/{method}");
        scopes.flat_map(|scope| scope.spans).find(|span| span.name == name).unwrap()
    }
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|found| found.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key} is {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_exported_in_the_trace_of_its_caller_without_anything_personal() {
    if child::is_child() {
        return exported().await;
    }
    let test = "export::a_call_is_exported_in_the_trace_of_its_caller_without_anything_personal";
    let text = tokio::task::spawn_blocking(|| child::run(test)).await.unwrap();
    assert!(!text.contains("ada@example.com"), "{text}");
    let event = |name: &str| child::log(&text).into_iter().find(|line| line["event"] == name);
    assert_eq!(event("bare_status").unwrap()["spans"][0]["trace_id"], TRACE);
}

async fn exported() {
    let collector = Collector::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = TraceServiceServer::new(collector.clone());
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let guard = install(&format!("http://{address}"));
    layers::panic::install_hook();
    let fixture = Fixture::untraced("").await;
    let token = fixture.token(&["probe:read"]);
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [
        ("authorization", format!("Bearer {token}")),
        ("traceparent", traceparent),
        ("x-customer", "ada@example.com".to_owned()),
    ];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    for (method, code) in [("Echo", "OK"), ("Fail", "INTERNAL"), ("Panic", "INTERNAL")] {
        let answer = send(&fixture.endpoint, method, &headers, frame("ada@example.com")).await;
        assert_eq!(answer.code() == Code::Ok, code == "OK");
    }
    tokio::task::spawn_blocking(move || guard.flush()).await.unwrap();

    for (method, code) in [("Echo", "OK"), ("Fail", "INTERNAL"), ("Panic", "INTERNAL")] {
        let span = collector.span(method);
        assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.into(), PARENT.into()));
        assert_eq!(span.kind, i32::from(SpanKind::Server));
        assert_eq!(attribute(&span, "rpc.system.name"), "grpc");
        assert_eq!(attribute(&span, "rpc.method"), span.name);
        assert_eq!(attribute(&span, "rpc.response.status_code"), code);
        let failed = span.status.clone().is_some_and(|s| s.code == i32::from(StatusCode::Error));
        assert_eq!(failed, code != "OK", "{method}");
    }
    for request in collector.0.lock().unwrap().iter() {
        let bytes = request.encode_to_vec();
        let contains = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(contains("service.name") && contains("probe"));
        assert!(!contains("ada@example.com") && !contains(&token), "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_fails_no_call() {
    if child::is_child() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        return calls_to(&format!("http://{address}")).await;
    }
    let test = "export::a_collector_that_is_away_fails_no_call";
    tokio::task::spawn_blocking(|| child::run(test)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_fails_no_call_and_the_queue_is_bounded() {
    if child::is_child() {
        // Accepted by the kernel, answered by nobody.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        return calls_to(&format!("http://{address}")).await;
    }
    let test = "export::a_collector_that_hangs_fails_no_call_and_the_queue_is_bounded";
    let text = tokio::task::spawn_blocking(|| child::run(test)).await.unwrap();
    let dropped = child::log(&text).iter().find_map(|line| line["dropped_span_count"].as_u64());
    // Half is enough to show it, if the machine is so slow that an export or two give up.
    let at_least = u64::try_from((FILLING - telemetry::MAX_QUEUED_SPANS) / 2).unwrap();
    assert!(dropped.is_some_and(|dropped| dropped >= at_least), "{dropped:?} of {text}");
}

/// Many times what the queue holds.
const FILLING: usize = 10 * telemetry::MAX_QUEUED_SPANS;

/// Calls, then as many spans as fill the queue, then calls again.
async fn calls_to(otlp_endpoint: &str) {
    let guard = install(otlp_endpoint);
    let fixture = Fixture::untraced("").await;
    let token = fixture.token(&["probe:read"]);
    for filling in [FILLING, 0] {
        for _ in 0..100 {
            let answer = call(&fixture.endpoint, "Echo", &token, frame("x")).await;
            assert_eq!(answer.code(), Code::Ok);
        }
        for _ in 0..filling {
            tracing::info_span!("filling").in_scope(|| ());
        }
    }
    tokio::task::spawn_blocking(move || guard.flush()).await.unwrap();
}
