//! `rpc_server_call_duration_seconds` by method and status code, and the calls in flight.
//!
//! Methods that do not exist are one label, and the tenant is none: cardinality is bounded by
//! methods × codes.

use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

use super::{Around, Request, Response, Rpc, body, method};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    rpc_method: String,
    rpc_response_status_code: &'static str,
}

/// See the module. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
}

impl Metrics {
    /// Registers both; once per registry.
    pub fn register(registry: &mut Registry) -> Self {
        let durations: Family<_, _, fn() -> Histogram> = Family::new_with_constructor(histogram);
        let in_flight = Gauge::default();
        registry.register_with_unit(
            "rpc_server_call_duration",
            "Duration of calls served, to the end of the response",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register(
            "rpc_server_calls_in_flight",
            "Calls at work, open streams among them",
            in_flight.clone(),
        );
        Self { durations, in_flight }
    }
}

fn histogram() -> Histogram {
    Histogram::new([
        0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
    ])
}

/// Notes the call when it is dropped, with what is known then: a caller that leaves drops the
/// future, and that is CANCELLED.
struct Running {
    metrics: Metrics,
    rpc_method: String,
    since: Instant,
    code: Code,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        let rpc_method = std::mem::take(&mut self.rpc_method);
        let labels = Labels { rpc_method, rpc_response_status_code: code_name(self.code) };
        let elapsed = self.since.elapsed().as_secs_f64();
        self.metrics.durations.get_or_create(&labels).observe(elapsed);
    }
}

impl Around for Metrics {
    async fn around<R: Rpc>(&self, request: Request, rest: &R) -> Response {
        let rpc_method = method(&request).map_or_else(String::new, |method| method.name.clone());
        self.in_flight.inc();
        let metrics = self.clone();
        let mut running =
            Running { metrics, rpc_method, since: Instant::now(), code: Code::Cancelled };
        let response = rest.call(request).await;
        body::on_end(response, move |code| {
            running.code = code;
            drop(running);
        })
    }
}

/// As on the wire and in the conventions: `DEADLINE_EXCEEDED`.
pub(crate) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
