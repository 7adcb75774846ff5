//! One event through the whole house and back, and what must hold on the way: merge and split
//! are inverse, a watch has no gap, Redis is a cache and a bell.

use contracts::feedback::v1 as feedback;
use contracts::google::r#type::Money;
use contracts::identity::v1 as identity;
use contracts::profile::v1 as profile;
use contracts::routing::v1 as routing;
use contracts::scoring::v1 as scoring;
use prost::Message as _;
use testkit::{PrivateStack, eventually};
use tonic::Streaming;

use crate::world::{Desk, PATIENCE, World, event, identifier, identify, in_seconds, tenant, text};

const HOUSE: &str = r#"
kind: Trait
name: plan
type: string
---
kind: Scorecard
name: interest
rules:
  - {name: pricing, when: 'events["Pricing Viewed"].total >= 1', points: 60}
  - {name: gold, when: 'traits.plan == "gold"', points: 15}
thresholds: [{name: hot, value: 70}]
---
kind: ModelPolicy
name: will-buy
features: [traits.plan]
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

#[tokio::test(flavor = "multi_thread")]
async fn an_event_becomes_a_demand_an_outcome_and_a_better_next_score() {
    let world = World::start().await;
    let mut desk = world.desk(tenant());
    open(&mut desk).await;
    let mut offers = watch_offers(&mut desk).await;

    let who = identifier("email", "Ada.Byron@Example.org");
    let first = desk.ingest(identify("m1", who.clone(), &[("plan", "gold")])).await;
    recognised(&mut desk, &first).await;
    let before = score(&mut desk, &first, "will-buy").await;
    assert_eq!(before.probability, Some(0.5), "a new model knows nothing");
    let interest = score(&mut desk, &first, "interest").await;
    assert_eq!((interest.value, interest.grade.as_str()), (15.0, ""));

    let crossing = desk.ingest(event("m2", "Pricing Viewed", vec![who])).await;
    assert_eq!(crossing.customer_id, first.customer_id);
    let offer = pending(&mut offers).await;
    let demand = offer.demand.as_ref().expect("its demand");
    assert_eq!(demand.customer_id, first.customer_id);
    assert_eq!((demand.kind.as_str(), demand.priority), ("lead", 10));
    let used = demand.scores.iter().find(|used| used.scorer == "interest").expect("scored");
    assert_eq!(used.value, 75.0);
    work(&mut desk, &offer).await;

    learned(&desk, 1).await;
    let similar = desk
        .ingest(identify("m3", identifier("user_id", "someone-similar"), &[("plan", "gold")]))
        .await;
    assert_ne!(similar.customer_id, first.customer_id);
    let after = score(&mut desk, &similar, "will-buy").await;
    assert!(after.probability > before.probability, "{after:?} learned nothing");
    accounted(&mut desk, &demand.demand_id).await;
    reported(&mut desk).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn merge_then_split_restores_the_profiles_byte_for_byte() {
    let world = World::start().await;
    let mut desk = world.desk(tenant());
    open(&mut desk).await;
    let (one, other) = (identifier("user_id", "one"), identifier("user_id", "other"));
    let first = desk.ingest(identify("m1", one.clone(), &[("plan", "gold")])).await;
    let second = desk.ingest(identify("m2", other.clone(), &[("plan", "basic")])).await;
    for number in 0..4 {
        desk.ingest(order(&format!("one-{number}"), one.clone(), 100 + number)).await;
        desk.ingest(order(&format!("other-{number}"), other.clone(), 900 - number)).await;
    }
    let as_of = in_seconds(60);
    let before = [
        profile_of(&mut desk, &first.customer_id, as_of).await,
        profile_of(&mut desk, &second.customer_id, as_of).await,
    ];

    let merge = identity::MergeCustomersRequest {
        customer_id: first.customer_id.clone(),
        other_customer_id: second.customer_id.clone(),
        reason: "same person at the counter".to_owned(),
        ..Default::default()
    };
    let merged = desk.identity.merge_customers(merge).await.expect("merged").into_inner();
    assert_eq!(merged.customer_id, first.customer_id, "the older id survives");
    let whole = settled(&desk, &second.customer_id, as_of, "the merged profile", |profile| {
        profile.total_events == 10 && profile.evidence_ids.len() == 2
    })
    .await;
    assert_eq!(whole.customer_id, first.customer_id, "the other redirects");
    assert_eq!(whole.ledger.as_ref().map(|ledger| ledger.orders), Some(8));

    let split = identity::SplitCustomerRequest {
        customer_id: merged.customer_id,
        evidence_ids: vec![second.evidence_id.clone()],
        ..Default::default()
    };
    let split = desk.identity.split_customer(split).await.expect("split").into_inner();
    assert_eq!(split.split_customer_id, second.customer_id, "its former id");
    for (result, before) in [&first, &second].into_iter().zip(&before) {
        let after = settled(&desk, &result.customer_id, as_of, "the split profile", |profile| {
            profile.customer_id == result.customer_id && profile.total_events == 5
        })
        .await;
        assert!(after.version > before.version, "a version never goes back");
        let after = profile::Profile { version: before.version, ..after };
        assert_eq!(&after, before);
        assert_eq!(after.encode_to_vec(), before.encode_to_vec());
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_watch_continues_without_gap_or_repeat() {
    let world = World::start().await;
    let mut desk = world.desk(tenant());
    let request = profile::WatchProfilesRequest::default();
    let mut watch = desk.profile.watch_profiles(request).await.expect("a watch").into_inner();
    let who = |number: usize| vec![identifier("user_id", &format!("user-{number}"))];
    let first = desk.ingest(event("m0", "Seen", who(0))).await;
    let (seen, resume_token) = change(&mut watch).await;
    assert_eq!(seen, (first.customer_id, first.profile_version));
    drop(watch);

    let mut missed = Vec::new();
    for number in 1..30 {
        let result = desk.ingest(event(&format!("m{number}"), "Seen", who(number % 7))).await;
        missed.push((result.customer_id, result.profile_version));
    }
    let request = profile::WatchProfilesRequest { resume_token, ..Default::default() };
    let mut watch = desk.profile.watch_profiles(request).await.expect("resumed").into_inner();
    let mut resumed = Vec::new();
    while resumed.len() < missed.len() {
        resumed.push(change(&mut watch).await.0);
    }
    assert_eq!(resumed, missed);
    drop(watch);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_everything_still_works() {
    let stack = PrivateStack::start(false).await.expect("servers of its own");
    let world = World::start_on(&stack).await;
    let mut desk = world.desk(tenant());
    open(&mut desk).await;
    let mut offers = watch_offers(&mut desk).await;
    let mut round = async |number: u32| {
        let who = identifier("user_id", &format!("round-{number}"));
        let named = identify(&format!("a{number}"), who.clone(), &[("plan", "gold")]);
        let first = desk.ingest(named).await;
        recognised(&mut desk, &first).await;
        let second = event(&format!("b{number}"), "Pricing Viewed", vec![who]);
        let second = desk.ingest(second).await;
        let profile = profile_of(&mut desk, &second.customer_id, in_seconds(60)).await;
        assert_eq!(profile.total_events, 2, "round {number}");
        let offer = pending(&mut offers).await;
        assert_eq!(offer.demand.as_ref().expect("its demand").customer_id, first.customer_id);
        work(&mut desk, &offer).await;
        learned(&desk, i64::from(number)).await;
    };
    round(1).await;
    stack.flush_redis().await.expect("flushed");
    round(2).await;
    stack.kill_redis().await.expect("killed");
    round(3).await;
    stack.start_redis().await.expect("started");
    round(4).await;
    drop(offers);
    world.stop().await;
}

/// Saves the configuration and brings Ada online.
async fn open(desk: &mut Desk) {
    desk.apply(HOUSE).await;
    let online = routing::SetPresenceRequest {
        agent: "ada".to_owned(),
        presence: routing::Presence::Online.into(),
    };
    desk.routing.set_presence(online).await.expect("online");
}

async fn watch_offers(desk: &mut Desk) -> Streaming<routing::WatchOffersResponse> {
    let request = routing::WatchOffersRequest { agent: "ada".to_owned(), ..Default::default() };
    desk.routing.watch_offers(request).await.expect("a watch").into_inner()
}

/// The next offer that waits for an answer.
async fn pending(offers: &mut Streaming<routing::WatchOffersResponse>) -> routing::Offer {
    let next = async {
        loop {
            let answer = offers.message().await.expect("open").expect("not ended");
            if let Some(offer) = answer.offer
                && offer.state() == routing::OfferState::Pending
            {
                return offer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("an offer in time")
}

/// The next changed profile with its version, and the position after it.
async fn change(watch: &mut Streaming<profile::WatchProfilesResponse>) -> ((String, i64), String) {
    let next = async {
        loop {
            let answer = watch.message().await.expect("open").expect("not ended");
            let Some(change) = answer.change else { continue };
            let profile::watch_profiles_response::Change::Profile(change) = change else {
                panic!("nothing was merged");
            };
            return ((change.customer_id, change.version), answer.resume_token);
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("a change in time")
}

/// The customer is found by identity, and the profile shows what the event said.
async fn recognised(desk: &mut Desk, of: &profile::EventResult) {
    let key = identity::get_customer_request::Key::CustomerId(of.customer_id.clone());
    let request = identity::GetCustomerRequest { key: Some(key) };
    let customer = desk.identity.get_customer(request).await.expect("found").into_inner();
    let evidence = customer.customer.expect("a customer").evidence;
    assert!(evidence.iter().any(|evidence| evidence.evidence_id == of.evidence_id));
    let request = profile::GetProfileRequest {
        customer_id: of.customer_id.clone(),
        at_least_version: of.profile_version,
        ..Default::default()
    };
    let profile = desk.profile.get_profile(request).await.expect("a profile").into_inner();
    let profile = profile.profile.expect("a profile");
    assert_eq!(profile.traits["plan"].value, Some(text("gold")));
}

async fn score(desk: &mut Desk, of: &profile::EventResult, scorer: &str) -> scoring::Score {
    let request = scoring::ScoreCustomerRequest {
        customer_id: of.customer_id.clone(),
        scorers: vec![scorer.to_owned()],
        at_least_profile_version: of.profile_version,
        ..Default::default()
    };
    let answer = desk.scoring.score_customer(request).await.expect("scored").into_inner();
    answer.scores.into_iter().next().expect("a score")
}

/// Accept, start, close as won.
async fn work(desk: &mut Desk, offer: &routing::Offer) {
    let demand_id = offer.demand.as_ref().expect("its demand").demand_id.clone();
    let agent = offer.agent.clone();
    let accept =
        routing::AcceptOfferRequest { offer_id: offer.offer_id.clone(), agent: agent.clone() };
    desk.routing.accept_offer(accept).await.expect("accepted");
    let start = routing::StartWorkRequest { demand_id: demand_id.clone(), agent: agent.clone() };
    desk.routing.start_work(start).await.expect("started");
    let close = routing::CloseDemandRequest {
        demand_id,
        agent,
        result: routing::DemandResult::Won.into(),
        value: Some(euros(250)),
        ..Default::default()
    };
    let closed = desk.routing.close_demand(close).await.expect("closed").into_inner();
    assert_eq!(closed.demand.expect("the demand").state(), routing::DemandState::Closed);
}

/// Waits until the model has learned so many labels.
async fn learned(desk: &Desk, labels: i64) {
    eventually(PATIENCE, "the label is learned", || {
        let mut scoring = desk.scoring.clone();
        async move {
            let request = scoring::ListModelsRequest::default();
            let models = scoring.list_models(request).await.map_err(|error| error.to_string())?;
            let model = models.into_inner().models.into_iter().next().ok_or("no model")?;
            let seen = (model.labels_learned, model.positive_labels, model.labels_waiting);
            (seen == (labels, labels, 0)).then_some(()).ok_or(format!("{seen:?}"))
        }
    })
    .await;
}

/// The score that was used can be explained, and its parts add up exactly.
async fn accounted(desk: &mut Desk, demand_id: &str) {
    let request = scoring::ExplainScoreRequest {
        scorer: "interest".to_owned(),
        subject: Some(scoring::explain_score_request::Subject::UseId(demand_id.to_owned())),
        ..Default::default()
    };
    let explained = desk.scoring.explain_score(request).await.expect("explained").into_inner();
    let sum: f64 = explained.contributions.iter().map(|part| part.amount).sum();
    assert_eq!((explained.total, sum), (75.0, 75.0));
    let request = routing::ExplainDecisionRequest { demand_id: demand_id.to_owned() };
    let decisions = desk.routing.explain_decision(request).await.expect("explained").into_inner();
    let candidate = &decisions.decisions[0].candidates[0];
    let sum: f64 = candidate.parts.iter().map(|part| part.amount).sum();
    assert_eq!((candidate.agent.as_str(), candidate.rank), ("ada", sum));
}

/// Funnel and model report show the one demand.
async fn reported(desk: &mut Desk) {
    let request = feedback::GetFunnelRequest::default();
    let funnel = desk.feedback.get_funnel(request).await.expect("a funnel").into_inner();
    let stages: Vec<(&str, i64)> =
        funnel.stages.iter().map(|stage| (stage.name.as_str(), stage.reached)).collect();
    let expected = ["created", "offered", "accepted", "started", "closed", "positive"];
    assert_eq!(stages, expected.map(|stage| (stage, 1)));
    let won = feedback::OutcomeResult::Won;
    let result = funnel.results.iter().find(|result| result.result() == won).expect("won");
    assert_eq!((result.count, result.value.as_slice()), (1, [euros(250)].as_slice()));
    let request =
        feedback::GetModelReportRequest { scorer: "will-buy".to_owned(), ..Default::default() };
    let report = desk.feedback.get_model_report(request).await.expect("a report").into_inner();
    assert_eq!((report.labels, report.positives, report.waiting), (1, 1, 0));
    // Said .5 before it knew anything.
    let log_loss = report.log_loss.expect("of a model");
    assert!((log_loss - std::f64::consts::LN_2).abs() < 1e-9, "{log_loss}");
}

async fn profile_of(
    desk: &mut Desk,
    customer_id: &str,
    as_of: prost_types::Timestamp,
) -> profile::Profile {
    let request = profile::GetProfileRequest {
        customer_id: customer_id.to_owned(),
        as_of_time: Some(as_of),
        ..Default::default()
    };
    let answer = desk.profile.get_profile(request).await.expect("a profile").into_inner();
    answer.profile.expect("a profile")
}

/// The profile once it is as expected: profile follows identity by its feed.
async fn settled(
    desk: &Desk,
    customer_id: &str,
    as_of: prost_types::Timestamp,
    what: &str,
    is_expected: impl Fn(&profile::Profile) -> bool,
) -> profile::Profile {
    let is_expected = &is_expected;
    eventually(PATIENCE, what, || {
        let (mut desk, customer_id) = (desk.clone(), customer_id.to_owned());
        async move {
            let profile = profile_of(&mut desk, &customer_id, as_of).await;
            if is_expected(&profile) { Ok(profile) } else { Err(profile) }
        }
    })
    .await
}

fn order(message_id: &str, who: contracts::common::v1::Identifier, amount: i64) -> profile::Event {
    let entry = profile::LedgerEntry {
        r#type: profile::LedgerEntryType::OrderCompleted.into(),
        entry_id: message_id.to_owned(),
        amount: Some(euros(amount)),
        points: 0,
    };
    profile::Event { ledger_entry: Some(entry), ..event(message_id, "Order Completed", vec![who]) }
}

fn euros(units: i64) -> Money {
    Money { currency_code: "EUR".to_owned(), units, nanos: 0 }
}
