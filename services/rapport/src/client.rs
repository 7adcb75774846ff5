//! The command line as a client of the public API: one channel, one token, any RPC of the
//! contracts by its descriptor.

use std::time::Duration;

use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

/// A channel that carries a token.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    authorization: MetadataValue<Ascii>,
}

impl Client {
    /// Connects when first used.
    ///
    /// # Errors
    /// When the address is not a URI or the token is not ASCII.
    pub fn new(address: &str, token: &str) -> anyhow::Result<Self> {
        let channel = Channel::from_shared(address.to_owned())?.connect_lazy();
        Self::over(channel, token)
    }

    /// Over a channel that exists.
    ///
    /// # Errors
    /// When the token is not ASCII.
    pub fn over(channel: Channel, token: &str) -> anyhow::Result<Self> {
        Ok(Self { channel, authorization: format!("Bearer {}", token.trim()).parse()? })
    }

    /// The channel with the token added to every call, for the generated clients.
    #[must_use]
    pub fn service(&self) -> tonic::service::interceptor::InterceptedService<Channel, WithToken> {
        let add = WithToken(self.authorization.clone());
        tonic::service::interceptor::InterceptedService::new(self.channel.clone(), add)
    }

    /// Calls a unary RPC by its descriptor.
    ///
    /// # Errors
    /// The server's answer, or UNAVAILABLE when there is none.
    pub async fn call(
        &mut self,
        method: &MethodDescriptor,
        message: DynamicMessage,
    ) -> Result<DynamicMessage, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let path = path.parse().map_err(|_| Status::internal("the method is not a path"))?;
        let codec = DynamicCodec { output: method.output() };
        grpc.unary(request, path, codec).await.map(tonic::Response::into_inner)
    }
}

/// How often a call is made that the server could not take just now.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Repeats a call that may be repeated while the server says that it cannot take it just
/// now (UNAVAILABLE, RESOURCE_EXHAUSTED, ABORTED), with growing pauses.
///
/// # Errors
/// The last answer.
pub async fn patiently<T>(
    mut call: impl AsyncFnMut() -> Result<Response<T>, Status>,
) -> Result<T, Status> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match call().await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) if is_passing(&status) => tokio::time::sleep(pause).await,
            Err(status) => return Err(status),
        }
        pause *= 2;
    }
    call().await.map(Response::into_inner)
}

fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted | Code::Aborted)
}

/// Puts the token into the metadata of a call.
#[derive(Debug, Clone)]
pub struct WithToken(MetadataValue<Ascii>);

impl tonic::service::Interceptor for WithToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

struct DynamicCodec {
    output: MessageDescriptor,
}

struct DynamicEncoder;

struct DynamicDecoder(MessageDescriptor);

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = DynamicDecoder;

    fn encoder(&mut self) -> DynamicEncoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> DynamicDecoder {
        DynamicDecoder(self.output.clone())
    }
}

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for DynamicDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.0.clone(), buffer)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
