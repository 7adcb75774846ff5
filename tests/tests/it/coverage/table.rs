//! One valid request per public RPC, built from given objects, and what a tenant without
//! those objects is to be answered.

use contracts::feedback::v1 as feedback;
use contracts::identity::v1 as identity;
use contracts::profile::v1 as profile;
use contracts::routing::v1 as routing;
use contracts::scoring::v1 as scoring;
use prost::Message as _;
use tonic::Code::{self, InvalidArgument, NotFound, Ok};

use super::objects::Objects;
use crate::world::{event, identifier};

/// How one RPC is tried.
pub(crate) struct Entry {
    /// `package.Service/Method`.
    pub(crate) method: &'static str,
    /// What a tenant that does not have the objects is answered.
    pub(crate) stranger: Code,
    /// The request about these objects.
    pub(crate) request: fn(&Objects) -> Vec<u8>,
}

macro_rules! table {
    ($($method:literal => $stranger:ident, |$objects:pat_param| $request:expr;)*) => {
        /// Every public RPC; `coverage` fails when one is missing.
        pub(crate) const TABLE: &[Entry] = &[$(Entry {
            method: $method,
            stranger: $stranger,
            request: |$objects| $request.encode_to_vec(),
        }),*];
    };
}

table! {
    // -- identity --
    "rapport.identity.v1.IdentityService/Resolve" => Ok, |it| identity::ResolveRequest {
        identifiers: vec![it.identifier.clone()],
        event_time: None,
    };
    "rapport.identity.v1.IdentityService/BatchResolve" => Ok, |it| identity::BatchResolveRequest {
        requests: vec![identity::ResolveRequest {
            identifiers: vec![it.identifier.clone()],
            event_time: None,
        }],
    };
    "rapport.identity.v1.IdentityService/GetCustomer" => NotFound, |it| {
        identity::GetCustomerRequest {
            key: Some(identity::get_customer_request::Key::CustomerId(it.customer_id.clone())),
        }
    };
    "rapport.identity.v1.IdentityService/ListIdentifiers" => NotFound, |it| {
        identity::ListIdentifiersRequest {
            customer_id: it.customer_id.clone(),
            ..Default::default()
        }
    };
    "rapport.identity.v1.IdentityService/ExplainLink" => NotFound, |it| {
        identity::ExplainLinkRequest {
            left_id: it.evidence_id.clone(),
            right_id: it.other_customer_id.clone(),
        }
    };
    "rapport.identity.v1.IdentityService/MergeCustomers" => NotFound, |it| {
        identity::MergeCustomersRequest {
            customer_id: it.customer_id.clone(),
            other_customer_id: it.other_customer_id.clone(),
            ..Default::default()
        }
    };
    "rapport.identity.v1.IdentityService/SplitCustomer" => NotFound, |it| {
        identity::SplitCustomerRequest {
            customer_id: it.customer_id.clone(),
            evidence_ids: vec![it.evidence_id.clone()],
            ..Default::default()
        }
    };
    "rapport.identity.v1.IdentityService/UpsertIdentityRules" => Ok, |it| {
        identity::UpsertIdentityRulesRequest {
            rules: Some(identity::IdentityRules {
                blocked: vec![it.identifier.clone()],
                ..Default::default()
            }),
            ..Default::default()
        }
    };
    "rapport.identity.v1.IdentityService/GetIdentityRules" => Ok, |_| {
        identity::GetIdentityRulesRequest::default()
    };
    "rapport.identity.v1.IdentityService/EraseCustomer" => NotFound, |it| {
        identity::EraseCustomerRequest {
            key: Some(identity::erase_customer_request::Key::CustomerId(it.customer_id.clone())),
            ..Default::default()
        }
    };
    "rapport.identity.v1.IdentityService/GetErasure" => NotFound, |it| {
        identity::GetErasureRequest { erasure_id: it.evidence_id.clone() }
    };
    "rapport.identity.v1.IdentityService/ListErasures" => Ok, |_| {
        identity::ListErasuresRequest::default()
    };
    "rapport.identity.v1.IdentityService/ListResourceVersions" => Ok, |_| {
        identity::ListResourceVersionsRequest::default()
    };

    // -- profile --
    "rapport.profile.v1.ProfileService/ListResourceVersions" => Ok, |it| {
        profile::ListResourceVersionsRequest { name: it.team.clone(), ..Default::default() }
    };
    "rapport.profile.v1.ProfileService/IngestEvents" => Ok, |it| profile::IngestEventsRequest {
        events: vec![event("coverage-1", "Seen", vec![it.identifier.clone()])],
    };
    "rapport.profile.v1.ProfileService/StreamEvents" => Ok, |it| profile::StreamEventsRequest {
        chunk_id: 1,
        events: vec![event("coverage-2", "Seen", vec![it.identifier.clone()])],
    };
    "rapport.profile.v1.ProfileService/GetProfile" => NotFound, |it| profile::GetProfileRequest {
        customer_id: it.customer_id.clone(),
        ..Default::default()
    };
    "rapport.profile.v1.ProfileService/BatchGetProfiles" => Ok, |it| {
        profile::BatchGetProfilesRequest {
            customer_ids: vec![it.customer_id.clone(), it.other_customer_id.clone()],
            ..Default::default()
        }
    };
    "rapport.profile.v1.ProfileService/GetTimeline" => NotFound, |it| {
        profile::GetTimelineRequest { customer_id: it.customer_id.clone(), ..Default::default() }
    };
    "rapport.profile.v1.ProfileService/WatchProfiles" => Ok, |it| {
        profile::WatchProfilesRequest {
            customer_ids: vec![it.customer_id.clone()],
            ..Default::default()
        }
    };
    "rapport.profile.v1.ProfileService/ListRejectedEvents" => Ok, |_| {
        profile::ListRejectedEventsRequest::default()
    };
    "rapport.profile.v1.ProfileService/UpsertTrait" => Ok, |it| profile::UpsertTraitRequest {
        r#trait: Some(profile::TraitDefinition {
            name: it.trait_name.clone(),
            r#type: profile::TraitType::Number.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    "rapport.profile.v1.ProfileService/GetTrait" => NotFound, |it| {
        profile::GetTraitRequest { name: it.trait_name.clone() }
    };
    "rapport.profile.v1.ProfileService/ListProfiles" => Ok, |_| {
        profile::ListProfilesRequest::default()
    };
    "rapport.profile.v1.ProfileService/ExportProfiles" => Ok, |_| {
        profile::ExportProfilesRequest::default()
    };
    "rapport.profile.v1.ProfileService/ListTraits" => Ok, |_| {
        profile::ListTraitsRequest::default()
    };
    "rapport.profile.v1.ProfileService/DeleteTrait" => Ok, |it| {
        profile::DeleteTraitRequest { name: it.trait_name.clone(), ..Default::default() }
    };

    // -- scoring --
    "rapport.scoring.v1.ScoringService/ListResourceVersions" => Ok, |it| {
        scoring::ListResourceVersionsRequest { name: it.team.clone(), ..Default::default() }
    };
    "rapport.scoring.v1.ScoringService/ListScores" => Ok, |_| {
        scoring::ListScoresRequest::default()
    };
    "rapport.scoring.v1.ScoringService/ScoreCustomer" => NotFound, |it| {
        scoring::ScoreCustomerRequest {
            customer_id: it.customer_id.clone(),
            ..Default::default()
        }
    };
    "rapport.scoring.v1.ScoringService/BatchScore" => Ok, |it| scoring::BatchScoreRequest {
        customer_ids: vec![it.customer_id.clone(), it.other_customer_id.clone()],
        ..Default::default()
    };
    "rapport.scoring.v1.ScoringService/GetScores" => NotFound, |it| {
        scoring::GetScoresRequest { customer_id: it.customer_id.clone() }
    };
    "rapport.scoring.v1.ScoringService/ExplainScore" => NotFound, |it| {
        scoring::ExplainScoreRequest {
            scorer: it.scorecard.clone(),
            subject: Some(scoring::explain_score_request::Subject::UseId(it.demand_id.clone())),
            ..Default::default()
        }
    };
    "rapport.scoring.v1.ScoringService/WatchScores" => Ok, |it| scoring::WatchScoresRequest {
        customer_ids: vec![it.customer_id.clone()],
        ..Default::default()
    };
    "rapport.scoring.v1.ScoringService/UpsertScorecard" => Ok, |it| {
        scoring::UpsertScorecardRequest {
            scorecard: Some(scoring::Scorecard {
                name: it.scorecard.clone(),
                base_points: 1.0,
                ..Default::default()
            }),
            ..Default::default()
        }
    };
    "rapport.scoring.v1.ScoringService/GetScorecard" => NotFound, |it| {
        scoring::GetScorecardRequest { name: it.scorecard.clone() }
    };
    "rapport.scoring.v1.ScoringService/ListScorecards" => Ok, |_| {
        scoring::ListScorecardsRequest::default()
    };
    "rapport.scoring.v1.ScoringService/DeleteScorecard" => Ok, |it| {
        scoring::DeleteScorecardRequest { name: it.scorecard.clone(), ..Default::default() }
    };
    "rapport.scoring.v1.ScoringService/UpsertModelPolicy" => Ok, |it| {
        scoring::UpsertModelPolicyRequest {
            policy: Some(scoring::ModelPolicy {
                name: it.model.clone(),
                features: vec!["orders.count".to_owned()],
                learning: scoring::LearningMode::On.into(),
                ..Default::default()
            }),
            ..Default::default()
        }
    };
    "rapport.scoring.v1.ScoringService/GetModelPolicy" => NotFound, |it| {
        scoring::GetModelPolicyRequest { name: it.model.clone() }
    };
    "rapport.scoring.v1.ScoringService/DeleteModelPolicy" => Ok, |it| {
        scoring::DeleteModelPolicyRequest { name: it.model.clone(), ..Default::default() }
    };
    "rapport.scoring.v1.ScoringService/ListModels" => Ok, |_| {
        scoring::ListModelsRequest::default()
    };

    // -- routing --
    "rapport.routing.v1.RoutingService/ListResourceVersions" => Ok, |it| {
        routing::ListResourceVersionsRequest { name: it.team.clone(), ..Default::default() }
    };
    "rapport.routing.v1.RoutingService/CreateDemand" => InvalidArgument, |it| {
        routing::CreateDemandRequest {
            customer_id: it.customer_id.clone(),
            kind: "lead".to_owned(),
            policy: it.policy.clone(),
            ..Default::default()
        }
    };
    "rapport.routing.v1.RoutingService/GetDemand" => NotFound, |it| {
        routing::GetDemandRequest { demand_id: it.demand_id.clone() }
    };
    "rapport.routing.v1.RoutingService/ListDemands" => Ok, |it| routing::ListDemandsRequest {
        customer_id: it.customer_id.clone(),
        agent: it.agent.clone(),
        ..Default::default()
    };
    "rapport.routing.v1.RoutingService/AcceptOffer" => NotFound, |it| {
        routing::AcceptOfferRequest { offer_id: it.offer_id.clone(), agent: it.agent.clone() }
    };
    "rapport.routing.v1.RoutingService/DeclineOffer" => NotFound, |it| {
        routing::DeclineOfferRequest {
            offer_id: it.offer_id.clone(),
            agent: it.agent.clone(),
            reason: "busy".to_owned(),
        }
    };
    "rapport.routing.v1.RoutingService/StartWork" => NotFound, |it| routing::StartWorkRequest {
        demand_id: it.demand_id.clone(),
        agent: it.agent.clone(),
    };
    "rapport.routing.v1.RoutingService/CloseDemand" => NotFound, |it| {
        routing::CloseDemandRequest {
            demand_id: it.demand_id.clone(),
            agent: it.agent.clone(),
            result: routing::DemandResult::Won.into(),
            ..Default::default()
        }
    };
    "rapport.routing.v1.RoutingService/ExplainDecision" => NotFound, |it| {
        routing::ExplainDecisionRequest { demand_id: it.demand_id.clone() }
    };
    "rapport.routing.v1.RoutingService/WatchOffers" => Ok, |it| {
        routing::WatchOffersRequest { agent: it.agent.clone(), ..Default::default() }
    };
    "rapport.routing.v1.RoutingService/SetPresence" => NotFound, |it| {
        routing::SetPresenceRequest {
            agent: it.agent.clone(),
            presence: routing::Presence::Offline.into(),
        }
    };
    "rapport.routing.v1.RoutingService/UpsertTeam" => Ok, |it| routing::UpsertTeamRequest {
        team: Some(routing::Team { name: it.team.clone(), ..Default::default() }),
        ..Default::default()
    };
    "rapport.routing.v1.RoutingService/GetTeam" => NotFound, |it| {
        routing::GetTeamRequest { name: it.team.clone() }
    };
    "rapport.routing.v1.RoutingService/ListTeams" => Ok, |_| routing::ListTeamsRequest::default();
    "rapport.routing.v1.RoutingService/DeleteTeam" => Ok, |it| {
        routing::DeleteTeamRequest { name: it.team.clone(), ..Default::default() }
    };
    "rapport.routing.v1.RoutingService/UpsertAgent" => InvalidArgument, |it| {
        routing::UpsertAgentRequest {
            agent: Some(routing::Agent {
                name: it.agent.clone(),
                team: it.team.clone(),
                capacity: 1,
                ..Default::default()
            }),
            ..Default::default()
        }
    };
    "rapport.routing.v1.RoutingService/GetAgent" => NotFound, |it| {
        routing::GetAgentRequest { name: it.agent.clone() }
    };
    "rapport.routing.v1.RoutingService/ListAgents" => Ok, |it| {
        routing::ListAgentsRequest { team: it.team.clone(), ..Default::default() }
    };
    "rapport.routing.v1.RoutingService/DeleteAgent" => Ok, |it| {
        routing::DeleteAgentRequest { name: it.agent.clone(), ..Default::default() }
    };
    "rapport.routing.v1.RoutingService/UpsertPolicy" => Ok, |it| routing::UpsertPolicyRequest {
        policy: Some(routing::RoutingPolicy { name: it.policy.clone(), ..Default::default() }),
        ..Default::default()
    };
    "rapport.routing.v1.RoutingService/GetPolicy" => NotFound, |it| {
        routing::GetPolicyRequest { name: it.policy.clone() }
    };
    "rapport.routing.v1.RoutingService/ListPolicies" => Ok, |_| {
        routing::ListPoliciesRequest::default()
    };
    "rapport.routing.v1.RoutingService/DeletePolicy" => Ok, |it| {
        routing::DeletePolicyRequest { name: it.policy.clone(), ..Default::default() }
    };

    // -- feedback --
    "rapport.feedback.v1.FeedbackService/RecordOutcome" => NotFound, |it| {
        feedback::RecordOutcomeRequest {
            demand_id: it.demand_id.clone(),
            result: feedback::OutcomeResult::Won.into(),
            ..Default::default()
        }
    };
    "rapport.feedback.v1.FeedbackService/RecordSurvey" => NotFound, |it| {
        feedback::RecordSurveyRequest {
            survey_id: "coverage".to_owned(),
            demand_id: it.demand_id.clone(),
            kind: feedback::SurveyKind::Csat.into(),
            score: 5,
            ..Default::default()
        }
    };
    "rapport.feedback.v1.FeedbackService/ListOutcomes" => Ok, |_| {
        feedback::ListOutcomesRequest::default()
    };
    "rapport.feedback.v1.FeedbackService/GetFunnel" => Ok, |it| feedback::GetFunnelRequest {
        team: it.team.clone(),
        ..Default::default()
    };
    "rapport.feedback.v1.FeedbackService/GetModelReport" => Ok, |it| {
        feedback::GetModelReportRequest { scorer: it.model.clone(), ..Default::default() }
    };
}

/// Further calls about objects of a tenant, by another key than in [`TABLE`].
pub(crate) const BESIDES: &[Entry] = &[
    Entry {
        method: "rapport.identity.v1.IdentityService/GetCustomer",
        stranger: NotFound,
        request: |it| {
            let key = identity::get_customer_request::Key::Identifier(it.identifier.clone());
            identity::GetCustomerRequest { key: Some(key) }.encode_to_vec()
        },
    },
    Entry {
        method: "rapport.identity.v1.IdentityService/ListIdentifiers",
        stranger: InvalidArgument,
        request: |it| {
            let request = identity::ListIdentifiersRequest {
                customer_id: it.customer_id.clone(),
                page_size: 1,
                page_token: it.identifiers_page.clone(),
            };
            request.encode_to_vec()
        },
    },
    Entry {
        method: "rapport.profile.v1.ProfileService/WatchProfiles",
        stranger: InvalidArgument,
        request: |it| {
            let resume_token = it.watch_position.clone();
            profile::WatchProfilesRequest { resume_token, ..Default::default() }.encode_to_vec()
        },
    },
    Entry {
        method: "rapport.scoring.v1.ScoringService/ExplainScore",
        stranger: NotFound,
        request: |it| {
            let customer = it.customer_id.clone();
            let request = scoring::ExplainScoreRequest {
                scorer: it.model.clone(),
                subject: Some(scoring::explain_score_request::Subject::CustomerId(customer)),
                ..Default::default()
            };
            request.encode_to_vec()
        },
    },
    Entry {
        method: "rapport.profile.v1.ProfileService/IngestEvents",
        stranger: Ok,
        request: |it| {
            // The identifiers of two customers of one tenant must not join them in another's.
            let both = vec![it.identifier.clone(), identifier("user_id", &it.customer_id)];
            let events = vec![event("coverage-3", "Seen", both)];
            profile::IngestEventsRequest { events }.encode_to_vec()
        },
    },
];
