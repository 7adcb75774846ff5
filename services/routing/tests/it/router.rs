//! Who gets what, in which order.

use contracts::routing::v1::*;
use tonic::Code;

use crate::world::{LIMIT, World, demand, reason};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_online_gets_the_oldest_of_the_most_urgent() {
    let world = World::new().await;
    let mut client = world.tenant();
    client.team().await;
    client.agent("ann", 1, &[]).await;
    let with = |priority| CreateDemandRequest { priority, ..demand() };
    let later = client.create(with(0)).await.demand_id;
    let oldest = client.create(with(50)).await.demand_id;
    let younger = client.create(with(50)).await.demand_id;
    client.online("ann").await;
    for expected in [oldest, younger, later] {
        client.until(&expected, DemandState::Offered).await;
        let offer = client.last_offer(&expected).await;
        client.accept(&offer, "ann").await.unwrap();
        client.close(&expected, "ann", DemandResult::Solved).await.unwrap();
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_decides_who_fits_and_the_decision_says_why() {
    let world = World::new().await;
    let mut client = world.tenant();
    client.team().await;
    let policy = RoutingPolicy {
        name: "default".to_owned(),
        eligibility: "agent.skill_level[\"mortgage\"] >= 3 && demand.kind == \"lead\"".to_owned(),
        weights: Some(RankWeights { skill_level: 2.0, spare_capacity: 1.0, ..Default::default() }),
        ..Default::default()
    };
    client.policy(policy).await.unwrap();
    for (name, level) in [("ann", 3), ("bob", 5), ("cid", 2)] {
        client.agent(name, 2, &[("mortgage", level)]).await;
        client.online(name).await;
    }
    client.agent("dan", 2, &[("mortgage", 5)]).await;
    client.agent("eve", 2, &[]).await;
    client.online("eve").await;
    let wanted = CreateDemandRequest { required_skills: vec!["mortgage".to_owned()], ..demand() };
    let id = client.create(wanted).await.demand_id;
    assert_eq!(client.until(&id, DemandState::Offered).await.agent, "bob");
    let decision = client.decisions(&id).await.pop().unwrap();
    assert_eq!(decision.policy_version, 1);
    let told: Vec<(&str, &str, f64)> = decision
        .candidates
        .iter()
        .map(|c| (c.agent.as_str(), c.excluded_by.as_str(), c.rank))
        .collect();
    let expected = [
        ("bob", "", 3.0),
        ("ann", "", 2.0 * 0.6 + 1.0),
        ("cid", "not_eligible", 0.0),
        ("dan", "offline", 0.0),
        ("eve", "not_eligible", 0.0),
    ];
    for (told, expected) in told.iter().zip(expected) {
        assert_eq!((told.0, told.1), (expected.0, expected.1));
        assert!((told.2 - expected.2).abs() < 1e-9, "{told:?}");
    }
    assert_eq!(told.len(), expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_policy_holds_for_waiting_demands_at_once() {
    let world = World::new().await;
    let mut client = world.tenant();
    client.team().await;
    client.agent("ann", 1, &[]).await;
    client.online("ann").await;
    let nobody = RoutingPolicy {
        name: "default".to_owned(),
        eligibility: "agent.name == \"nobody\"".to_owned(),
        ..Default::default()
    };
    client.policy(nobody.clone()).await.unwrap();
    let id = client.create(demand()).await.demand_id;
    testkit::eventually(LIMIT, "a first attempt", async || {
        world.count("select max(attempts)::bigint from demand").await > 0
    })
    .await;
    client.policy(RoutingPolicy { eligibility: String::new(), ..nobody }).await.unwrap();
    client.until(&id, DemandState::Offered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_who_knows_the_customer_is_preferred_if_the_policy_says_so() {
    let world = World::new().await;
    let mut client = world.tenant();
    client.team().await;
    let weights = RankWeights { same_agent: 5.0, spare_capacity: 1.0, ..Default::default() };
    let policy =
        RoutingPolicy { name: "default".to_owned(), weights: Some(weights), ..Default::default() };
    client.policy(policy).await.unwrap();
    client.agent("zoe", 1, &[]).await;
    client.online("zoe").await;
    let wanted = demand();
    let first = client.create(wanted.clone()).await.demand_id;
    client.until(&first, DemandState::Offered).await;
    let offer = client.last_offer(&first).await;
    client.accept(&offer, "zoe").await.unwrap();
    client.close(&first, "zoe", DemandResult::Solved).await.unwrap();
    client.agent("ann", 1, &[]).await;
    client.online("ann").await;
    let second = client.create(wanted).await.demand_id;
    assert_eq!(client.until(&second, DemandState::Offered).await.agent, "zoe");
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_working_hours_nobody_is_asked_and_the_demand_knows_when_they_begin() {
    let world = World::new().await;
    let mut client = world.tenant();
    // One minute of the week that is far from now.
    let weekday =
        (jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).weekday().to_monday_one_offset()
            + 2)
            % 7
            + 1;
    let interval = WeeklyInterval {
        weekdays: vec![weekday.into()],
        start: "00:00".to_owned(),
        end: "00:01".to_owned(),
    };
    let hours = WorkingHours { time_zone: "UTC".to_owned(), intervals: vec![interval] };
    let team = Team { name: "north".to_owned(), working_hours: Some(hours), ..Default::default() };
    let request = UpsertTeamRequest { team: Some(team), ..Default::default() };
    client.rpc.upsert_team(request).await.unwrap();
    client.agent("ann", 1, &[]).await;
    client.online("ann").await;
    let id = client.create(demand()).await.demand_id;
    testkit::eventually(LIMIT, "an attempt", async || {
        world.count("select max(attempts)::bigint from demand").await > 0
    })
    .await;
    assert_eq!(client.get(&id).await.demand.unwrap().state(), DemandState::Queued);
    let open = Team { name: "north".to_owned(), ..Default::default() };
    let request = UpsertTeamRequest { team: Some(open), ..Default::default() };
    client.rpc.upsert_team(request).await.unwrap();
    client.until(&id, DemandState::Offered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lowered_capacity_lets_the_load_run_down() {
    let world = World::new().await;
    let mut client = world.tenant();
    client.team().await;
    client.agent("ann", 3, &[]).await;
    client.online("ann").await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let id = client.create(demand()).await.demand_id;
        client.until(&id, DemandState::Offered).await;
        let offer = client.last_offer(&id).await;
        client.accept(&offer, "ann").await.unwrap();
        held.push(id);
    }
    client.agent("ann", 1, &[]).await;
    let waiting = client.create(demand()).await.demand_id;
    let delete = DeleteAgentRequest { name: "ann".to_owned(), ..Default::default() };
    let error = client.rpc.delete_agent(delete).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::FailedPrecondition, "IN_USE"));
    for (closed, id) in held.iter().enumerate() {
        assert_eq!(client.get(&waiting).await.demand.unwrap().state(), DemandState::Queued);
        client.close(id, "ann", DemandResult::Lost).await.unwrap();
        let get = GetAgentRequest { name: "ann".to_owned() };
        let load = client.rpc.get_agent(get).await.unwrap().into_inner().agent.unwrap().load;
        assert!(load >= 2 - i32::try_from(closed).unwrap());
    }
    client.until(&waiting, DemandState::Offered).await;
    world.audit().await;
}
