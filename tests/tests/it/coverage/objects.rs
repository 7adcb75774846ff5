//! One object of each kind: those of a tenant, or some that nobody has.

use std::collections::HashSet;

use contracts::common::v1::Identifier;
use contracts::feedback::v1::GetFunnelRequest;
use contracts::identity::v1 as identity;
use contracts::profile::v1 as profile;
use contracts::routing::v1 as routing;
use kernel::TenantId;
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};
use testkit::eventually;
use uuid::Uuid;

use crate::world::{Desk, PATIENCE, World, event, identifier, identify};

/// What a tenant has that owns one of each.
const HOUSE: &str = "
kind: Trait
name: plan_existing
type: string
---
kind: Scorecard
name: card-existing
base_points: 10
thresholds: [{name: hot, value: 50}]
---
kind: ModelPolicy
name: model-existing
features: [orders.count]
learning: on
---
kind: Team
name: team-existing
---
kind: Agent
name: agent-existing
team: team-existing
capacity: 5
---
kind: RoutingPolicy
name: policy-existing
offer_timeout: 24h
";

/// Ids and names.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    pub(crate) customer_id: String,
    pub(crate) other_customer_id: String,
    pub(crate) evidence_id: String,
    pub(crate) demand_id: String,
    pub(crate) offer_id: String,
    pub(crate) agent: String,
    pub(crate) team: String,
    pub(crate) policy: String,
    pub(crate) trait_name: String,
    pub(crate) scorecard: String,
    pub(crate) model: String,
    pub(crate) identifier: Identifier,
    /// A page token of ListIdentifiers.
    pub(crate) identifiers_page: String,
    /// A resume token of WatchProfiles.
    pub(crate) watch_position: String,
}

impl Objects {
    /// None of these exists anywhere.
    pub(crate) fn absent() -> Self {
        Self {
            customer_id: Uuid::now_v7().to_string(),
            other_customer_id: Uuid::now_v7().to_string(),
            evidence_id: Uuid::new_v4().to_string(),
            demand_id: Uuid::now_v7().to_string(),
            offer_id: Uuid::now_v7().to_string(),
            agent: "agent-nobodys".to_owned(),
            team: "team-nobodys".to_owned(),
            policy: "policy-nobodys".to_owned(),
            trait_name: "plan_nobodys".to_owned(),
            scorecard: "card-nobodys".to_owned(),
            model: "model-nobodys".to_owned(),
            identifier: identifier("user_id", "person-nobodys"),
            identifiers_page: "page-nobodys".to_owned(),
            watch_position: "position-nobodys".to_owned(),
        }
    }

    /// Makes one of each for a tenant: two customers, one with an open offer.
    pub(crate) async fn of(world: &World, owner: TenantId) -> Self {
        let mut desk = world.desk(owner);
        desk.apply(HOUSE).await;
        let online = routing::SetPresenceRequest {
            agent: "agent-existing".to_owned(),
            presence: routing::Presence::Online.into(),
        };
        desk.routing.set_presence(online).await.expect("online");
        let mut watch = desk
            .profile
            .watch_profiles(profile::WatchProfilesRequest::default())
            .await
            .expect("a watch")
            .into_inner();
        let who = identifier("user_id", "person-existing");
        let first = desk.ingest(identify("m1", who.clone(), &[("plan_existing", "gold")])).await;
        let anonymous = identifier("anonymous_id", "existing-browser");
        desk.ingest(event("m2", "Seen", vec![who.clone(), anonymous])).await;
        let other = desk.ingest(event("m3", "Seen", vec![identifier("user_id", "other")])).await;
        let watch_position = watch.message().await.expect("open").expect("a change").resume_token;
        let demand_id = demand(&mut desk, &first).await;
        let offer_id = offer(&desk, &demand_id).await;
        let page = identity::ListIdentifiersRequest {
            customer_id: first.customer_id.clone(),
            page_size: 1,
            ..Default::default()
        };
        let page = desk.identity.list_identifiers(page).await.expect("a page").into_inner();
        assert!(!page.next_page_token.is_empty(), "two identifiers are two pages of one");
        told_to_feedback(&desk).await;
        Self {
            customer_id: first.customer_id,
            other_customer_id: other.customer_id,
            evidence_id: first.evidence_id,
            demand_id,
            offer_id,
            agent: "agent-existing".to_owned(),
            team: "team-existing".to_owned(),
            policy: "policy-existing".to_owned(),
            trait_name: "plan_existing".to_owned(),
            scorecard: "card-existing".to_owned(),
            model: "model-existing".to_owned(),
            identifier: who,
            identifiers_page: page.next_page_token,
            watch_position,
        }
    }

    /// Each value with the name it has in a described answer.
    fn names(&self) -> [(&str, &'static str); 13] {
        [
            (&self.other_customer_id, "<other customer>"),
            (&self.customer_id, "<customer>"),
            (&self.evidence_id, "<evidence>"),
            (&self.demand_id, "<demand>"),
            (&self.offer_id, "<offer>"),
            (&self.agent, "<agent>"),
            (&self.team, "<team>"),
            (&self.policy, "<policy>"),
            (&self.trait_name, "<trait>"),
            (&self.scorecard, "<scorecard>"),
            (&self.model, "<model>"),
            (&self.identifiers_page, "<page>"),
            (&self.identifier.value, "<identifier>"),
        ]
    }

    /// A text with these objects called by their kind.
    pub(crate) fn anonymous(&self, text: &str) -> String {
        self.names().iter().fold(text.to_owned(), |text, (value, name)| text.replace(value, name))
    }

    /// A message with these objects called by their kind, and without what differs from call
    /// to call: instants, tokens, fresh ids.
    pub(crate) fn describe(&self, message: &DynamicMessage) -> String {
        if message.descriptor().full_name() == "google.protobuf.Timestamp" {
            return "<time>".to_owned();
        }
        let mut fields: Vec<String> = message
            .fields()
            .map(|(field, value)| {
                let is_token = field.name().ends_with("token") || field.name() == "etag";
                let told = if is_token { "<token>".to_owned() } else { self.told(value) };
                format!("{}: {told}", field.name())
            })
            .collect();
        fields.sort();
        format!("{{{}}}", fields.join(", "))
    }

    fn told(&self, value: &Value) -> String {
        let known: HashSet<&str> = self.names().iter().map(|(value, _)| *value).collect();
        match value {
            Value::String(text) if known.contains(text.as_str()) => self.anonymous(text),
            Value::String(text) if Uuid::try_parse(text).is_ok() => "<fresh id>".to_owned(),
            Value::String(text) => self.anonymous(text),
            Value::Message(message) => self.describe(message),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| self.told(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Map(entries) => {
                let mut entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{key:?}: {}", self.told(value)))
                    .collect();
                entries.sort();
                self.anonymous(&entries.join(", "))
            }
            other => format!("{other:?}"),
        }
    }
}

async fn demand(desk: &mut Desk, of: &profile::EventResult) -> String {
    let request = routing::CreateDemandRequest {
        customer_id: of.customer_id.clone(),
        kind: "lead".to_owned(),
        policy: "policy-existing".to_owned(),
        at_least_profile_version: of.profile_version,
        ..Default::default()
    };
    let created = desk.routing.create_demand(request).await.expect("created").into_inner();
    created.demand.expect("a demand").demand_id
}

async fn offer(desk: &Desk, demand_id: &str) -> String {
    eventually(PATIENCE, "an offer of the demand", || {
        let (mut routing, demand_id) = (desk.routing.clone(), demand_id.to_owned());
        async move {
            let request = routing::ExplainDecisionRequest { demand_id };
            let decisions = routing.explain_decision(request).await.ok()?.into_inner().decisions;
            decisions.last().map(|decision| decision.offer_id.clone())
        }
    })
    .await
}

/// Waits until feedback knows of the offer: what is read before and after is the same then.
async fn told_to_feedback(desk: &Desk) {
    eventually(PATIENCE, "feedback knows of the offer", || {
        let mut feedback = desk.feedback.clone();
        async move {
            let funnel = feedback.get_funnel(GetFunnelRequest::default()).await.ok()?.into_inner();
            let offered = funnel.stages.iter().find(|stage| stage.name == "offered")?;
            (offered.reached == 1).then_some(())
        }
    })
    .await;
}
