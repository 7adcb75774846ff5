//! One span per call, named `package.Service/Method`, in the trace of the caller (W3C trace
//! context). Field names follow OpenTelemetry's RPC conventions (release candidate).

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::Code;
use tracing::field::display;
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::metrics::code_name;
use super::request_id::RequestId;
use super::{Around, Request, Response, Rpc, body, method};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trace;

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }
    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// The W3C `traceparent` of the current span, for feed rows; nothing where nothing is traced.
#[must_use]
pub fn traceparent() -> Option<String> {
    let mut headers = std::collections::HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut headers);
    headers.remove("traceparent")
}

/// Links a span to the trace of a stored `traceparent`, for work on many causes at once.
pub fn link(span: &Span, traceparent: Option<&str>) {
    let Some(traceparent) = traceparent.filter(|_| !span.is_disabled()) else { return };
    let headers =
        std::collections::HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let cause = TraceContextPropagator::new().extract(&headers);
    let cause = cause.span().span_context().clone();
    if cause.is_valid() {
        span.add_link(cause);
    }
}

impl Around for Trace {
    async fn around<R: Rpc>(&self, request: Request, rest: &R) -> Response {
        let name = method(&request).map_or("_other", |method| method.name.as_str());
        let caller = TraceContextPropagator::new().extract(&Headers(request.headers()));
        let caller_span = caller.span().span_context().clone();
        let request_id = request.extensions().get::<RequestId>();
        // What is known now is cheaper than what is recorded later: log lines are JSON, and
        // each later field parses and writes the object again.
        let span = info_span!(
            "rpc",
            otel.name = name,
            otel.kind = "server",
            rpc.system.name = "grpc",
            rpc.method = name,
            trace_id = caller_span.is_valid().then(|| display(caller_span.trace_id())),
            request_id = request_id.map(|id| &*id.0),
        );
        if caller_span.is_valid() {
            // Fails only where no exporter is installed: then there is nothing to join.
            let _ = span.set_parent(caller);
        } else {
            let context = span.context().span().span_context().clone();
            if context.is_valid() {
                span.record("trace_id", display(context.trace_id()));
            }
        }
        let response = rest.call(request).instrument(span.clone()).await;
        body::on_end(response, move |code| record(&span, code))
    }
}

fn record(span: &Span, code: Code) {
    span.set_attribute("rpc.response.status_code", code_name(code));
    // The server's own faults; the others are the caller's.
    let ours = matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    if ours {
        span.set_status(opentelemetry::trace::Status::error(code_name(code)));
    }
}
