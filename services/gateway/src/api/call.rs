//! One call to a service on behalf of a caller: its own token, the time it gives, its request
//! id and its trace travel along.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, header};
use bytes::{Buf, BufMut, Bytes};
use server::layers::{deadline, request_id};
use server::{Call, Peer};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::{Request, Status};

use super::Api;
use super::failure::Refusal;
use super::methods::Rpc;

/// What travels on of a caller's headers, besides token and deadline.
const TRAVELLING: [HeaderName; 3] = [
    request_id::HEADER,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];
/// As in the Connect protocol: at most ten digits.
const MAX_DIGITS: usize = 10;

/// Who calls, as far as its headers say.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Empty when there is none: the service refuses that.
    pub(crate) token: Arc<str>,
    pub(crate) headers: HeaderMap,
    time: Option<Duration>,
}

impl Caller {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Status> {
        let mut travelling = HeaderMap::new();
        for name in TRAVELLING {
            if let Some(value) = headers.get(&name) {
                travelling.insert(name, value.clone());
            }
        }
        let token = bearer(headers).unwrap_or_default().into();
        Ok(Self { token, headers: travelling, time: time(headers)? })
    }

    /// A channel to the service of an RPC, for calls of this caller only.
    pub(crate) fn peer(&self, api: &Api, rpc: &Rpc) -> Peer {
        let call = Call::across_tenants();
        let call = match self.time {
            Some(time) => call.within(time),
            None => call,
        };
        rpc.service.peer(&api.peers).during(&call).bearing(Arc::clone(&self.token))
    }

    /// The same for a stream, which has no deadline unless the caller gives one.
    pub(crate) fn streaming_peer(&self, api: &Api, rpc: &Rpc) -> Peer {
        self.peer(api, rpc).without_deadline()
    }

    fn request(&self, message: Bytes) -> Request<Bytes> {
        let mut request = Request::new(message);
        *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(self.headers.clone());
        request
    }

    /// One message for one.
    pub(crate) async fn unary(
        &self,
        api: &Api,
        rpc: &Rpc,
        message: Bytes,
    ) -> Result<Bytes, Status> {
        let mut grpc = grpc(self.peer(api, rpc));
        grpc.ready().await?;
        let answer = grpc.unary(self.request(message), rpc.path.clone(), AsIs).await?;
        Ok(answer.into_inner())
    }

    /// One message for a stream.
    pub(crate) async fn watch(
        &self,
        api: &Api,
        rpc: &Rpc,
        message: Bytes,
    ) -> Result<Streaming<Bytes>, Status> {
        let mut grpc = grpc(self.streaming_peer(api, rpc));
        grpc.ready().await?;
        let request = self.request(message);
        Ok(grpc.server_streaming(request, rpc.path.clone(), AsIs).await?.into_inner())
    }
}

fn grpc(peer: Peer) -> Grpc<Peer> {
    Grpc::new(peer).max_decoding_message_size(server::server::MAX_RESPONSE_BYTES)
}

/// The token of `authorization: Bearer …`; none when there are several such headers.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, second) = (values.next()?, values.next());
    let (scheme, token) = value.to_str().ok().filter(|_| second.is_none())?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// `Connect-Timeout-Ms`, else `grpc-timeout`.
fn time(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get("connect-timeout-ms") else {
        return Ok(deadline::timeout(headers));
    };
    let digits = value.to_str().ok().filter(|text| text.len() <= MAX_DIGITS);
    let is_number = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let millis = digits.filter(is_number).and_then(|text| text.parse().ok());
    let wrong = || Refusal::malformed("connect-timeout-ms", "must be a number of milliseconds");
    Ok(Some(Duration::from_millis(millis.ok_or_else(wrong)?)))
}

/// Messages as the bytes that they are.
#[derive(Debug, Clone, Copy)]
struct AsIs;

impl Codec for AsIs {
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

impl Encoder for AsIs {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for AsIs {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn either_header_gives_the_time() {
        let read = |name, value| time(&headers(name, value));
        assert_eq!(read("connect-timeout-ms", "250").unwrap(), Some(Duration::from_millis(250)));
        assert_eq!(read("grpc-timeout", "2S").unwrap(), Some(Duration::from_secs(2)));
        assert_eq!(time(&HeaderMap::new()).unwrap(), None);
        for bad in ["", "-1", "1s", "12345678901"] {
            assert!(read("connect-timeout-ms", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_header_with_one_token_or_none() {
        assert_eq!(bearer(&headers("authorization", "bearer abc")), Some("abc"));
        assert_eq!(bearer(&headers("authorization", "Basic abc")), None);
        let mut two = headers("authorization", "Bearer a");
        two.append("authorization", "Bearer b".parse().unwrap());
        assert_eq!(bearer(&two), None);
    }
}
