//! gRPC to use case and back. Nothing is decided here.

mod customer;
mod decide;
mod erase;
mod explain;
mod parse;
mod resolve;
mod rules;
mod versions;

use contracts::identity::v1::identity_service_server::IdentityService;
use contracts::identity::v1::{
    BatchResolveRequest, BatchResolveResponse, EraseCustomerRequest, EraseCustomerResponse,
    ExplainLinkRequest, ExplainLinkResponse, GetCustomerRequest, GetCustomerResponse,
    GetErasureRequest, GetErasureResponse, GetIdentityRulesRequest, GetIdentityRulesResponse,
    ListErasuresRequest, ListErasuresResponse, ListIdentifiersRequest, ListIdentifiersResponse,
    ListResourceVersionsRequest, ListResourceVersionsResponse, MergeCustomersRequest,
    MergeCustomersResponse, ResolveRequest, ResolveResponse, SplitCustomerRequest,
    SplitCustomerResponse, UpsertIdentityRulesRequest, UpsertIdentityRulesResponse,
};
use server::{Call, status};
use tonic::{Request, Response, Status};

use crate::Error;
use crate::app::App;

/// The public RPCs.
pub(crate) struct Api {
    app: App,
}

impl Api {
    pub(crate) fn new(app: App) -> Self {
        Self { app }
    }
}

/// What the caller is told.
fn answer<T>(result: Result<T, Error>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| status(&error))
}

#[tonic::async_trait]
impl IdentityService for Api {
    async fn resolve(
        &self,
        request: Request<ResolveRequest>,
    ) -> Result<Response<ResolveResponse>, Status> {
        let call = Call::of(&request)?;
        answer(resolve::one(&self.app, &call, request.into_inner()).await)
    }

    async fn batch_resolve(
        &self,
        request: Request<BatchResolveRequest>,
    ) -> Result<Response<BatchResolveResponse>, Status> {
        let call = Call::of(&request)?;
        answer(resolve::batch(&self.app, &call, request.into_inner()).await)
    }

    async fn get_customer(
        &self,
        request: Request<GetCustomerRequest>,
    ) -> Result<Response<GetCustomerResponse>, Status> {
        let call = Call::of(&request)?;
        answer(customer::get(&self.app, &call, request.into_inner()).await)
    }

    async fn list_identifiers(
        &self,
        request: Request<ListIdentifiersRequest>,
    ) -> Result<Response<ListIdentifiersResponse>, Status> {
        let call = Call::of(&request)?;
        answer(customer::list_identifiers(&self.app, &call, request.into_inner()).await)
    }

    async fn explain_link(
        &self,
        request: Request<ExplainLinkRequest>,
    ) -> Result<Response<ExplainLinkResponse>, Status> {
        let call = Call::of(&request)?;
        answer(explain::link(&self.app, &call, request.into_inner()).await)
    }

    async fn merge_customers(
        &self,
        request: Request<MergeCustomersRequest>,
    ) -> Result<Response<MergeCustomersResponse>, Status> {
        let call = Call::of(&request)?;
        answer(decide::merge(&self.app, &call, request.into_inner()).await)
    }

    async fn split_customer(
        &self,
        request: Request<SplitCustomerRequest>,
    ) -> Result<Response<SplitCustomerResponse>, Status> {
        let call = Call::of(&request)?;
        answer(decide::split(&self.app, &call, request.into_inner()).await)
    }

    async fn upsert_identity_rules(
        &self,
        request: Request<UpsertIdentityRulesRequest>,
    ) -> Result<Response<UpsertIdentityRulesResponse>, Status> {
        let call = Call::of(&request)?;
        answer(rules::upsert(&self.app, &call, request.into_inner()).await)
    }

    async fn list_resource_versions(
        &self,
        request: Request<ListResourceVersionsRequest>,
    ) -> Result<Response<ListResourceVersionsResponse>, Status> {
        let call = Call::of(&request)?;
        answer(versions::list(&self.app, &call, request.into_inner()).await)
    }

    async fn erase_customer(
        &self,
        request: Request<EraseCustomerRequest>,
    ) -> Result<Response<EraseCustomerResponse>, Status> {
        let call = Call::of(&request)?;
        answer(erase::erase(&self.app, &call, request.into_inner()).await)
    }

    async fn get_erasure(
        &self,
        request: Request<GetErasureRequest>,
    ) -> Result<Response<GetErasureResponse>, Status> {
        let call = Call::of(&request)?;
        answer(erase::get(&self.app, &call, &request.into_inner()).await)
    }

    async fn list_erasures(
        &self,
        request: Request<ListErasuresRequest>,
    ) -> Result<Response<ListErasuresResponse>, Status> {
        let call = Call::of(&request)?;
        answer(erase::list(&self.app, &call, &request.into_inner()).await)
    }

    async fn get_identity_rules(
        &self,
        request: Request<GetIdentityRulesRequest>,
    ) -> Result<Response<GetIdentityRulesResponse>, Status> {
        let call = Call::of(&request)?;
        answer(rules::get(&self.app, &call).await)
    }
}
