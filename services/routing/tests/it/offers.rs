//! Offers by stream, and what time does to them.

use contracts::routing::v1::*;

use crate::world::{World, demand, next_offer, seconds};

#[tokio::test(flavor = "multi_thread")]
async fn open_offers_come_first_then_each_as_it_happens() {
    let world = World::new().await;
    let mut client = world.tenant();
    client.team().await;
    client.agent("ann", 5, &[]).await;
    client.online("ann").await;
    let first = client.create(demand()).await.demand_id;
    client.until(&first, DemandState::Offered).await;

    let mut stream = client.watch("ann", "").await;
    let (_, open) = next_offer(&mut stream).await;
    assert_eq!(open.state(), OfferState::Pending);
    assert_eq!(open.demand.unwrap().demand_id, first);

    let second = client.create(demand()).await.demand_id;
    let (token, offer) = next_offer(&mut stream).await;
    assert_eq!(offer.demand.as_ref().unwrap().demand_id, second);
    assert!(offer.expire_time.is_some());
    client.accept(&offer.offer_id, "ann").await.unwrap();
    let (_, taken) = next_offer(&mut stream).await;
    assert_eq!((taken.offer_id.clone(), taken.state()), (offer.offer_id, OfferState::Accepted));
    assert!(taken.expire_time.is_none());

    let mut resumed = client.watch("ann", &token).await;
    let (_, again) = next_offer(&mut resumed).await;
    assert_eq!((again.state(), again.offer_id), (OfferState::Accepted, taken.offer_id));

    let mut stranger = world.tenant();
    let request = WatchOffersRequest { agent: "ann".to_owned(), resume_token: token };
    assert!(stranger.rpc.watch_offers(request).await.is_err(), "a token is its tenant's");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_is_not_answered_goes_to_somebody_else_in_time() {
    let world = World::new().await;
    let mut client = world.tenant();
    client.team().await;
    let policy = RoutingPolicy {
        name: "default".to_owned(),
        offer_timeout: Some(seconds(1)),
        ..Default::default()
    };
    client.policy(policy).await.unwrap();
    for name in ["ann", "bob"] {
        client.agent(name, 1, &[]).await;
        client.online(name).await;
    }
    let mut stream = client.watch("", "").await;
    let id = client.create(demand()).await.demand_id;
    let (_, first) = next_offer(&mut stream).await;
    let (_, timed_out) = next_offer(&mut stream).await;
    assert_eq!((&timed_out.offer_id, timed_out.state()), (&first.offer_id, OfferState::TimedOut));
    let (_, second) = next_offer(&mut stream).await;
    assert_eq!(second.state(), OfferState::Pending);
    assert_ne!(first.agent, second.agent);

    let history = client.get(&id).await.history;
    let at = |position: usize| {
        let time = history[position].event_time.unwrap();
        time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000
    };
    assert_eq!(history[2].cause, "offer_timed_out");
    // Promised is 100 ms; tests share two cores with others.
    let late = at(2) - at(1) - 1_000;
    assert!((0..500).contains(&late), "{late} ms late");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_sla_is_told_once_and_breaks_nothing_else() {
    let world = World::new().await;
    let mut client = world.tenant();
    let policy =
        RoutingPolicy { name: "urgent".to_owned(), sla: Some(seconds(1)), ..Default::default() };
    client.policy(policy).await.unwrap();
    let wanted = CreateDemandRequest { policy: "urgent".to_owned(), ..demand() };
    let created = client.create(wanted).await;
    assert!(created.due_time.is_some());
    let id = created.demand_id;
    testkit::eventually(crate::world::LIMIT, "the breach", async || {
        client.clone().causes(&id).await.contains(&"sla_breached".to_owned())
    })
    .await;
    client.team().await;
    client.agent("ann", 1, &[]).await;
    client.online("ann").await;
    client.until(&id, DemandState::Offered).await;
    let causes = client.causes(&id).await;
    assert_eq!(causes, ["created", "sla_breached", "offered"]);
    world.audit().await;
}
