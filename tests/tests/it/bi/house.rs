//! A tenant with something in every view, and what the API says of it.

use contracts::feedback::v1 as feedback;
use contracts::google::r#type::Money;
use contracts::identity::v1 as identity;
use contracts::profile::v1 as profile;
use contracts::routing::v1 as routing;
use contracts::scoring::v1 as scoring;
use kernel::TenantId;
use serde_json::Value;
use testkit::eventually;

use super::{profile_of, rows};
use crate::world::{Desk, PATIENCE, World, event, identifier, identify, in_seconds};

const RESOURCES: &str = r#"
kind: Scorecard
name: interest
rules:
  - {name: pricing, when: 'events["Pricing Viewed"].total >= 1', points: 75}
thresholds: [{name: hot, value: 70}]
---
kind: ModelPolicy
name: will-buy
features: [orders.count]
learning: on
---
kind: Team
name: sales
---
kind: Agent
name: ada
team: sales
capacity: 3
---
kind: RoutingPolicy
name: default
triggers:
  - {scorer: interest, threshold: hot, demand_kind: lead, priority: 10}
"#;

/// Days since the last order, on both sides of every limit, and how many orders.
const BUYERS: [(i64, i64); 9] =
    [(0, 1), (29, 2), (31, 3), (61, 5), (89, 8), (91, 1), (121, 4), (181, 7), (241, 2)];

/// What was made.
pub(super) struct House {
    pub(super) name: String,
    desk: Desk,
    pub(super) buyers: Vec<profile::EventResult>,
    lead: profile::EventResult,
    demand: String,
    pub(super) merged: String,
    pub(super) erased: String,
}

/// An amount that only the tenant of this name has.
pub(super) fn amount_of(name: &str) -> i64 {
    if name == "one" { 120 } else { 777 }
}

fn euros(units: i64) -> Money {
    Money { currency_code: "EUR".to_owned(), units, nanos: 250_000_000 }
}

/// Everything that the views show, with names that begin with `name`.
pub(super) async fn furnish(world: &World, tenant: TenantId, name: &str) -> House {
    let mut desk = world.desk(tenant);
    desk.apply(RESOURCES).await;
    let online = routing::SetPresenceRequest {
        agent: "ada".to_owned(),
        presence: routing::Presence::Online.into(),
    };
    desk.routing.set_presence(online).await.expect("online");
    let buyers = buyers(&mut desk, name).await;
    let who = identifier("user_id", &format!("{name}-lead"));
    desk.ingest(identify("lead-1", who.clone(), &[("name", "Ada")])).await;
    let lead = desk.ingest(event("lead-2", "Pricing Viewed", vec![who])).await;
    let demand = worked(&mut desk, name).await;

    let guest = identifier("user_id", &format!("{name}-guest"));
    let guest = desk.ingest(event("guest", "Seen", vec![guest])).await;
    let merge = identity::MergeCustomersRequest {
        customer_id: buyers[0].customer_id.clone(),
        other_customer_id: guest.customer_id.clone(),
        ..Default::default()
    };
    desk.identity.merge_customers(merge).await.expect("merged");
    let gone = identifier("user_id", &format!("{name}-gone"));
    let gone = desk.ingest(order("gone", gone, 0, euros(1))).await;
    let erase = identity::EraseCustomerRequest {
        key: Some(identity::erase_customer_request::Key::CustomerId(gone.customer_id.clone())),
        ..Default::default()
    };
    let erased = desk.identity.erase_customer(erase).await.expect("erased").into_inner();
    let erasure_id = erased.erasure.expect("an erasure").erasure_id;
    eventually(PATIENCE, "every service has erased", || {
        let (mut identity, erasure_id) = (desk.identity.clone(), erasure_id.clone());
        async move {
            let request = identity::GetErasureRequest { erasure_id };
            let erasure = identity.get_erasure(request).await.ok()?.into_inner().erasure?;
            (erasure.receipts.len() == 5).then_some(())
        }
    })
    .await;
    let merged = guest.customer_id.clone();
    let survivor = buyers[0].customer_id.clone();
    eventually(PATIENCE, "the profiles are merged", || {
        let (mut desk, merged, survivor) = (desk.clone(), merged.clone(), survivor.clone());
        async move { profile_of(&mut desk, &merged).await.customer_id == survivor }
    })
    .await;
    House {
        name: name.to_owned(),
        desk,
        buyers,
        lead,
        demand,
        merged: guest.customer_id,
        erased: gone.customer_id,
    }
}

fn order(
    id: &str,
    who: contracts::common::v1::Identifier,
    days_ago: i64,
    amount: Money,
) -> profile::Event {
    let entry = profile::LedgerEntry {
        r#type: profile::LedgerEntryType::OrderCompleted.into(),
        entry_id: id.to_owned(),
        amount: Some(amount),
        points: 0,
    };
    profile::Event {
        ledger_entry: Some(entry),
        event_time: Some(in_seconds(-days_ago * 86_400 - 60)),
        ..event(id, "Order Completed", vec![who])
    }
}

/// Customers with orders; the last order of each is the youngest, and one came back in part.
async fn buyers(desk: &mut Desk, name: &str) -> Vec<profile::EventResult> {
    let mut buyers = Vec::new();
    for (number, (days, orders)) in BUYERS.into_iter().enumerate() {
        let who = || identifier("user_id", &format!("{name}-buyer-{number}"));
        for repeat in (0..orders).rev() {
            let id = format!("{name}-{number}-{repeat}");
            let units = if number == 0 { amount_of(name) } else { 130 * (repeat + 1) };
            let last = desk.ingest(order(&id, who(), days + repeat, euros(units))).await;
            if repeat == 0 {
                buyers.push(last);
            }
        }
    }
    let mut refund = order(
        &format!("{name}-refund"),
        identifier("user_id", &format!("{name}-buyer-2")),
        1,
        euros(40),
    );
    if let Some(entry) = &mut refund.ledger_entry {
        entry.r#type = profile::LedgerEntryType::OrderRefunded.into();
    }
    buyers[2] = desk.ingest(refund).await;
    let mut abroad = order(
        &format!("{name}-abroad"),
        identifier("user_id", &format!("{name}-buyer-4")),
        100,
        euros(9_000),
    );
    if let Some(amount) = abroad.ledger_entry.as_mut().and_then(|entry| entry.amount.as_mut()) {
        amount.currency_code = "CHF".to_owned();
    }
    buyers[4] = desk.ingest(abroad).await;
    buyers
}

/// The demand of the lead, accepted, started, won, and praised.
async fn worked(desk: &mut Desk, name: &str) -> String {
    let (demand_id, offer_id) = eventually(PATIENCE, "an offer of the demand", || {
        let mut routing = desk.routing.clone();
        async move {
            let request = routing::ListDemandsRequest::default();
            let demands = routing.list_demands(request).await.ok()?.into_inner().demands;
            let demand_id = demands.first()?.demand_id.clone();
            let request = routing::ExplainDecisionRequest { demand_id: demand_id.clone() };
            let decisions = routing.explain_decision(request).await.ok()?.into_inner().decisions;
            Some((demand_id, decisions.last()?.offer_id.clone()))
        }
    })
    .await;
    let agent = "ada".to_owned();
    let accept = routing::AcceptOfferRequest { offer_id, agent: agent.clone() };
    desk.routing.accept_offer(accept).await.expect("accepted");
    let start = routing::StartWorkRequest { demand_id: demand_id.clone(), agent: agent.clone() };
    desk.routing.start_work(start).await.expect("started");
    let close = routing::CloseDemandRequest {
        demand_id: demand_id.clone(),
        agent,
        result: routing::DemandResult::Won.into(),
        value: Some(euros(250)),
        reason: "budget of Mrs Byron".to_owned(),
        ..Default::default()
    };
    desk.routing.close_demand(close).await.expect("closed");
    eventually(PATIENCE, "feedback knows that it is closed", || {
        let mut feedback = desk.feedback.clone();
        async move {
            let request = feedback::GetFunnelRequest::default();
            let funnel = feedback.get_funnel(request).await.ok()?.into_inner();
            let closed = funnel.stages.iter().find(|stage| stage.name == "closed")?;
            (closed.reached == 1).then_some(())
        }
    })
    .await;
    let survey = feedback::RecordSurveyRequest {
        survey_id: format!("{name}-survey"),
        demand_id: demand_id.clone(),
        kind: feedback::SurveyKind::Nps.into(),
        score: 9,
        ..Default::default()
    };
    desk.feedback.record_survey(survey).await.expect("recorded");
    demand_id
}

fn money(amount: &Money) -> f64 {
    amount.units as f64 + f64::from(amount.nanos) / 1e9
}

fn number(value: &Value) -> f64 {
    value.as_str().map_or(f64::NAN, |text| text.parse().expect("a number"))
}

fn micros(time: Option<&prost_types::Timestamp>) -> Option<String> {
    let time = time?;
    let at = jiff::Timestamp::new(time.seconds, time.nanos).expect("a time");
    Some(at.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string())
}

impl House {
    /// The views compute in SQL what the service computes in Rust: here they meet.
    pub(super) async fn profiles_agree(&mut self, customers: &[Value], revenue: &[Value]) {
        let ids = self.buyers.iter().chain([&self.lead]).map(|it| it.customer_id.clone());
        let ids: Vec<String> = ids.collect();
        assert_eq!(customers.len(), ids.len(), "{customers:?}");
        for id in ids {
            let profile = profile_of(&mut self.desk, &id).await;
            let row = customers.iter().find(|row| row["customer_id"] == id.as_str());
            let row = row.unwrap_or_else(|| panic!("{id} is missing"));
            let stage = profile.life_cycle_stage().as_str_name().to_ascii_lowercase();
            let stage = stage.trim_start_matches("life_cycle_stage_").to_owned();
            assert_eq!(row["life_cycle_stage"], stage, "{row}");
            assert_eq!(row["events"], profile.total_events, "{row}");
            let (ledger, rfm) = (profile.ledger.expect("a ledger"), profile.rfm.expect("rfm"));
            let told = |name: &str| row[name].as_str().map(str::to_owned);
            assert_eq!(told("first_seen_at"), micros(profile.first_event_time.as_ref()), "{row}");
            assert_eq!(told("last_seen_at"), micros(profile.last_event_time.as_ref()), "{row}");
            assert_eq!(told("first_order_at"), micros(ledger.first_order_time.as_ref()), "{row}");
            assert_eq!(told("last_order_at"), micros(ledger.last_order_time.as_ref()), "{row}");
            assert_eq!(row["orders"], ledger.orders, "{row}");
            assert_eq!(row["recency_band"], rfm.recency_band, "{row}");
            assert_eq!(row["frequency_band"], rfm.frequency_band, "{row}");
            assert_eq!(row["monetary_band"], rfm.monetary_band, "{row}");
            let days = rfm.recency.map(|recency| recency.seconds / 86_400);
            assert_eq!(row["recency_days"].as_i64(), days, "{row}");
            if let Some(monetary) = &rfm.monetary {
                assert_eq!(row["currency"], monetary.currency_code, "{row}");
                assert_eq!(number(&row["revenue"]), money(monetary), "{row}");
            }
            let own: Vec<&Value> =
                revenue.iter().filter(|row| row["customer_id"] == id.as_str()).collect();
            assert_eq!(own.len(), ledger.revenue.len(), "{own:?}");
            for amount in &ledger.revenue {
                let row = own.iter().find(|row| row["currency"] == amount.currency_code);
                assert_eq!(number(&row.expect("the currency")["revenue"]), money(amount));
            }
        }
    }

    /// Scores as GetScores tells them.
    pub(super) async fn scores_agree(&mut self, rows: &[Value]) {
        let customer_id = self.lead.customer_id.clone();
        let request = scoring::GetScoresRequest { customer_id: customer_id.clone() };
        let scores = self.desk.scoring.get_scores(request).await.expect("scores").into_inner();
        let own = rows.iter().filter(|row| row["customer_id"] == customer_id.as_str());
        assert_eq!(own.clone().count(), scores.scores.len());
        for score in scores.scores {
            let row = own.clone().find(|row| row["scorer"] == score.scorer);
            let row = row.unwrap_or_else(|| panic!("{} is missing", score.scorer));
            assert_eq!(row["value"].as_f64(), Some(score.value), "{row}");
            assert_eq!(row["probability"].as_f64(), score.probability, "{row}");
            assert_eq!(row["grade"].as_str().unwrap_or_default(), score.grade, "{row}");
            assert_eq!(row["profile_version"], score.profile_version, "{row}");
        }
    }

    /// The one demand, in both services that know it.
    pub(super) fn demand_agrees(&self, views: &Value) {
        let demand = &rows(views, "demands")[0];
        assert_eq!(demand["demand_id"], self.demand.as_str());
        assert_eq!(demand["customer_id"], self.lead.customer_id.as_str());
        assert_eq!((&demand["state"], &demand["result"]), (&"closed".into(), &"won".into()));
        assert_eq!((number(&demand["value"]), &demand["currency"]), (250.25, &"EUR".into()));
        let outcome = &rows(views, "outcomes")[0];
        assert_eq!(outcome["demand_id"], self.demand.as_str());
        assert_eq!((number(&outcome["value"]), &outcome["positive"]), (250.25, &true.into()));
        let survey = &rows(views, "surveys")[0];
        assert_eq!((&survey["kind"], &survey["score"]), (&"nps".into(), &9.into()));
        for state in ["queued", "offered", "accepted", "in_progress", "closed"] {
            let was = rows(views, "demand_changes").iter().any(|row| row["state"] == state);
            assert!(was, "it was never {state}");
        }
        assert!(!views.to_string().contains("Byron"), "a reason may name somebody");
    }
}
