//! What is configured before anything is measured: a trait, a scorecard, agents with room for
//! everything, a policy that lets them think for a day.

use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use contracts::profile::v1::{TraitDefinition, TraitType, UpsertTraitRequest};
use contracts::routing::v1::routing_service_client::RoutingServiceClient;
use contracts::routing::v1::{
    Agent, Presence, RankWeights, RoutingPolicy, SetPresenceRequest, Team, UpsertAgentRequest,
    UpsertPolicyRequest, UpsertTeamRequest,
};
use contracts::scoring::v1::scoring_service_client::ScoringServiceClient;
use contracts::scoring::v1::{ScoreRule, Scorecard, Threshold, UpsertScorecardRequest};

use super::load::INTEREST;
use super::process::Connection;

const AGENTS: usize = 20;
const CAPACITY: i32 = 1_000;

/// Saves all of it.
pub(crate) async fn apply(connection: &Connection) -> anyhow::Result<()> {
    let plan = TraitDefinition {
        name: "plan".to_owned(),
        r#type: TraitType::String.into(),
        ..TraitDefinition::default()
    };
    ProfileServiceClient::new(connection.clone())
        .upsert_trait(UpsertTraitRequest { r#trait: Some(plan), ..Default::default() })
        .await?;
    let request = UpsertScorecardRequest {
        scorecard: Some(scorecard()),
        ..UpsertScorecardRequest::default()
    };
    ScoringServiceClient::new(connection.clone()).upsert_scorecard(request).await?;
    routing(RoutingServiceClient::new(connection.clone())).await
}

/// Each rule reads something else, so that all of a profile counts.
fn scorecard() -> Scorecard {
    let rule = |name: &str, when: String, points: f64| ScoreRule {
        name: name.to_owned(),
        when,
        points,
        ..ScoreRule::default()
    };
    Scorecard {
        name: "interest".to_owned(),
        base_points: 5.0,
        rules: vec![
            rule("asked", format!("events[\"{INTEREST}\"].total > 0"), 40.0),
            rule("prices", "events[\"Pricing Viewed\"].last_30_days > 2".to_owned(), 10.0),
            rule("buys", "orders.count > 1".to_owned(), 15.0),
            rule("gold", "traits.plan == \"gold\"".to_owned(), 10.0),
        ],
        thresholds: vec![Threshold { name: "hot".to_owned(), value: 40.0 }],
        ..Scorecard::default()
    }
}

async fn routing(mut routing: RoutingServiceClient<Connection>) -> anyhow::Result<()> {
    let team = Team { name: "desk".to_owned(), display_name: "Desk".to_owned(), ..Team::default() };
    routing
        .upsert_team(UpsertTeamRequest { team: Some(team), ..UpsertTeamRequest::default() })
        .await?;
    let policy = RoutingPolicy {
        name: "default".to_owned(),
        weights: Some(RankWeights { spare_capacity: 1.0, ..RankWeights::default() }),
        offer_timeout: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
        ..RoutingPolicy::default()
    };
    routing
        .upsert_policy(UpsertPolicyRequest { policy: Some(policy), ..Default::default() })
        .await?;
    for number in 0..AGENTS {
        let name = format!("agent-{number}");
        let agent = Agent {
            name: name.clone(),
            team: "desk".to_owned(),
            capacity: CAPACITY,
            ..Agent::default()
        };
        routing
            .upsert_agent(UpsertAgentRequest { agent: Some(agent), ..Default::default() })
            .await?;
        let online = SetPresenceRequest { agent: name, presence: Presence::Online.into() };
        routing.set_presence(online).await?;
    }
    Ok(())
}
