//! What SDKs hear. They drop events for good on every 4xx but 408 and 429, and repeat on 5xx.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An event that is not stored, and will not be if it is sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Rejected {
    /// Its place in the batch, from 0.
    pub(crate) index: usize,
    #[serde(rename = "messageId", skip_serializing_if = "Option::is_none")]
    pub(crate) message_id: Option<String>,
    pub(crate) reason: String,
}

/// Everything that is not in the list is durable.
#[derive(Debug, Serialize)]
struct Success {
    success: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejected: Vec<Rejected>,
}

#[derive(Debug, Serialize)]
struct Failure {
    success: bool,
    /// For programs; rudder-sdk-python repeats what has none, whatever the status.
    code: &'static str,
    message: String,
}

pub(crate) fn success(rejected: Vec<Rejected>) -> Response {
    Json(Success { success: true, rejected }).into_response()
}

/// Why a batch is not taken as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It can never be taken.
    #[error("{0}")]
    Malformed(String),
    #[error("the write key is missing or not valid")]
    UnknownKey,
    /// A token for browsers that is bound to other origins.
    #[error("the write key is bound to pages of other origins")]
    Origin,
    #[error("the body did not arrive in time")]
    SlowBody,
    /// Too much at once.
    #[error("too much at once, try again later")]
    Busy { retry_after_seconds: u64 },
    /// Something behind the gateway is away.
    #[error("not available now, try again later")]
    Away { retry_after_seconds: u64 },
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::UnknownKey => StatusCode::UNAUTHORIZED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Away { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::Origin => "origin_refused",
            Self::SlowBody => "slow_body",
            Self::Busy { .. } => "busy",
            Self::Away { .. } => "away",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(Failure { success: false, code: self.code(), message: self.to_string() });
        let mut response = (self.status(), body).into_response();
        if let Self::Busy { retry_after_seconds } | Self::Away { retry_after_seconds } = self {
            let seconds = HeaderValue::from(retry_after_seconds);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
