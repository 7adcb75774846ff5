//! The gRPC surface: messages to domain values with all violations at once, and back.
//! Decides nothing.

mod agent;
mod demand;
mod offer;
mod page;
mod policy;
mod read;
mod team;
mod versions;
mod watch;

use contracts::routing::v1::routing_service_server::RoutingService;
use contracts::routing::v1::*;
use tonic::{Request, Response, Status};

use crate::app::App;

/// The service on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Api(pub(crate) App);

/// The one way from an error of a use case to a status.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
pub(crate) fn status(error: crate::Error) -> Status {
    server::status(&error)
}

macro_rules! unary {
    ($($name:ident($request:ident) -> $response:ident in $group:ident;)*) => {
        #[tonic::async_trait]
        impl RoutingService for Api {
            $(async fn $name(
                &self,
                request: Request<$request>,
            ) -> Result<Response<$response>, Status> {
                let call = server::Call::of(&request)?;
                let answer = $group::$name(&self.0, &call, request.into_inner()).await;
                answer.map(Response::new).map_err(status)
            })*

            type WatchOffersStream = watch::Offers;

            async fn watch_offers(
                &self,
                request: Request<WatchOffersRequest>,
            ) -> Result<Response<Self::WatchOffersStream>, Status> {
                let call = server::Call::of(&request)?;
                let stream = watch::watch_offers(&self.0, &call, request.into_inner()).await;
                stream.map(Response::new).map_err(status)
            }
        }
    };
}

unary! {
    create_demand(CreateDemandRequest) -> CreateDemandResponse in demand;
    get_demand(GetDemandRequest) -> GetDemandResponse in demand;
    list_demands(ListDemandsRequest) -> ListDemandsResponse in demand;
    start_work(StartWorkRequest) -> StartWorkResponse in demand;
    close_demand(CloseDemandRequest) -> CloseDemandResponse in demand;
    explain_decision(ExplainDecisionRequest) -> ExplainDecisionResponse in demand;
    accept_offer(AcceptOfferRequest) -> AcceptOfferResponse in offer;
    decline_offer(DeclineOfferRequest) -> DeclineOfferResponse in offer;
    set_presence(SetPresenceRequest) -> SetPresenceResponse in agent;
    upsert_agent(UpsertAgentRequest) -> UpsertAgentResponse in agent;
    get_agent(GetAgentRequest) -> GetAgentResponse in agent;
    list_agents(ListAgentsRequest) -> ListAgentsResponse in agent;
    delete_agent(DeleteAgentRequest) -> DeleteAgentResponse in agent;
    upsert_team(UpsertTeamRequest) -> UpsertTeamResponse in team;
    get_team(GetTeamRequest) -> GetTeamResponse in team;
    list_teams(ListTeamsRequest) -> ListTeamsResponse in team;
    delete_team(DeleteTeamRequest) -> DeleteTeamResponse in team;
    upsert_policy(UpsertPolicyRequest) -> UpsertPolicyResponse in policy;
    get_policy(GetPolicyRequest) -> GetPolicyResponse in policy;
    list_policies(ListPoliciesRequest) -> ListPoliciesResponse in policy;
    delete_policy(DeletePolicyRequest) -> DeletePolicyResponse in policy;
    list_resource_versions(ListResourceVersionsRequest) -> ListResourceVersionsResponse in versions;
}
