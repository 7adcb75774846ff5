//! The one place where a kind of fault becomes a gRPC code.
//!
//! Every status carries `google.rpc.ErrorInfo{reason, domain: "rapport.dev"}`; bad input
//! carries all violations, and where a retry helps there is `RetryInfo`. INTERNAL has a fixed
//! text: what really happened is logged here, once, with its chain, and the request id
//! leads to it.

use std::collections::HashMap;
use std::time::Duration;

use kernel::{Fault, Kind, Violations};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::layers::request_id;

/// `ErrorInfo.domain` of everything here.
pub const DOMAIN: &str = "rapport.dev";
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What the caller is told about a fault.
#[must_use]
pub fn status(fault: &dyn Fault) -> Status {
    let kind = fault.kind();
    let message = match &kind {
        Kind::Internal => {
            log_internal(fault);
            return internal();
        }
        Kind::Invalid(violations) => return invalid_because(fault.reason(), violations),
        _ => fault.to_string(),
    };
    let (code, reason) = (code(&kind), fault.reason());
    let wait = fault.retry_after().or_else(|| usual_wait(code, reason));
    write(code, reason, message, HashMap::new(), wait)
}

/// The code of a kind.
#[must_use]
pub const fn code(kind: &Kind) -> Code {
    match kind {
        Kind::Invalid(_) => Code::InvalidArgument,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Denied => Code::PermissionDenied,
        Kind::NotFound => Code::NotFound,
        Kind::Precondition => Code::FailedPrecondition,
        Kind::Conflict => Code::Aborted,
        Kind::OutOfRange => Code::OutOfRange,
        Kind::Exhausted => Code::ResourceExhausted,
        Kind::Deadline => Code::DeadlineExceeded,
        Kind::Unavailable => Code::Unavailable,
        Kind::Internal => Code::Internal,
    }
}

/// INVALID_ARGUMENT with every violation.
#[must_use]
pub fn invalid(violations: &Violations) -> Status {
    invalid_because("INVALID_FIELD", violations)
}

/// NOT_FOUND: the same words for an absent object and another tenant's.
#[must_use]
pub fn not_found(what: &str) -> Status {
    build(Code::NotFound, "NOT_FOUND", format!("{what} does not exist"), HashMap::new())
}

/// UNAVAILABLE with the position to go on from: how the server ends a stream.
#[must_use]
pub fn ended(why: &str, resume_token: &str) -> Status {
    let metadata = HashMap::from([("resume_token".to_owned(), resume_token.to_owned())]);
    build(Code::Unavailable, "UNAVAILABLE", why.to_owned(), metadata)
}

/// A status with `ErrorInfo`, and `RetryInfo` where a retry helps.
pub(crate) fn plain(code: Code, reason: &str, message: impl Into<String>) -> Status {
    build(code, reason, message.into(), HashMap::new())
}

/// INTERNAL with the fixed text and the request id in force.
pub(crate) fn internal() -> Status {
    let request_id = request_id::current();
    let message = match &request_id {
        Some(id) => format!("internal error; request id {id}"),
        None => "internal error".to_owned(),
    };
    let mut details = ErrorDetails::with_error_info("INTERNAL", DOMAIN, HashMap::new());
    if let Some(id) = request_id {
        details.set_request_info(id, "");
    }
    Status::with_error_details(Code::Internal, message, details)
}

fn invalid_because(reason: &str, violations: &Violations) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    for violation in violations.iter() {
        details.add_bad_request_violation(&violation.field, &violation.description);
    }
    // Headers are bounded, so the message counts and the details list.
    let message = match violations.len() {
        1 => violations.to_string(),
        count => format!("{count} fields are not valid"),
    };
    Status::with_error_details(Code::InvalidArgument, message, details)
}

pub(crate) fn build(
    code: Code,
    reason: &str,
    message: String,
    metadata: HashMap<String, String>,
) -> Status {
    write(code, reason, message, metadata, usual_wait(code, reason))
}

fn write(
    code: Code,
    reason: &str,
    message: String,
    metadata: HashMap<String, String>,
    wait: Option<Duration>,
) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    if wait.is_some() {
        details.set_retry_info(wait);
    }
    Status::with_error_details(code, message, details)
}

/// None where the same call would fail again.
fn usual_wait(code: Code, reason: &str) -> Option<Duration> {
    let helps = matches!(code, Code::ResourceExhausted | Code::Unavailable);
    (helps && reason != "MESSAGE_TOO_LARGE").then_some(RETRY_AFTER)
}

fn log_internal(fault: &dyn Fault) {
    let mut chain = fault.to_string();
    let mut source = fault.source();
    while let Some(cause) = source {
        chain.push_str(": ");
        chain.push_str(&cause.to_string());
        source = cause.source();
    }
    tracing::error!(event = "internal_fault", reason = fault.reason(), error = chain);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::metrics::code_name;

    #[derive(Debug, thiserror::Error)]
    #[error("row of customer 42 is damaged")]
    struct Broken(Kind);

    #[derive(Debug, thiserror::Error)]
    #[error("the queue is full")]
    struct Full(Duration);

    impl Fault for Full {
        fn kind(&self) -> Kind {
            Kind::Exhausted
        }
        fn retry_after(&self) -> Option<Duration> {
            Some(self.0)
        }
    }

    impl Fault for Broken {
        fn kind(&self) -> Kind {
            self.0.clone()
        }
    }

    #[test]
    fn every_violation_reaches_the_caller() {
        let mut violations = Violations::of("a", "must be set");
        violations.add("b[0]", "must not be empty");
        let status = status(&Broken(Kind::Invalid(violations)));
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations.len(), 2);
        assert_eq!(details.error_info().unwrap().reason, "INVALID_FIELD");
        assert_eq!(details.error_info().unwrap().domain, DOMAIN);
    }

    #[test]
    fn an_internal_fault_keeps_its_text_to_itself() {
        let status = status(&Broken(Kind::Internal));
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), "internal error");
    }

    #[test]
    fn waiting_is_advised_where_it_helps_and_only_there() {
        for (kind, advised) in
            [(Kind::Exhausted, true), (Kind::Unavailable, true), (Kind::Conflict, false)]
        {
            let details = status(&Broken(kind)).get_error_details();
            assert_eq!(details.retry_info().is_some(), advised);
        }
        let too_large = plain(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", "too large");
        assert!(too_large.get_details_retry_info().is_none(), "it would be too large again");
    }

    #[test]
    fn a_fault_that_knows_how_long_to_wait_says_so() {
        let wait = Duration::from_millis(1_750);
        let advice = status(&Full(wait)).get_details_retry_info().unwrap();
        assert_eq!(advice.retry_delay, Some(wait));
    }

    #[test]
    fn codes_are_what_the_list_of_errors_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
        let list = std::fs::read_to_string(path).unwrap();
        for kind in [
            Kind::Invalid(Violations::of("a", "must be set")),
            Kind::Unauthenticated,
            Kind::Denied,
            Kind::NotFound,
            Kind::Precondition,
            Kind::Conflict,
            Kind::OutOfRange,
            Kind::Exhausted,
            Kind::Deadline,
            Kind::Unavailable,
            Kind::Internal,
        ] {
            let status = status(&Broken(kind));
            let reason = status.get_details_error_info().unwrap().reason;
            let row = format!("| `{reason}` | {} |", code_name(status.code()));
            assert!(list.contains(&row), "{row}");
        }
    }
}
