//! Streams of answers: server-sent events (by POST, and by GET for `EventSource`), and the
//! enveloped streams of the Connect protocol.
//!
//! An event's `id` is the position after it, `Last-Event-ID` goes on from there; heartbeats
//! are comments; an error is `event: error` and the last one. At a drain every stream ends with
//! UNAVAILABLE and the place to resume. Nothing is buffered here beyond one message: a page that does
//! not read is the service's to judge.
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Value};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::codec::Streaming;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::Api;
use super::call::Caller;
use super::failure::{self, Refusal};
use super::message;
use super::methods::Rpc;
use super::writer::Writer;

/// What a watch asks for is small.
const MAX_REQUEST: usize = 64 * 1024;
/// The field of requests and answers that holds a position.
const POSITION: &str = "resume_token";
/// How long a service may take to end its stream by itself when everything ends.
pub(crate) const PARTING: Duration = Duration::from_secs(1);
/// Also tells `EventSource` to come again after two seconds.
const OPENING: &[u8] = b"retry: 2000\n\n";

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Events,
    ConnectJson,
    ConnectProto,
}

impl Wire {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::ConnectJson => "application/connect+json",
            Self::ConnectProto => "application/connect+proto",
        }
    }
}

/// The token in the address of a stream, for `EventSource`, which has no headers.
pub(crate) fn access_token(uri: &Uri) -> Option<String> {
    in_query(uri, "access_token").map(Cow::into_owned)
}

/// A decoded value of the address.
pub(crate) fn in_query<'a>(uri: &'a Uri, name: &str) -> Option<Cow<'a, str>> {
    let pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// By GET, for `EventSource`: the message and a token for browsers stand in the address.
pub(crate) async fn by_address(api: &Api, rpc: &Rpc, parts: &Parts) -> Result<Response, Status> {
    let mut caller = Caller::of(&parts.headers)?;
    if let Some(token) = access_token(&parts.uri).filter(|_| caller.token.is_empty()) {
        // Addresses end up in histories and logs of others: no other token may stand there.
        let principal = api.verifier.verify(&token).await.map_err(|_| Refusal::Token)?;
        if principal.browser.is_none() {
            return Err(Refusal::Token.into());
        }
        caller.token = token.into();
    }
    api.admit(rpc, &caller.token).await?;
    let text = in_query(&parts.uri, "message").unwrap_or_default().into_owned();
    open(api, rpc, parts, &caller, text.into(), Wire::Events).await
}

/// By POST, the message in the body.
pub(crate) async fn by_body(
    api: &Api,
    rpc: &Rpc,
    parts: &Parts,
    body: Body,
    wire: Wire,
) -> Result<Response, Status> {
    let caller = Caller::of(&parts.headers)?;
    api.admit(rpc, &caller.token).await?;
    let held = api.read(&parts.headers, body).await?;
    if held.bytes.len() > MAX_REQUEST {
        return Err(Refusal::TooLarge(MAX_REQUEST).into());
    }
    let text = match wire {
        Wire::Events => held.bytes,
        Wire::ConnectJson | Wire::ConnectProto => held.bytes.slice_ref(enveloped(&held.bytes)?),
    };
    open(api, rpc, parts, &caller, text, wire).await
}

/// What a watch asks for: the position, and the message as the service takes it.
async fn asked(
    api: &Api,
    rpc: &Rpc,
    text: Bytes,
    wire: Wire,
    last: Option<String>,
) -> Result<(String, Bytes), Status> {
    let (input, budget) = (rpc.input.clone(), api.budget.clone());
    let work = move || {
        let (_share, mut request) = if wire == Wire::ConnectProto {
            let share = budget.for_message(&text)?;
            let request = DynamicMessage::decode(input, text)
                .map_err(|_| Refusal::malformed("", "the message cannot be decoded"))?;
            (share, request)
        } else {
            (budget.for_json(&text)?, message::read(&input, &text)?)
        };
        if let Some(last) = last {
            let _ = request.try_set_field_by_name(POSITION, Value::String(last));
        }
        Ok::<_, Refusal>((position(&request), Bytes::from(request.encode_to_vec())))
    };
    Ok(message::aside(MAX_REQUEST, work).await??)
}

/// A stream that failed before it began.
pub(crate) fn refused(wire: Wire, status: Status) -> Response {
    let frame = envelope(2, json!({"error": failure::error(&status)}).to_string().as_bytes());
    response(wire, Body::from(frame))
}

/// The one message of an enveloped body: flags, length, bytes.
fn enveloped(body: &Bytes) -> Result<&[u8], Refusal> {
    let wrong =
        |what: &str| Refusal::malformed("", format!("the body must be one envelope: {what}"));
    let (head, message) = body.split_at_checked(5).ok_or_else(|| wrong("it is too short"))?;
    if head[0] != 0 {
        return Err(wrong("compressed envelopes are not read"));
    }
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if usize::try_from(length) != Ok(message.len()) {
        return Err(wrong("its length is another one than it says"));
    }
    Ok(message)
}

async fn open(
    api: &Api,
    rpc: &Rpc,
    parts: &Parts,
    caller: &Caller,
    text: Bytes,
    wire: Wire,
) -> Result<Response, Status> {
    let place = api.place()?;
    let last = parts.headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let last = last.filter(|id| wire == Wire::Events && !id.is_empty()).map(str::to_owned);
    let (position, request) = asked(api, rpc, text, wire, last).await?;
    let relay = Relay {
        position,
        source: caller.watch(api, rpc, request).await,
        _place: Some(place),
        output: rpc.output.clone(),
        wire,
        stop: Box::pin(api.drain.token().cancelled_owned()),
        state: State::Opening,
    };
    let source = match (wire, relay.source) {
        // Before the first answer an error has a code of its own, which ends an EventSource.
        (Wire::Events, Err(status)) => return Err(status),
        (_, source) => source,
    };
    let frames = futures::stream::unfold(Relay { source, ..relay }, async |mut relay| {
        let frame = relay.next().await?;
        Some((Ok::<_, Infallible>(frame), relay))
    });
    Ok(response(wire, Body::from_stream(frames)))
}

fn response(wire: Wire, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(wire.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies of nginx's kind hold answers back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn position(message: &DynamicMessage) -> String {
    let field = message.get_field_by_name(POSITION);
    field.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Opening,
    Open,
    Ended,
}

/// From a service's stream to frames of a body.
struct Relay {
    source: Result<Streaming<Bytes>, Status>,
    output: Writer,
    wire: Wire,
    /// After the last message that was relayed.
    position: String,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// None in tests.
    _place: Option<OwnedSemaphorePermit>,
    state: State,
}

impl Relay {
    /// None after the end.
    async fn next(&mut self) -> Option<Bytes> {
        match self.state {
            State::Ended => return None,
            State::Opening => {
                self.state = State::Open;
                if self.wire == Wire::Events {
                    return Some(Bytes::from_static(OPENING));
                }
            }
            State::Open => {}
        }
        let frame = match self.message().await {
            Ok(Some(message)) => self.write(message).await,
            Ok(None) => Err(None),
            Err(status) => Err(Some(status)),
        };
        Some(frame.unwrap_or_else(|end| {
            self.state = State::Ended;
            self.end(end)
        }))
    }

    async fn message(&mut self) -> Result<Option<Bytes>, Status> {
        let source = self.source.as_mut().map_err(|status| status.clone())?;
        tokio::select! {
            biased;
            message = source.message() => return message,
            () = self.stop.as_mut() => {}
        }
        // A service in this process ends now too, and knows the place better.
        let parting = tokio::time::timeout(PARTING, source.message()).await;
        let why = "the server is shutting down: resume";
        parting.unwrap_or_else(|_| Err(server::status::ended(why, &self.position)))
    }

    async fn write(&mut self, message: Bytes) -> Result<Bytes, Option<Status>> {
        let read = message::decode(self.output.descriptor(), message.clone()).map_err(Some)?;
        self.position = position(&read);
        let is_heartbeat = read.fields().all(|(field, _)| field.name() == POSITION);
        match self.wire {
            Wire::ConnectProto => Ok(envelope(0, &message)),
            Wire::Events if is_heartbeat => Ok(event("heartbeat", None, &self.position)),
            Wire::Events => {
                let json = message::to_json(&self.output, message).await.map_err(Some)?;
                Ok(event("", Some(&json), &self.position))
            }
            Wire::ConnectJson => {
                let json = message::to_json(&self.output, message).await.map_err(Some)?;
                Ok(envelope(0, &json))
            }
        }
    }

    fn end(&self, status: Option<Status>) -> Bytes {
        let status = status.filter(|status| status.code() != Code::Ok);
        if self.wire != Wire::Events {
            let end = status.map_or_else(|| json!({}), |s| json!({"error": failure::error(&s)}));
            return envelope(2, end.to_string().as_bytes());
        }
        let Some(status) = status else { return event("end", Some(b"{}"), &self.position) };
        let info = status.get_details_error_info();
        let resume = info.and_then(|mut info| info.metadata.remove(POSITION));
        let error = failure::error(&status).to_string();
        event("error", Some(error.as_bytes()), resume.as_deref().unwrap_or(&self.position))
    }
}

/// Flags, length, bytes.
fn envelope(flags: u8, message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(flags);
    // Answers are bounded by 8 MiB.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// One event; without data a comment, whose id counts nevertheless.
fn event(name: &str, data: Option<&[u8]>, id: &str) -> Bytes {
    let mut frame = BytesMut::new();
    match data {
        None => frame.put_slice(format!(": {name}\n").as_bytes()),
        Some(_) if !name.is_empty() => frame.put_slice(format!("event: {name}\n").as_bytes()),
        Some(_) => {}
    }
    if !id.is_empty() && !id.contains(['\n', '\r', '\0']) {
        frame.put_slice(format!("id: {id}\n").as_bytes());
    }
    if let Some(data) = data {
        frame.put_slice(b"data: ");
        frame.put_slice(data); // compact JSON has no line ends
        frame.put_u8(b'\n');
    }
    frame.put_u8(b'\n');
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::super::methods;
    use super::*;
    use contracts::profile::v1::WatchProfilesResponse;
    use tokio_util::sync::CancellationToken;

    #[test]
    fn events_are_as_browsers_read_them() {
        assert_eq!(event("", Some(b"{\"a\":1}"), "t1"), "id: t1\ndata: {\"a\":1}\n\n");
        assert_eq!(event("heartbeat", None, "t2"), ": heartbeat\nid: t2\n\n");
        assert_eq!(event("error", Some(b"{}"), "a\nb"), "event: error\ndata: {}\n\n");
    }

    #[test]
    fn an_envelope_says_how_long_it_is() {
        let body = envelope(0, b"abc");
        assert_eq!(enveloped(&body).unwrap(), b"abc");
        for bad in [&b"\0\0\0\0"[..], b"\x01\0\0\0\0", b"\0\0\0\0\x02a", b"\0\0\0\0\0a"] {
            assert!(enveloped(&Bytes::from_static(bad)).is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn every_wire_knows_the_place_after_what_it_has_sent() {
        let methods = methods::Methods::read(contracts::DESCRIPTORS).unwrap();
        let watch = methods.get("/rapport.profile.v1.ProfileService/WatchProfiles").unwrap();
        for wire in [Wire::Events, Wire::ConnectJson, Wire::ConnectProto] {
            let mut relay = Relay {
                source: Err(Status::new(Code::Unavailable, "")),
                output: watch.output.clone(),
                wire,
                position: "before".to_owned(),
                stop: Box::pin(CancellationToken::new().cancelled_owned()),
                _place: None,
                state: State::Open,
            };
            let resume_token = "after".to_owned();
            let answer = WatchProfilesResponse { resume_token, ..Default::default() };
            relay.write(answer.encode_to_vec().into()).await.unwrap();
            assert_eq!(relay.position, "after", "{wire:?}");
        }
    }

    #[test]
    fn an_address_is_decoded() {
        let uri: Uri = "/x?message=%7B%22a%22%3A1%7D&access_token=abc".parse().unwrap();
        assert_eq!(in_query(&uri, "message").unwrap(), r#"{"a":1}"#);
        assert_eq!(access_token(&uri).unwrap(), "abc");
        assert_eq!(access_token(&"/x".parse().unwrap()), None);
    }
}
