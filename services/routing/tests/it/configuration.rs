//! Teams, agents and policies: versions, checks, and what still needs them.

use std::collections::HashMap;

use contracts::routing::v1::*;
use tonic::Code;

use crate::world::{World, demand, fields, reason, seconds};

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_checked_as_a_whole_before_it_is_saved() {
    let world = World::new().await;
    let mut client = world.tenant();
    let wrong = RoutingPolicy {
        name: "Default".to_owned(),
        eligibility: "agent.skils.exists(s, s == 1)".to_owned(),
        weights: Some(RankWeights { idle_time: f64::NAN, ..Default::default() }),
        offer_timeout: Some(seconds(0)),
        sla: Some(seconds(-5)),
        triggers: vec![ThresholdTrigger { priority: 500, ..Default::default() }],
        ..Default::default()
    };
    let error = client.policy(wrong).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let told = fields(&error);
    for field in [
        "policy.name",
        "policy.eligibility",
        "policy.weights.idle_time",
        "policy.offer_timeout",
        "policy.sla",
        "policy.triggers[0].scorer",
        "policy.triggers[0].priority",
    ] {
        assert!(told.iter().any(|told| told == field), "{field}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_keep_versions_and_refuse_a_stale_writer() {
    let world = World::new().await;
    let mut client = world.tenant();
    let missing = Agent {
        name: "ann".to_owned(),
        team: "north".to_owned(),
        capacity: 0,
        skills: HashMap::from([("lang-de".to_owned(), 6)]),
        ..Default::default()
    };
    let request = UpsertAgentRequest { agent: Some(missing), ..Default::default() };
    let error = client.rpc.upsert_agent(request).await.unwrap_err();
    assert_eq!(fields(&error), ["agent.capacity", "agent.skills[\"lang-de\"]"]);

    client.team().await;
    client.agent("ann", 1, &[]).await;
    client.agent("bob", 1, &[]).await;
    let saved = client.online("ann").await;
    assert_eq!(saved.presence(), Presence::Online);
    let listed = client
        .rpc
        .list_agents(ListAgentsRequest {
            team: "north".to_owned(),
            page_size: 1,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.agents[0].name, "ann");
    assert!(!listed.next_page_token.is_empty());

    let stale = UpsertAgentRequest {
        agent: Some(Agent { capacity: 2, ..saved.clone() }),
        etag: "1-0".to_owned(),
        ..Default::default()
    };
    let error = client.rpc.upsert_agent(stale).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    let only_check = UpsertAgentRequest {
        agent: Some(Agent { capacity: 2, ..saved.clone() }),
        validate_only: true,
        ..Default::default()
    };
    let checked = client.rpc.upsert_agent(only_check).await.unwrap().into_inner().agent.unwrap();
    assert_eq!(checked.meta.unwrap().version, 2);
    let get = GetAgentRequest { name: "ann".to_owned() };
    let read = client.rpc.get_agent(get).await.unwrap().into_inner().agent.unwrap();
    assert_eq!((read.capacity, read.meta.unwrap().version), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_that_somebody_needs() {
    let world = World::new().await;
    let mut client = world.tenant();
    client.team().await;
    client.agent("ann", 1, &[]).await;
    client.agent("bob", 1, &[]).await;
    let team = DeleteTeamRequest { name: "north".to_owned(), ..Default::default() };
    let error = client.rpc.delete_team(team.clone()).await.unwrap_err();
    assert_eq!(reason(&error), "IN_USE");
    for name in ["ann", "bob"] {
        client
            .rpc
            .delete_agent(DeleteAgentRequest { name: name.to_owned(), ..Default::default() })
            .await
            .unwrap();
    }
    client.rpc.delete_team(team.clone()).await.unwrap();
    client.rpc.delete_team(team).await.unwrap();
    let gone = client.presence("ann", Presence::Online).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);

    client.policy(RoutingPolicy { name: "calls".to_owned(), ..Default::default() }).await.unwrap();
    client.create(CreateDemandRequest { policy: "calls".to_owned(), ..demand() }).await;
    let policy = DeletePolicyRequest { name: "calls".to_owned(), ..Default::default() };
    let error = client.rpc.delete_policy(policy).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::FailedPrecondition, "IN_USE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn working_hours_are_checked_with_all_that_is_wrong() {
    let world = World::new().await;
    let mut client = world.tenant();
    let interval = |weekdays: &[i32], start: &str, end: &str| WeeklyInterval {
        weekdays: weekdays.to_vec(),
        start: start.to_owned(),
        end: end.to_owned(),
    };
    let hours = WorkingHours {
        time_zone: "Asia/Nowhere".to_owned(),
        intervals: vec![interval(&[0], "09:00", "24:00"), interval(&[1], "9", "25:00")],
    };
    let team = Team { name: "north".to_owned(), working_hours: Some(hours), ..Default::default() };
    let request = UpsertTeamRequest { team: Some(team), ..Default::default() };
    let mut told = fields(&client.rpc.upsert_team(request).await.unwrap_err());
    told.sort();
    assert_eq!(
        told,
        [
            "team.working_hours.intervals[0].weekdays",
            "team.working_hours.intervals[1].end",
            "team.working_hours.intervals[1].start",
            "team.working_hours.time_zone",
        ]
    );
    let hours = WorkingHours {
        time_zone: "Asia/Shanghai".to_owned(),
        intervals: vec![interval(&[1, 2], "09:00", "24:00")],
    };
    let team =
        Team { name: "north".to_owned(), working_hours: Some(hours.clone()), ..Default::default() };
    let request = UpsertTeamRequest { team: Some(team), ..Default::default() };
    let saved = client.rpc.upsert_team(request).await.unwrap().into_inner().team.unwrap();
    assert_eq!(saved.working_hours, Some(hours));
}
