//! `x-request-id`: taken from the caller if it is decent, else made, and always answered. It is
//! known before the span of the call begins, which bears it.

use std::future::Future;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use super::{Around, Request, Response, Rpc};

/// The header.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const MAX_LENGTH: usize = 64;

tokio::task_local! {
    static CURRENT: Arc<str>;
}

/// In the extensions of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

/// The id of the call that this task works for.
pub(crate) fn current() -> Option<String> {
    CURRENT.try_with(|id| id.to_string()).ok()
}

/// The caller's, if it is decent, else a new one.
#[must_use]
pub fn taken_or_new(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(&HEADER).and_then(|value| value.to_str().ok());
    match given {
        Some(id) if is_decent(id) => id.into(),
        _ => Uuid::now_v7().to_string().into(),
    }
}

/// Makes `id` the current one. The deadline layer repeats this in the task it spawns.
pub(crate) fn within<F: Future>(id: RequestId, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(id.0, work)
}

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ids;

impl Around for Ids {
    async fn around<R: Rpc>(&self, mut request: Request, rest: &R) -> Response {
        let id = taken_or_new(request.headers());
        request.extensions_mut().insert(RequestId(Arc::clone(&id)));
        let mut response = within(RequestId(Arc::clone(&id)), rest.call(request)).await;
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(HEADER, value);
        }
        response
    }
}

/// Goes into logs, so it must be short and plain.
fn is_decent(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::is_decent;

    #[test]
    fn ids_of_callers_are_short_and_plain() {
        assert!(is_decent("0195b6a0-7c1e-7000-8000-000000000001"));
        for bad in ["", "a b", "a\"b", "a\nb", &"a".repeat(65)] {
            assert!(!is_decent(bad), "{bad}");
        }
    }
}
