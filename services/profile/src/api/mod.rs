//! gRPC to use case and back. Nothing is decided here.

mod event;
mod ingest;
mod ledger;
mod list;
mod profile;
mod time;
mod timeline;
mod traits;
mod versions;
mod watch;

use ::store::TokenSealer;
use contracts::profile::v1 as wire;
use contracts::profile::v1::profile_service_server::ProfileService;
use futures::stream::BoxStream;
use server::{Call, Drain, status};
use tonic::{Request, Response, Status, Streaming};

use crate::Error;
use crate::app::App;

/// The public RPCs.
pub(crate) struct Api {
    app: App,
    tokens: TokenSealer,
    drain: Drain,
    stream_chunks: usize,
}

impl Api {
    pub(crate) fn new(app: App, tokens: TokenSealer, drain: Drain, stream_chunks: usize) -> Self {
        Self { app, tokens, drain, stream_chunks }
    }
}

/// What the caller is told.
fn answer<T>(result: Result<T, Error>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| status(&error))
}

#[tonic::async_trait]
impl ProfileService for Api {
    type StreamEventsStream = BoxStream<'static, Result<wire::StreamEventsResponse, Status>>;
    type WatchProfilesStream = BoxStream<'static, Result<wire::WatchProfilesResponse, Status>>;

    async fn ingest_events(
        &self,
        request: Request<wire::IngestEventsRequest>,
    ) -> Result<Response<wire::IngestEventsResponse>, Status> {
        let call = Call::of(&request)?;
        answer(ingest::batch(&self.app, &call, request.into_inner()).await)
    }

    async fn stream_events(
        &self,
        request: Request<Streaming<wire::StreamEventsRequest>>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let call = Call::of(&request)?;
        let chunks = request.into_inner();
        let answers =
            ingest::stream(self.app.clone(), &call, &self.drain, chunks, self.stream_chunks);
        Ok(Response::new(answers))
    }

    async fn get_profile(
        &self,
        request: Request<wire::GetProfileRequest>,
    ) -> Result<Response<wire::GetProfileResponse>, Status> {
        let call = Call::of(&request)?;
        answer(profile::get(&self.app.shared, &call, &request.into_inner()).await)
    }

    async fn batch_get_profiles(
        &self,
        request: Request<wire::BatchGetProfilesRequest>,
    ) -> Result<Response<wire::BatchGetProfilesResponse>, Status> {
        let call = Call::of(&request)?;
        answer(profile::batch(&self.app.shared, &call, request.into_inner()).await)
    }

    async fn list_profiles(
        &self,
        request: Request<wire::ListProfilesRequest>,
    ) -> Result<Response<wire::ListProfilesResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        answer(list::plain(&self.app.shared, &self.tokens, &call, &request).await)
    }

    async fn export_profiles(
        &self,
        request: Request<wire::ExportProfilesRequest>,
    ) -> Result<Response<wire::ExportProfilesResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        answer(list::whole(&self.app.shared, &self.tokens, &call, &request).await)
    }

    async fn get_timeline(
        &self,
        request: Request<wire::GetTimelineRequest>,
    ) -> Result<Response<wire::GetTimelineResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        answer(timeline::get(&self.app.shared, &self.tokens, &call, &request).await)
    }

    async fn watch_profiles(
        &self,
        request: Request<wire::WatchProfilesRequest>,
    ) -> Result<Response<Self::WatchProfilesStream>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        answer(watch::open(&self.app.shared, &self.tokens, &call, &self.drain, request).await)
    }

    async fn list_rejected_events(
        &self,
        request: Request<wire::ListRejectedEventsRequest>,
    ) -> Result<Response<wire::ListRejectedEventsResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        answer(timeline::rejected(&self.app.shared, &self.tokens, &call, &request).await)
    }

    async fn upsert_trait(
        &self,
        request: Request<wire::UpsertTraitRequest>,
    ) -> Result<Response<wire::UpsertTraitResponse>, Status> {
        let call = Call::of(&request)?;
        answer(traits::upsert(&self.app.shared, &call, request.into_inner()).await)
    }

    async fn get_trait(
        &self,
        request: Request<wire::GetTraitRequest>,
    ) -> Result<Response<wire::GetTraitResponse>, Status> {
        let call = Call::of(&request)?;
        answer(traits::get(&self.app.shared, &call, &request.into_inner()).await)
    }

    async fn list_traits(
        &self,
        request: Request<wire::ListTraitsRequest>,
    ) -> Result<Response<wire::ListTraitsResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        answer(traits::list(&self.app.shared, &self.tokens, &call, &request).await)
    }

    async fn list_resource_versions(
        &self,
        request: Request<wire::ListResourceVersionsRequest>,
    ) -> Result<Response<wire::ListResourceVersionsResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        answer(versions::list(&self.app.shared, &self.tokens, &call, request).await)
    }

    async fn delete_trait(
        &self,
        request: Request<wire::DeleteTraitRequest>,
    ) -> Result<Response<wire::DeleteTraitResponse>, Status> {
        let call = Call::of(&request)?;
        answer(traits::delete(&self.app.shared, &call, &request.into_inner()).await)
    }
}
