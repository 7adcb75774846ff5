//! A client that sends what it is told, byte by byte: tonic's own is too polite.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use server::Endpoint;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt;

pub(crate) struct Answer {
    pub(crate) http: http::StatusCode,
    pub(crate) status: Status,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn code(&self) -> Code {
        self.status.code()
    }

    pub(crate) fn reason(&self) -> String {
        self.status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
    }
}

/// One gRPC frame with this text as `StringValue`.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    framed(&text.to_owned().encode_to_vec())
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), message].concat()
}

pub(crate) async fn send(
    endpoint: &Endpoint,
    method: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    let io = TokioIo::new(endpoint.memory().connect().unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let path = if method.contains('/') {
        format!("http://memory/{method}")
    } else {
        format!("http://memory/rapport.probe.v1.ProbeService/{method}")
    };
    let mut request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::new(Full::new(Bytes::from(body)))).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let status = Status::from_header_map(&head.headers)
        .or_else(|| Status::from_header_map(&trailers))
        .unwrap_or_else(|| Status::unknown("no status"));
    Answer { http: head.status, status, headers: head.headers, body: body.to_bytes() }
}

/// With a token.
pub(crate) async fn call(endpoint: &Endpoint, method: &str, token: &str, body: Vec<u8>) -> Answer {
    let bearer = format!("Bearer {token}");
    send(endpoint, method, &[("authorization", &bearer)], body).await
}

/// Waits, with a limit, until something holds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(tokio::time::Instant::now() < limit, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
