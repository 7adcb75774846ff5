//! From creation to the close, as one caller sees it.

use contracts::google::r#type::Money;
use contracts::routing::v1::*;
use tonic::Code;
use uuid::Uuid;

use crate::world::{World, demand, fields, reason};

#[tokio::test(flavor = "multi_thread")]
async fn a_demand_is_offered_taken_worked_on_and_closed() {
    let world = World::new().await;
    let mut client = world.tenant();
    client.team().await;
    client.agent("ann", 1, &[("lang-de", 4)]).await;
    client.online("ann").await;
    let wanted = CreateDemandRequest { required_skills: vec!["lang-de".to_owned()], ..demand() };
    let created = client.create(wanted).await;
    assert_eq!(created.state(), DemandState::Queued);
    assert!(created.next_action_time.is_some());
    let id = created.demand_id.clone();

    let offered = client.until(&id, DemandState::Offered).await;
    assert_eq!((offered.agent.as_str(), offered.team.as_str()), ("ann", "north"));
    let offer = client.last_offer(&id).await;
    let accepted = client.accept(&offer, "ann").await.unwrap();
    assert_eq!(accepted.state(), DemandState::Accepted);
    let again = client.accept(&offer, "ann").await.unwrap();
    assert_eq!(again.version, accepted.version, "a repeat changes nothing");
    let wrong = client.start(&id, "bob").await.unwrap_err();
    assert_eq!((wrong.code(), reason(&wrong).as_str()), (Code::FailedPrecondition, "WRONG_STATE"));
    assert_eq!(client.start(&id, "ann").await.unwrap().state(), DemandState::InProgress);

    let close = CloseDemandRequest {
        demand_id: id.clone(),
        agent: "ann".to_owned(),
        result: DemandResult::Won.into(),
        value: Some(Money { currency_code: "EUR".to_owned(), units: 40, nanos: 0 }),
        reason: "signed".to_owned(),
        event_time: Some(prost_types::Timestamp { seconds: 1_250_000_000, nanos: 0 }),
    };
    let closed = client.rpc.close_demand(close.clone()).await.unwrap().into_inner().demand.unwrap();
    assert_eq!(closed.result(), DemandResult::Won);
    assert!(closed.next_action_time.is_none());
    assert!(client.rpc.close_demand(close).await.is_ok(), "a repeat succeeds");
    let other = client.close(&id, "ann", DemandResult::Lost).await.unwrap_err();
    assert_eq!(reason(&other), "WRONG_STATE");

    let read = client.get(&id).await;
    assert_eq!(read.demand.unwrap(), closed);
    let causes: Vec<_> = read.history.iter().map(|t| t.cause.as_str()).collect();
    assert_eq!(causes, ["created", "offered", "accepted", "started", "closed"]);
    assert_eq!(read.history[4].event_time.unwrap().seconds, 1_250_000_000);
    let agent = client.rpc.get_agent(GetAgentRequest { name: "ann".to_owned() }).await.unwrap();
    assert_eq!(agent.into_inner().agent.unwrap().load, 0);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_demand_goes_to_somebody_else() {
    let world = World::new().await;
    let mut client = world.tenant();
    client.team().await;
    for name in ["ann", "bob"] {
        client.agent(name, 1, &[]).await;
        client.online(name).await;
    }
    let id = client.create(demand()).await.demand_id;
    let first = client.until(&id, DemandState::Offered).await;
    assert_eq!(first.agent, "ann", "equals go by name");
    let offer = client.last_offer(&id).await;
    let foreign = client.decline(&offer, "bob").await.unwrap_err();
    assert_eq!(foreign.code(), Code::NotFound);
    client.decline(&offer, "ann").await.unwrap();
    let second = testkit::eventually(crate::world::LIMIT, "another agent", async || {
        let demand = client.clone().get(&id).await.demand.unwrap();
        (demand.agent == "bob").then_some(demand)
    })
    .await;
    assert_eq!(second.state(), DemandState::Offered);
    assert!(client.decline(&offer, "ann").await.is_ok(), "a repeated decline succeeds");
    let gone = client.accept(&offer, "ann").await.unwrap_err();
    assert_eq!((gone.code(), reason(&gone).as_str()), (Code::FailedPrecondition, "OFFER_GONE"));
    let decision = client.decisions(&id).await.pop().unwrap();
    let ann = decision.candidates.iter().find(|c| c.agent == "ann").unwrap();
    assert_eq!((ann.excluded_by.as_str(), ann.rank), ("declined_before", 0.0));
    let bob = &decision.candidates[0];
    let sum = bob.parts.iter().fold(0.0, |sum, part| sum + part.amount);
    assert_eq!(sum.to_bits(), bob.rank.to_bits());

    // Now everybody has declined: after a pause the first one is asked again.
    let offer = client.last_offer(&id).await;
    client.decline(&offer, "bob").await.unwrap();
    client.until(&id, DemandState::Offered).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_makes_a_repeat_harmless() {
    let world = World::new().await;
    let mut client = world.tenant();
    let wanted = CreateDemandRequest { request_id: Uuid::new_v4().to_string(), ..demand() };
    let mut second = client.clone();
    let (one, other) =
        tokio::join!(client.try_create(wanted.clone()), second.try_create(wanted.clone()));
    assert_eq!(one.unwrap().demand_id, other.unwrap().demand_id);
    assert_eq!(world.count("select count(*) from demand").await, 1);
    let reused = CreateDemandRequest { priority: 7, ..wanted };
    let error = client.try_create(reused).await.unwrap_err();
    assert_eq!(
        (error.code(), reason(&error).as_str()),
        (Code::InvalidArgument, "REQUEST_ID_REUSED")
    );
    assert_eq!(fields(&error), ["request_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scoring_a_demand_is_created_unscored_and_asked_for_again() {
    let world = World::new().await;
    let mut client = world.tenant();
    let id = client.create(demand()).await.demand_id;
    assert!(client.get(&id).await.demand.unwrap().scores.is_empty());
    let due = "select count(*) from demand where score_due_us is not null";
    assert_eq!(world.count(due).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_wrong_is_told_at_once() {
    let world = World::new().await;
    let mut client = world.tenant();
    let error = client
        .try_create(CreateDemandRequest {
            customer_id: "somebody".to_owned(),
            kind: "A Lead".to_owned(),
            required_skills: vec!["ok".to_owned(), String::new()],
            priority: 101,
            event_time: Some(prost_types::Timestamp { seconds: 4_102_444_800, nanos: 0 }),
            at_least_profile_version: -1,
            request_id: "1".to_owned(),
            ..Default::default()
        })
        .await
        .unwrap_err();
    let mut told = fields(&error);
    told.sort();
    let expected = [
        "at_least_profile_version",
        "customer_id",
        "event_time",
        "kind",
        "priority",
        "request_id",
        "required_skills[1]",
    ];
    assert_eq!(told, expected);
    let unknown = CreateDemandRequest { policy: "none".to_owned(), ..demand() };
    assert_eq!(fields(&client.try_create(unknown).await.unwrap_err()), ["policy"]);
    let value = CloseDemandRequest {
        demand_id: Uuid::new_v4().to_string(),
        agent: "ann".to_owned(),
        result: DemandResult::Lost.into(),
        value: Some(Money { currency_code: "euro".to_owned(), units: -1, nanos: 0 }),
        ..Default::default()
    };
    let error = client.rpc.close_demand(value).await.unwrap_err();
    assert_eq!(fields(&error), ["value", "value.currency_code", "value"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_demands_do_not_exist() {
    let world = World::new().await;
    let mut owner = world.tenant();
    owner.team().await;
    owner.agent("ann", 1, &[]).await;
    owner.online("ann").await;
    let id = owner.create(demand()).await.demand_id;
    owner.until(&id, DemandState::Offered).await;
    let offer = owner.last_offer(&id).await;

    let mut stranger = world.tenant();
    stranger.team().await;
    stranger.agent("ann", 1, &[]).await;
    let absent = Uuid::new_v4().to_string();
    for (theirs, none) in [
        (stranger.accept(&offer, "ann").await, stranger.accept(&absent, "ann").await),
        (stranger.start(&id, "ann").await, stranger.start(&absent, "ann").await),
        (
            stranger.close(&id, "ann", DemandResult::Lost).await,
            stranger.close(&absent, "ann", DemandResult::Lost).await,
        ),
    ] {
        let (theirs, none) = (theirs.unwrap_err(), none.unwrap_err());
        assert_eq!(theirs.code(), Code::NotFound);
        assert_eq!(theirs.message(), none.message());
    }
    let request = GetDemandRequest { demand_id: id.clone() };
    assert_eq!(stranger.rpc.get_demand(request).await.unwrap_err().code(), Code::NotFound);
    let request = ExplainDecisionRequest { demand_id: id.clone() };
    assert_eq!(stranger.rpc.explain_decision(request).await.unwrap_err().code(), Code::NotFound);
    let listed = stranger.rpc.list_demands(ListDemandsRequest::default()).await.unwrap();
    assert!(listed.into_inner().demands.is_empty());
    assert_eq!(owner.get(&id).await.demand.unwrap().state(), DemandState::Offered);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_newest_first_in_pages_that_fit_together() {
    let world = World::new().await;
    let mut client = world.tenant();
    let mut created = Vec::new();
    for _ in 0..7 {
        created.push(client.create(demand()).await.demand_id);
    }
    created.reverse();
    let mut listed = Vec::new();
    let mut request = ListDemandsRequest { page_size: 3, ..Default::default() };
    loop {
        let page = client.rpc.list_demands(request.clone()).await.unwrap().into_inner();
        listed.extend(page.demands.into_iter().map(|demand| demand.demand_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(listed, created);
    let other = ListDemandsRequest { states: vec![DemandState::Closed.into()], ..request.clone() };
    let error = client.rpc.list_demands(other).await.unwrap_err();
    assert_eq!(fields(&error), ["page_token"], "a token is bound to its filter");
    let first = client.get(&created[0]).await.demand.unwrap();
    let of_customer =
        ListDemandsRequest { customer_id: first.customer_id.clone(), ..Default::default() };
    let page = client.rpc.list_demands(of_customer).await.unwrap().into_inner();
    assert_eq!(page.demands.len(), 1);
    let of_agent = ListDemandsRequest { agent: "nobody".to_owned(), ..Default::default() };
    assert!(client.rpc.list_demands(of_agent).await.unwrap().into_inner().demands.is_empty());
}
