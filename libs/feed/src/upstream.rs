//! The log of another service, over gRPC.

use bytes::Bytes;
use contracts::feed::v1::feed_service_client::FeedServiceClient;
use contracts::feed::v1::{
    Receipt, RecordReceiptsRequest, SnapshotRequest, SnapshotResponse, SubscribeRequest,
    SubscribeResponse,
};
use tonic::Streaming;
use tower::util::{BoxCloneSyncService, ServiceExt};
use uuid::Uuid;

use crate::tail::Position;
use crate::{Error, Shards};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Request = http::Request<tonic::body::Body>;
type Service = BoxCloneSyncService<Request, http::Response<tonic::body::Body>, ChannelError>;

/// What a channel answers when it has no answer. A type of its own because a future with a boxed
/// error in it is not provably `Send` (rust-lang/rust#102211).
#[derive(Debug, thiserror::Error)]
#[error("the channel failed")]
struct ChannelError(#[source] BoxError);

/// The largest answer that is accepted; the server cuts at a quarter of it.
const MAX_MESSAGE: usize = 4 << 20;

/// A client of another service's `FeedService`, over any channel.
#[derive(Debug, Clone)]
pub struct Upstream(FeedServiceClient<Service>);

impl Upstream {
    /// Over a channel that carries an internal token: `peer.without_deadline()` of
    /// `server::client`.
    pub fn new<S, B>(channel: S) -> Self
    where
        S: tower::Service<Request, Response = http::Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError> + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let service = channel
            .map_response(|response: http::Response<B>| response.map(tonic::body::Body::new))
            .map_err(|error: S::Error| ChannelError(error.into()));
        let client = FeedServiceClient::new(BoxCloneSyncService::new(service));
        Self(client.max_decoding_message_size(MAX_MESSAGE))
    }

    pub(crate) async fn subscribe(
        &self,
        from: Position,
        shards: Shards,
    ) -> Result<Streaming<SubscribeResponse>, Error> {
        let request = SubscribeRequest {
            feed_epoch: from.epoch.map(|epoch| epoch.to_string()).unwrap_or_default(),
            after_seq: from.seq,
            shards: shards.to_message(),
        };
        Ok(self.0.clone().subscribe(request).await?.into_inner())
    }

    pub(crate) async fn snapshot(
        &self,
        shards: Shards,
    ) -> Result<Streaming<SnapshotResponse>, Error> {
        let request = SnapshotRequest { shards: shards.to_message() };
        Ok(self.0.clone().snapshot(request).await?.into_inner())
    }
}

impl Upstream {
    pub(crate) async fn record_receipts(&self, receipts: Vec<Receipt>) -> Result<(), Error> {
        self.0.clone().record_receipts(RecordReceiptsRequest { receipts }).await?;
        Ok(())
    }
}

/// Reads the epoch of an answer.
pub(crate) fn epoch(text: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(text).map_err(|_| Error::Malformed("feed_epoch"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_channel() {
        let _ = |peer: server::client::Peer| Upstream::new(peer.without_deadline());
    }
}
