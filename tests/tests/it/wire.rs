//! Calls of any RPC with any bytes, and answers as a caller sees them.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

/// How an answer looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// Field and description of each violation.
    pub(crate) violations: Vec<(String, String)>,
    pub(crate) messages: Vec<Bytes>,
    /// The stream was still open when the patience ended; `code` is OK then.
    pub(crate) open: bool,
}

impl Answer {
    fn of(status: &Status, messages: Vec<Bytes>) -> Self {
        let details = status.get_error_details();
        let violations = details.bad_request().map(|bad| bad.field_violations.clone());
        Self {
            code: status.code(),
            reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
            message: status.message().to_owned(),
            violations: violations
                .unwrap_or_default()
                .into_iter()
                .map(|violation| (violation.field, violation.description))
                .collect(),
            messages,
            open: false,
        }
    }
}

/// Calls `path` (`/package.Service/Method`) with one message; a stream that neither ends nor
/// fails within the patience counts as open.
pub(crate) async fn call(
    channel: &Channel,
    path: &str,
    token: Option<&str>,
    message: impl Into<Bytes>,
    patience: Duration,
) -> Answer {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    if let Err(error) = grpc.ready().await {
        return Answer::of(&Status::unavailable(error.to_string()), Vec::new());
    }
    let mut request = Request::new(tokio_stream::once(message.into()));
    if let Some(token) = token {
        let bearer = format!("Bearer {token}").parse().expect("ASCII");
        request.metadata_mut().insert("authorization", bearer);
    }
    let path = path.parse().expect("a path");
    let mut messages = Vec::new();
    let read = async {
        let mut stream = grpc.streaming(request, path, Raw).await?.into_inner();
        while let Some(message) = stream.message().await? {
            messages.push(message);
        }
        Ok::<(), Status>(())
    };
    let ended = tokio::time::timeout(patience, read).await;
    match ended {
        Ok(Ok(())) => Answer::of(&Status::ok(""), messages),
        Ok(Err(status)) => Answer::of(&status, messages),
        Err(_elapsed) => Answer { open: true, ..Answer::of(&Status::ok(""), messages) },
    }
}

/// Bytes as they are.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
