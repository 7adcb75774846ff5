//! How a call fails: the error of the Connect protocol, with gRPC's details in it.
//! <https://connectrpc.com/docs/protocol#error-codes>

use std::sync::LazyLock;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use kernel::{Fault, Kind, Violations};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// What the gateway itself finds wrong with a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Malformed(Violations),
    #[error("{0}")]
    Invalid(Violations),
    #[error("the body is larger than {0} bytes: send less at a time")]
    TooLarge(usize),
    #[error("the body did not arrive in time, or not whole: send it again")]
    Slow,
    #[error("the gateway holds as many large bodies as it may: send it again later")]
    Full,
    #[error(
        "the body has more values than fit into gateway.max_api_buffer_bytes: send less at a time"
    )]
    TooManyValues,
    #[error("half of gateway.max_connections are streams: open it again later")]
    Streams,
    #[error("the server is shutting down: resume after the last answer")]
    Stopping,
    #[error("the token is missing or not valid")]
    Token,
    #[error("{0}")]
    Denied(String),
    #[error("pages of this origin may not call: gateway.allowed_origins lists those that may")]
    Origin,
}

impl Fault for Refusal {
    fn kind(&self) -> Kind {
        match self {
            Self::Malformed(violations) | Self::Invalid(violations) => {
                Kind::Invalid(violations.clone())
            }
            Self::TooLarge(_) | Self::TooManyValues | Self::Full | Self::Streams => Kind::Exhausted,
            Self::Slow | Self::Stopping => Kind::Unavailable,
            Self::Token => Kind::Unauthenticated,
            Self::Denied(_) | Self::Origin => Kind::Denied,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "MALFORMED_MESSAGE",
            Self::Invalid(_) => "INVALID_FIELD",
            Self::TooLarge(_) | Self::TooManyValues => "MESSAGE_TOO_LARGE",
            Self::Full | Self::Streams => "OVERLOADED",
            Self::Slow | Self::Stopping => "UNAVAILABLE",
            Self::Token => "TOKEN_INVALID",
            Self::Denied(_) => "SCOPE_MISSING",
            Self::Origin => "ORIGIN_REFUSED",
        }
    }
}

impl Refusal {
    /// One field that cannot be read.
    pub(crate) fn malformed(field: &str, description: impl Into<String>) -> Self {
        Self::Malformed(Violations::of(field, description))
    }

    /// One field with a value that will not do.
    pub(crate) fn invalid(field: &str, description: impl Into<String>) -> Self {
        Self::Invalid(Violations::of(field, description))
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        server::status(&refusal)
    }
}

/// Status 404 of a path below a service that is no RPC there.
pub(crate) fn no_such_method(path: &str) -> Response {
    let message = format!("{path} is no RPC that is offered here: GET /openapi.json lists them");
    answer(StatusCode::NOT_FOUND, &json!({"code": "unimplemented", "message": message}))
}

/// Status 405 or 415: what to send instead.
pub(crate) fn wrong_shape(code: StatusCode, message: &str) -> Response {
    answer(code, &json!({"code": "invalid_argument", "message": message}))
}

/// A failed call as an answer of its own.
pub(crate) fn response(status: &Status) -> Response {
    let mut response = answer(http_code(status.code()), &error(status));
    if let Some(seconds) = retry_after(status) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn answer(code: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Bytes::from(body.to_string()).into());
    *response.status_mut() = code;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// `{"code", "message", "details"}`.
pub(crate) fn error(status: &Status) -> Value {
    let mut error = Map::new();
    error.insert("code".to_owned(), code_name(status.code()).into());
    if !status.message().is_empty() {
        error.insert("message".to_owned(), status.message().into());
    }
    let details = tonic_types::pb::Status::decode(status.details()).unwrap_or_default().details;
    if !details.is_empty() {
        error.insert("details".to_owned(), details.iter().map(detail).collect());
    }
    error.into()
}

fn detail(any: &prost_types::Any) -> Value {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    let mut detail = json!({"type": name, "value": STANDARD_NO_PAD.encode(&any.value)});
    if let Some(debug) = debug(name, &any.value) {
        detail["debug"] = debug;
    }
    detail
}

/// Google's error details.
static DETAILS: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).ok());

/// The detail in plain words, for people.
fn debug(name: &str, value: &[u8]) -> Option<Value> {
    let descriptor = DETAILS.as_ref()?.get_message_by_name(name)?;
    serde_json::to_value(DynamicMessage::decode(descriptor, value).ok()?).ok()
}

/// Whole seconds from `RetryInfo`, rounded up.
fn retry_after(status: &Status) -> Option<u64> {
    let delay = status.get_details_retry_info()?.retry_delay?;
    u64::try_from(delay.as_millis().div_ceil(1_000)).ok()
}

const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Cancelled => "canceled",
        Code::Ok | Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

fn http_code(code: Code) -> StatusCode {
    match code {
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    code: u16,
}

/// What an operator watches. Clones share the counters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    answers: Family<Answer, Counter>,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Answers to calls of RPCs and of the gateway's own paths";
        registry.register("api_answers", help, metrics.answers.clone());
        metrics
    }

    pub(crate) fn answered(&self, code: StatusCode) {
        self.answers.get_or_create(&Answer { code: code.as_u16() }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_there_for_programs_and_in_plain_words() {
        let status = Status::from(Refusal::invalid("events[0].type", "must be set"));
        let error = error(&status);
        assert_eq!(error["code"], "invalid_argument");
        let details = error["details"].as_array().unwrap();
        let info = details.iter().find(|one| one["type"] == "google.rpc.ErrorInfo").unwrap();
        assert_eq!(info["debug"]["reason"], "INVALID_FIELD");
        let value = STANDARD_NO_PAD.decode(info["value"].as_str().unwrap()).unwrap();
        assert!(!value.is_empty());
        let bad = details.iter().find(|one| one["type"] == "google.rpc.BadRequest").unwrap();
        assert_eq!(bad["debug"]["fieldViolations"][0]["field"], "events[0].type");
    }

    #[test]
    fn a_refusal_that_passes_says_when_to_come_again() {
        let busy = response(&Refusal::Full.into());
        assert_eq!(busy.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(busy.headers()[header::RETRY_AFTER], "1");
        let large = response(&Refusal::TooLarge(1).into());
        assert_eq!(large.headers().get(header::RETRY_AFTER), None);
    }
}
