//! Client garbage is never INTERNAL.
//!
//! tonic answers INTERNAL to what it cannot decode, with the field path in the message, and
//! OUT_OF_RANGE to a message that is too large, also when it is the answer. Its statuses are recognised by their words and
//! by having no details: every status of ours has details. A bare INTERNAL or UNKNOWN that is
//! none of these keeps its code and loses its text.

use http::HeaderMap;
use tonic::{Code, Status};

use super::{Around, Request, Response, Rpc, body};
use crate::layers::metrics::code_name;
use crate::status;

/// How tonic 0.14, tonic-web 0.14 and prost 0.14 begin what they say about input; checked by the tests.
const MALFORMED: [&str; 6] = [
    "failed to decode Protobuf message",
    "Unexpected EOF decoding stream",
    "Missing request message",
    "protocol error: received message with",
    "Error decompressing",
    "tonic-web: ", // of base64 that is none, as gRPC-Web may send it
];
const TOO_LARGE: [&str; 2] =
    ["Error, decoded message length too large", "Error decompressing: size limit"];
const ANSWER_TOO_LARGE: [&str; 1] = ["Error, encoded message length too large"];

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Garbage;

impl Around for Garbage {
    async fn around<R: Rpc>(&self, request: Request, rest: &R) -> Response {
        let mut response = rest.call(request).await;
        rewrite(response.headers_mut());
        if body::head_code(&response).is_some() {
            return response;
        }
        // Streams end with trailers, and so does an answer that turns out to be too large.
        body::map_trailers(response, rewrite)
    }
}

fn rewrite(headers: &mut HeaderMap) {
    if headers.get("grpc-status").is_none_or(|code| code == "0") {
        return;
    }
    let Some(better) = Status::from_header_map(headers).and_then(|status| instead_of(&status))
    else {
        return;
    };
    headers.remove("grpc-message");
    if better.add_header(headers).is_err() {
        tracing::warn!(event = "status_not_written");
    }
}

fn instead_of(status: &Status) -> Option<Status> {
    if !status.details().is_empty() {
        return None;
    }
    let says = |words: &[&str]| words.iter().any(|begin| status.message().starts_with(begin));
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted if says(&TOO_LARGE) => Some(status::plain(
            Code::ResourceExhausted,
            "MESSAGE_TOO_LARGE",
            "the message is larger than this method takes",
        )),
        Code::OutOfRange if says(&ANSWER_TOO_LARGE) => Some(status::plain(
            Code::ResourceExhausted,
            "MESSAGE_TOO_LARGE",
            "the answer is larger than a message may be: ask for less at a time",
        )),
        Code::Internal if says(&MALFORMED) => Some(status::plain(
            Code::InvalidArgument,
            "MALFORMED_MESSAGE",
            "the message cannot be decoded",
        )),
        Code::Internal | Code::Unknown => {
            // The span says where; the text may be personal, like that of a panic.
            tracing::error!(event = "bare_status", code = code_name(status.code()));
            Some(status::internal())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handlers_own_internal_is_not_mistaken_for_garbage() {
        let ours = status::plain(Code::Internal, "INTERNAL", "failed to decode Protobuf message");
        assert!(instead_of(&ours).is_none());
        let bare = instead_of(&Status::internal("connection to 10.0.0.1 refused")).unwrap();
        assert_eq!((bare.code(), bare.message()), (Code::Internal, "internal error"));
    }
}
