//! Many agents, many hands, two routers: the promises hold at every look.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use contracts::routing::v1::*;
use server::client::{Endpoint, Later};
use tonic::Code;

use crate::world::{Client, World, demand, next_offer, reason, seconds};

const AGENTS: usize = 12;
const WORKERS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(90);

/// A small generator, so that workers differ and a seed repeats.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Prepares a tenant with few places for many demands.
async fn crew(client: &mut Client) {
    client.team().await;
    let policy = RoutingPolicy {
        name: "default".to_owned(),
        offer_timeout: Some(seconds(1)),
        ..Default::default()
    };
    client.policy(policy).await.unwrap();
    for agent in 0..AGENTS {
        let capacity = 1 + i32::try_from(agent % 3).unwrap();
        client.agent(&format!("agent-{agent:02}"), capacity, &[]).await;
        client.online(&format!("agent-{agent:02}")).await;
    }
}

/// One pair of hands: picks some offer or demand and does something with it, fit or not.
async fn work(mut client: Client, seed: u64, offers: Offers, left: Arc<AtomicUsize>) {
    let mut dice = Dice(seed);
    while left.load(Ordering::Relaxed) > 0 {
        let Some(offer) = offers.pick(&mut dice) else {
            offers.wait().await;
            continue;
        };
        let id = offer.demand.as_ref().unwrap().demand_id.clone();
        let agent = offer.agent.clone();
        let outcome = match dice.roll(10) {
            0 => client.decline(&offer.offer_id, &agent).await,
            1 => client.accept(&offer.offer_id, "agent-00").await,
            2..=5 => client.accept(&offer.offer_id, &agent).await,
            6 => client.start(&id, &agent).await,
            _ => client.close(&id, &agent, DemandResult::Solved).await,
        };
        match outcome {
            Ok(demand) if demand.state() == DemandState::Closed => {
                if offers.forget(&id) {
                    left.fetch_sub(1, Ordering::Relaxed);
                }
            }
            Ok(_) => {}
            Err(error) => {
                let expected = ["OFFER_GONE", "WRONG_STATE", "NOT_FOUND"];
                assert!(expected.contains(&reason(&error).as_str()), "{error:?}");
                assert!(matches!(error.code(), Code::FailedPrecondition | Code::NotFound));
            }
        }
    }
}

/// The offers that workers know of.
#[derive(Clone, Default)]
struct Offers(Arc<std::sync::Mutex<Vec<Offer>>>, Arc<tokio::sync::Notify>);

impl Offers {
    fn learn(&self, offer: Offer) {
        let demand = |offer: &Offer| offer.demand.as_ref().unwrap().demand_id.clone();
        let mut offers = self.0.lock().unwrap();
        // Some stale ones stay, so that hands reach for what is gone.
        if !offers.len().is_multiple_of(4) {
            offers.retain(|known| demand(known) != demand(&offer));
        }
        offers.push(offer);
        drop(offers);
        self.1.notify_waiters();
    }

    /// Until there may be another one; at most a moment, for the last to go home.
    async fn wait(&self) {
        let _late = tokio::time::timeout(Duration::from_millis(50), self.1.notified()).await;
    }

    fn pick(&self, dice: &mut Dice) -> Option<Offer> {
        let offers = self.0.lock().unwrap();
        if offers.is_empty() {
            return None;
        }
        offers.get(usize::try_from(dice.roll(offers.len() as u64)).unwrap()).cloned()
    }

    /// True for the first one who does.
    fn forget(&self, demand: &str) -> bool {
        let mut offers = self.0.lock().unwrap();
        let before = offers.len();
        offers.retain(|offer| offer.demand.as_ref().unwrap().demand_id != demand);
        offers.len() < before
    }
}

async fn race(world: &World, endpoints: &[Endpoint], demands: usize) {
    let first = &endpoints[0];
    let mut client = world.client_of(first, world.tenant().tenant);
    crew(&mut client).await;
    let (offers, left) = (Offers::default(), Arc::new(AtomicUsize::new(demands)));
    let mut stream = client.watch("", "").await;
    let learned = offers.clone();
    let learning = tokio::spawn(async move {
        loop {
            let (_, offer) = next_offer(&mut stream).await;
            if offer.state() == OfferState::Pending {
                learned.learn(offer);
            }
        }
    });
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..WORKERS {
        let endpoint = &endpoints[worker % endpoints.len()];
        let client = world.client_of(endpoint, client.tenant);
        workers.spawn(work(client, worker as u64, offers.clone(), Arc::clone(&left)));
    }
    for _ in 0..demands / 8 {
        let mut creating = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let mut client = client.clone();
            creating.spawn(async move { client.create(demand()).await });
        }
        creating.join_all().await;
    }
    let deadline = Instant::now() + PATIENCE;
    while let Ok(Some(done)) = tokio::time::timeout_at(deadline.into(), workers.join_next()).await {
        done.unwrap();
        world.audit().await;
    }
    assert_eq!(left.load(Ordering::Relaxed), 0, "all are closed in time");
    learning.abort();
    world.audit().await;
    let open = world.count("select count(*) from demand where state <> 5").await;
    assert_eq!(open, 0, "nothing is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_hands_break_no_promise() {
    let world = World::new().await;
    race(&world, std::slice::from_ref(&world.endpoint), 160).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_routers_that_take_the_lease_from_each_other_do_no_harm() {
    let mut world = World::with("", Endpoint::Later(Later::default())).await;
    let second = world.replica("").await;
    let endpoints = [world.endpoint.clone(), second];
    let stop = Arc::new(AtomicBool::new(false));
    let thief = tokio::spawn({
        let (database, stop) = (world.database.clone(), Arc::clone(&stop));
        async move {
            // Gives the lease to nobody, so that whoever comes first takes it.
            let sql = "update router_lease set until_us = 0";
            while !stop.load(Ordering::Relaxed) {
                sqlx::query(sql).execute(database.pool()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    race(&world, &endpoints, 64).await;
    stop.store(true, Ordering::Relaxed);
    thief.await.unwrap();
}
