//! The command line as a client of the public API: one channel, one token, any RPC of the
//! contracts by its descriptor.

use std::time::Duration;

use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, TimeoutExpired};

/// How long the client waits.
#[derive(Debug, Clone, Copy)]
struct Limits {
    connect: Duration,
    /// Until an answer begins: a stream may last as long as it likes.
    answer: Duration,
}

const LIMITS: Limits = Limits { connect: Duration::from_secs(5), answer: Duration::from_secs(30) };

/// A channel that carries a token.
#[derive(Debug, Clone)]
pub struct Client {
    address: String,
    channel: Channel,
    authorization: MetadataValue<Ascii>,
}

impl Client {
    /// Connects when first used.
    ///
    /// # Errors
    /// When the address is not a URI or the token is not ASCII.
    pub fn new(address: &str, token: &str) -> anyhow::Result<Self> {
        Self::within(LIMITS, address, token)
    }

    fn within(limits: Limits, address: &str, token: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(address.to_owned())?
            .connect_timeout(limits.connect)
            .timeout(limits.answer);
        Ok(Self {
            address: address.to_owned(),
            channel: endpoint.connect_lazy(),
            authorization: format!("Bearer {}", token.trim()).parse()?,
        })
    }

    /// Where it calls.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
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
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let path = path.parse().map_err(|_| Status::internal("the method is not a path"))?;
        let codec = DynamicCodec { output: method.output() };
        let answer = grpc.unary(request, path, codec).await.map(tonic::Response::into_inner);
        answer.map_err(|status| if is_given_up(&status) { no_answer(status) } else { status })
    }
}

/// tonic says CANCELLED when its own clock ends a call.
fn is_given_up(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<TimeoutExpired>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn no_answer(status: Status) -> Status {
    let mut unavailable = Status::unavailable(status.message());
    unavailable.set_source(std::sync::Arc::new(TimeoutExpired(())));
    unavailable
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

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;
    use tokio::net::TcpListener;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::server::health_reporter;

    use super::*;

    fn hasty() -> Limits {
        let limit = Duration::from_millis(200);
        Limits { connect: limit, answer: limit }
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        // Connections are taken by the system, and nobody ever reads them.
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", silent.local_addr().expect("an address"));
        let mut client = Client::within(hasty(), &address, "x").expect("a client");
        let pool = DescriptorPool::decode(contracts::DESCRIPTORS).expect("descriptors");
        let service = pool.get_service_by_name("rapport.profile.v1.ProfileService");
        let service = service.expect("the service");
        let method = service.methods().find(|method| method.name() == "ListTraits");
        let method = method.expect("the method");
        let message = DynamicMessage::new(method.input());
        let answer = tokio::time::timeout(Duration::from_secs(20), client.call(&method, message));
        let status = answer.await.expect("given up").expect_err("no answer");
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(std::error::Error::source(&status).is_some(), "not said by a server");
    }

    #[tokio::test]
    async fn a_stream_outlives_the_limit_of_its_first_answer() {
        let (reporter, health) = health_reporter();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server = tonic::transport::Server::builder().add_service(health);
        let serving = tokio::spawn(server.serve_with_incoming(incoming));

        let client = Client::within(hasty(), &address, "x").expect("a client");
        let request = HealthCheckRequest { service: String::new() };
        let answer = HealthClient::new(client.service()).watch(request).await;
        let mut stream = answer.expect("a stream").into_inner();
        stream.message().await.expect("open").expect("the first state");
        // The time itself is what is tried here.
        tokio::time::sleep(3 * hasty().answer).await;
        reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        stream.message().await.expect("still open").expect("the second state");
        serving.abort();
    }
}
