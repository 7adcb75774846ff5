//! How long a caller waits, and how long the work may go on.
//!
//! The deadline is the caller's `grpc-timeout`, cut to the server's maximum, or the default.
//! When it passes the answer is DEADLINE_EXCEEDED (tonic's own time-out says CANCELLED). The
//! handler runs in a task of its own, which neither the deadline nor a caller that leaves
//! drops half-way: it goes on to its own cap. Streams have no total deadline and end with
//! their caller.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};
use tracing::Instrument;

use super::request_id::{self, RequestId};
use super::shed::Permit;
use super::{Around, Request, Response, Rpc, body, is_streaming, method, refuse};
use crate::drain::Drain;
use crate::request::Ending;
use crate::settings::{self, millis};
use crate::status;

/// When the caller stops waiting. In the extensions of unary requests; outgoing calls made for
/// the request get what remains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Instant);

impl Deadline {
    /// This long from now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// What is left; zero when it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Deadlines {
    default: Duration,
    max: Duration,
    work_cap: Duration,
    tracker: TaskTracker,
    abort: CancellationToken,
}

impl Deadlines {
    /// Tasks are spawned on the tracker of `drain`, which cuts them off when its grace ends.
    #[must_use]
    pub fn new(settings: &settings::Server, drain: &Drain) -> Self {
        Self {
            default: millis(settings.default_deadline_ms),
            max: millis(settings.max_deadline_ms),
            work_cap: millis(settings.work_cap_ms),
            tracker: drain.tracker(),
            abort: drain.abort(),
        }
    }

    fn budget(&self, headers: &HeaderMap) -> Duration {
        timeout(headers).unwrap_or(self.default).min(self.max)
    }
}

impl Around for Deadlines {
    async fn around<R: Rpc>(&self, mut request: Request, rest: &R) -> Response {
        if is_streaming(&request) {
            return stream(request, rest).await;
        }
        let budget = self.budget(request.headers());
        if budget.is_zero() {
            return expired();
        }
        let deadline = Deadline::after(budget);
        let permit: Option<Permit> = request.extensions_mut().remove();
        let id = request.extensions().get::<RequestId>().cloned();
        let rest = rest.clone();
        request.extensions_mut().insert(deadline);
        let (cap, abort) = (self.work_cap, self.abort.clone());
        let work = async move {
            let _permit = permit;
            let id = id.unwrap_or_else(|| RequestId(Arc::from("")));
            tokio::select! {
                response = request_id::within(id, rest.call(request)) => response,
                () = tokio::time::sleep(cap) => expired(),
                () = abort.cancelled() => cut_off(),
            }
        };
        let task = self.tracker.spawn(work.in_current_span());
        match tokio::time::timeout_at(deadline.0, task).await {
            Ok(Ok(response)) => response,
            // The panic layer above answers it.
            Ok(Err(failed)) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            Ok(Err(_)) => cut_off(),
            Err(_) => expired(),
        }
    }
}

/// Our own streams end themselves, with a token to resume from; gRPC's (health, reflection)
/// know nothing of a drain and would hold it up.
async fn stream<R: Rpc>(request: Request, rest: &R) -> Response {
    let grpcs_own = method(&request).is_some_and(|method| method.name.starts_with("grpc."));
    let ending = request.extensions().get::<Ending>().filter(|_| grpcs_own).cloned();
    let response = rest.call(request).await;
    match ending {
        Some(Ending(ending)) => body::until(response, ending, shutting_down()),
        None => response,
    }
}

fn expired() -> Response {
    let message = "the deadline passed before the answer was ready";
    refuse(status::plain(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message))
}

fn cut_off() -> Response {
    refuse(shutting_down())
}

fn shutting_down() -> Status {
    status::plain(Code::Unavailable, "UNAVAILABLE", "the server is shutting down")
}

/// `grpc-timeout`: at most eight digits and a unit. Anything else counts as absent.
#[must_use]
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|_| plain)?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_are_read_as_the_protocol_writes_them() {
        let read = |text: &str| {
            timeout(&HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-timeout"),
                text.parse().unwrap(),
            )]))
        };
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(read("1n"), Some(Duration::from_nanos(1)));
        for bad in ["", "m", "5", "-1S", "+1S", "123456789m", "1é"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
