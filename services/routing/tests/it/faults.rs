//! What is broken in one tenant holds up nobody else, and no queue is so long that its end is
//! not seen.

use contracts::feed::v1::SnapshotRequest;
use contracts::feed::v1::feed_service_client::FeedServiceClient;
use contracts::routing::v1::*;
use server::client::{Endpoint, Later};
use server::{Call, Peer};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::world::{Client, LIMIT, World, demand, seconds};

impl World {
    async fn damage(&self, sql: &'static str, id: &str) {
        let id: Uuid = id.parse().unwrap();
        let done = sqlx::query(sql).bind(id).execute(self.database.pool()).await.unwrap();
        assert!(done.rows_affected() > 0, "{sql}");
    }

    /// A column of a demand.
    async fn of_demand(&self, column: &str, id: &str) -> Option<i64> {
        let id: Uuid = id.parse().unwrap();
        let sql = format!("select {column}::bigint from demand where demand_id = $1");
        sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(id)
            .fetch_one(self.database.pool())
            .await
            .unwrap()
    }

    /// Until the demand was put off by at least so many attempts.
    async fn put_off(&self, id: &str, attempts: i64) {
        testkit::eventually(LIMIT, "the demand to be put off", async || {
            self.of_demand("attempts", id).await.unwrap_or(0) >= attempts
        })
        .await;
    }
}

const DAMAGE: &str = "update demand set scores = '{' where demand_id = $1";

/// A tenant with an agent who is online.
async fn staffed(world: &World, capacity: i32) -> Client {
    let mut client = world.tenant();
    client.team().await;
    client.agent("ann", capacity, &[]).await;
    client.online("ann").await;
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_demand_holds_up_neither_its_tenant_nor_others_and_is_not_tried_hot() {
    let world = World::new().await;
    let mut broken = world.tenant();
    broken.team().await;
    broken.agent("ann", 5, &[]).await;
    let damaged = broken.create(demand()).await.demand_id;
    world.damage(DAMAGE, &damaged).await;
    let beside = broken.create(demand()).await.demand_id;
    broken.online("ann").await;
    broken.until(&beside, DemandState::Offered).await;
    let mut other = staffed(&world, 1).await;
    let id = other.create(demand()).await.demand_id;
    other.until(&id, DemandState::Offered).await;

    world.put_off(&damaged, 2).await;
    let attempts = world.of_demand("attempts", &damaged).await.unwrap();
    assert!(attempts < 20, "{attempts} attempts within seconds are hot");
    // Neither do scores of others wait for it.
    let scored = world.of_demand("score_due_us", &damaged).await;
    testkit::eventually(LIMIT, "its scores to be put off", async || {
        world.of_demand("score_due_us", &damaged).await > scored
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demand_that_cannot_be_offered_keeps_no_other_waiting() {
    let world = World::new().await;
    let mut client = world.tenant();
    client.team().await;
    client.agent("ann", 5, &[]).await;
    let urgent = CreateDemandRequest { priority: 50, ..demand() };
    let broken = client.create(urgent).await.demand_id;
    let fine = client.create(demand()).await.demand_id;
    // An offer from nowhere: there can be no second one.
    let stray = "insert into offer
            (tenant_id, shard, offer_id, demand_id, agent, state, created_us, expire_us)
        select tenant_id, 0, gen_random_uuid(), demand_id, 'ann', 1, 0, 0
        from demand where demand_id = $1";
    world.damage(stray, &broken).await;
    client.online("ann").await;
    client.until(&fine, DemandState::Offered).await;
    assert_eq!(client.get(&broken).await.demand.unwrap().state(), DemandState::Queued);
    world.damage("delete from offer where demand_id = $1", &broken).await;
    client.until(&broken, DemandState::Offered).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_is_lost_keeps_no_other_from_timing_out() {
    let world = World::new().await;
    let policy = RoutingPolicy {
        name: "default".to_owned(),
        offer_timeout: Some(seconds(2)),
        ..Default::default()
    };
    let (mut broken, mut other) = (staffed(&world, 1).await, staffed(&world, 1).await);
    let mut offered = Vec::new();
    for client in [&mut broken, &mut other] {
        client.policy(policy.clone()).await.unwrap();
        let id = client.create(demand()).await.demand_id;
        client.until(&id, DemandState::Offered).await;
        offered.push(id);
    }
    world.damage("delete from offer where demand_id = $1", &offered[0]).await;
    testkit::eventually(LIMIT, "the time-out", async || {
        other.clone().causes(&offered[1]).await.contains(&"offer_timed_out".to_owned())
    })
    .await;
    world.put_off(&offered[0], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_configuration_cannot_be_read_holds_up_no_other() {
    let world = World::new().await;
    let mut broken = staffed(&world, 1).await;
    let tenant = broken.tenant.uuid().to_string();
    world
        .damage(
            "with counted as (update resource_revision set revision = revision + 1 returning revision)
             update resource set body = '{\"none\": 1}', revision = counted.revision from counted
             where tenant_id = $1 and kind = 'Agent'",
            &tenant,
        )
        .await;
    let waiting = broken.create(demand()).await.demand_id;
    let mut other = staffed(&world, 1).await;
    let id = other.create(demand()).await.demand_id;
    other.until(&id, DemandState::Offered).await;
    world.put_off(&waiting, 2).await;
    assert_eq!(broken.get(&waiting).await.demand.unwrap().state(), DemandState::Queued);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_leaves_out_damaged_demands_only() {
    let world = World::new().await;
    let mut client = world.tenant();
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(client.create(demand()).await.demand_id);
    }
    for damaged in &ids[1..] {
        world.damage(DAMAGE, damaged).await;
    }
    let peer = Peer::new(world.endpoint.clone(), world.house.internal_tokens("feedback"));
    let peer = peer.during(&Call::background(client.tenant));
    let request = SnapshotRequest::default();
    let mut pages = FeedServiceClient::new(peer).snapshot(request).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Some(page) = pages.message().await.unwrap() {
        let subjects = page.entries.iter().map(|entry| Uuid::from_slice(&entry.subject).unwrap());
        told.extend(subjects.map(|subject| subject.to_string()));
    }
    assert_eq!(told, ids[..1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_fits_is_found_behind_any_number_who_do_not() {
    // Pages of one, and timers that do not go off again during the test.
    let settings = "[routing]\nbatch = 1\nretry_min_ms = 600000\nretry_max_ms = 600000";
    let world = World::with(settings, Endpoint::Later(Later::default())).await;
    let mut client = world.tenant();
    client.team().await;
    client.agent("ann", 1, &[]).await;
    let unfit = CreateDemandRequest {
        required_skills: vec!["unheard-of".to_owned()],
        priority: 50,
        ..demand()
    };
    let mut waiting = Vec::new();
    for _ in 0..30 {
        waiting.push(client.create(unfit.clone()).await.demand_id);
    }
    let fit = client.create(demand()).await.demand_id;
    for id in waiting.iter().chain([&fit]) {
        world.put_off(id, 1).await;
    }
    // Scores come no more, and with them no attempt.
    sqlx::query("update demand set score_due_us = null")
        .execute(world.database.pool())
        .await
        .unwrap();
    client.online("ann").await;
    client.until(&fit, DemandState::Offered).await;
    world.audit().await;
}
