//! The RPCs: proto → domain, with everything that is wrong at once → use case → proto.

mod explain;
mod model;
mod parse;
mod score;
mod scorecard;
mod versions;
mod watch;

use std::sync::Arc;

use contracts::scoring::v1::scoring_service_server::ScoringService;
use contracts::scoring::v1::{
    BatchScoreRequest, BatchScoreResponse, DeleteModelPolicyRequest, DeleteModelPolicyResponse,
    DeleteScorecardRequest, DeleteScorecardResponse, ExplainScoreRequest, ExplainScoreResponse,
    GetModelPolicyRequest, GetModelPolicyResponse, GetScorecardRequest, GetScorecardResponse,
    GetScoresRequest, GetScoresResponse, ListModelsRequest, ListModelsResponse,
    ListResourceVersionsRequest, ListResourceVersionsResponse, ListScorecardsRequest,
    ListScorecardsResponse, ListScoresRequest, ListScoresResponse, ScoreCustomerRequest,
    ScoreCustomerResponse, UpsertModelPolicyRequest, UpsertModelPolicyResponse,
    UpsertScorecardRequest, UpsertScorecardResponse, WatchScoresRequest, WatchScoresResponse,
};
use server::{Call, watch::Watch};
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::error::Error;

/// The service as tonic mounts it.
pub(crate) struct Api(pub(crate) Arc<App>);

/// Runs a use case of a unary call and tells its error in the one way.
macro_rules! answer {
    ($api:expr, $request:expr, $group:ident :: $rpc:ident) => {{
        let call = Call::of(&$request)?;
        let answer = $group::$rpc(&$api.0, &call, $request.into_inner()).await;
        answer.map(Response::new).map_err(|error: Error| server::status(&error))
    }};
}

#[tonic::async_trait]
impl ScoringService for Api {
    type WatchScoresStream = Watch<WatchScoresResponse>;

    async fn score_customer(
        &self,
        request: Request<ScoreCustomerRequest>,
    ) -> Result<Response<ScoreCustomerResponse>, Status> {
        answer!(self, request, score::score_customer)
    }

    async fn batch_score(
        &self,
        request: Request<BatchScoreRequest>,
    ) -> Result<Response<BatchScoreResponse>, Status> {
        answer!(self, request, score::batch_score)
    }

    async fn list_scores(
        &self,
        request: Request<ListScoresRequest>,
    ) -> Result<Response<ListScoresResponse>, Status> {
        answer!(self, request, score::list)
    }

    async fn get_scores(
        &self,
        request: Request<GetScoresRequest>,
    ) -> Result<Response<GetScoresResponse>, Status> {
        answer!(self, request, score::get_scores)
    }

    async fn explain_score(
        &self,
        request: Request<ExplainScoreRequest>,
    ) -> Result<Response<ExplainScoreResponse>, Status> {
        answer!(self, request, explain::explain_score)
    }

    async fn watch_scores(
        &self,
        request: Request<WatchScoresRequest>,
    ) -> Result<Response<Self::WatchScoresStream>, Status> {
        answer!(self, request, watch::watch_scores)
    }

    async fn upsert_scorecard(
        &self,
        request: Request<UpsertScorecardRequest>,
    ) -> Result<Response<UpsertScorecardResponse>, Status> {
        answer!(self, request, scorecard::upsert)
    }

    async fn get_scorecard(
        &self,
        request: Request<GetScorecardRequest>,
    ) -> Result<Response<GetScorecardResponse>, Status> {
        answer!(self, request, scorecard::get)
    }

    async fn list_scorecards(
        &self,
        request: Request<ListScorecardsRequest>,
    ) -> Result<Response<ListScorecardsResponse>, Status> {
        answer!(self, request, scorecard::list)
    }

    async fn delete_scorecard(
        &self,
        request: Request<DeleteScorecardRequest>,
    ) -> Result<Response<DeleteScorecardResponse>, Status> {
        answer!(self, request, scorecard::delete)
    }

    async fn upsert_model_policy(
        &self,
        request: Request<UpsertModelPolicyRequest>,
    ) -> Result<Response<UpsertModelPolicyResponse>, Status> {
        answer!(self, request, model::upsert)
    }

    async fn get_model_policy(
        &self,
        request: Request<GetModelPolicyRequest>,
    ) -> Result<Response<GetModelPolicyResponse>, Status> {
        answer!(self, request, model::get)
    }

    async fn delete_model_policy(
        &self,
        request: Request<DeleteModelPolicyRequest>,
    ) -> Result<Response<DeleteModelPolicyResponse>, Status> {
        answer!(self, request, model::delete)
    }

    async fn list_resource_versions(
        &self,
        request: Request<ListResourceVersionsRequest>,
    ) -> Result<Response<ListResourceVersionsResponse>, Status> {
        answer!(self, request, versions::list)
    }

    async fn list_models(
        &self,
        request: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        answer!(self, request, model::list)
    }
}
