//! Ingest and moves of the same evidence at the same time: nothing lost, nothing doubled.

use std::collections::HashMap;

use aggregate::Behaviour;
use contracts::profile::v1::EventStatus;
use uuid::Uuid;

use crate::world::{BASE_US, Client, World, track};

const PERSONS: usize = 10;
const INGESTERS: usize = 6;
const CALLS: usize = 170;
const MOVERS: usize = 2;

/// A small generator: the test needs variety, not quality (Knuth, MMIX).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % sides
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn moves_racing_with_ingest_leave_every_customer_the_merge_of_its_fragments() {
    let world = World::new().await;
    let mut client = world.tenant();
    let ingesting: Vec<_> =
        (0..INGESTERS).map(|task| tokio::spawn(ingest(client.clone(), task))).collect();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let moving: Vec<_> = (0..MOVERS)
        .map(|task| tokio::spawn(shuffle(client.clone(), task, stopped.clone())))
        .collect();
    let mut accepted = 0;
    for task in ingesting {
        accepted += task.await.unwrap();
    }
    stop.send_replace(true);
    let mut moves = 0;
    for task in moving {
        moves += task.await.unwrap();
    }
    assert!(moves >= 20, "only {moves} moves");
    client.settled(PERSONS).await;
    assert_eq!(check(&client).await, accepted);
}

async fn ingest(mut client: Client, task: usize) -> u64 {
    let mut dice = Dice(task as u64 + 1);
    let mut accepted = 0;
    for call in 0..CALLS {
        let events = (0..1 + dice.roll(4)).map(|place| {
            let id = format!("{task}-{call}-{place}");
            track(dice.roll(PERSONS), &id, "Page Viewed", BASE_US - call as i64)
        });
        for result in client.ingest(events.collect()).await {
            assert_eq!(result.status, EventStatus::Accepted as i32, "{result:?}");
            accepted += 1;
        }
    }
    accepted
}

/// Merges and splits until told to stop; answers how often it worked.
async fn shuffle(
    mut client: Client,
    task: usize,
    stopped: tokio::sync::watch::Receiver<bool>,
) -> usize {
    let mut dice = Dice(99 + task as u64);
    let mut done = 0;
    while !*stopped.borrow() {
        let (evidence, left) = client.who(dice.roll(PERSONS)).await;
        let (_, right) = client.who(dice.roll(PERSONS)).await;
        // The other mover may have been faster: then the call is refused.
        let moved = if dice.roll(2) == 0 && left != right {
            client.merge(&left, &right).await.is_ok()
        } else {
            client.split(&left, &evidence).await.is_ok()
        };
        done += usize::from(moved);
    }
    done
}

/// Every customer's row against its fragments; answers how many events there are.
pub(crate) async fn check(client: &Client) -> u64 {
    let pool = client.world.database.pool();
    let sql = "select customer_id, behaviour from fragment where tenant_id = $1 and version > 0";
    let fragments: Vec<(Uuid, Vec<u8>)> =
        sqlx::query_as(sql).bind(client.tenant.uuid()).fetch_all(pool).await.unwrap();
    let mut merged: HashMap<Uuid, (i32, Behaviour)> = HashMap::new();
    for (customer, behaviour) in &fragments {
        let (count, state) = merged.entry(*customer).or_default();
        *count += 1;
        state.merge(&Behaviour::decode(behaviour).unwrap());
    }
    let sql = "select customer_id, fragments, behaviour from customer where tenant_id = $1";
    let customers: Vec<(Uuid, i32, Option<Vec<u8>>)> =
        sqlx::query_as(sql).bind(client.tenant.uuid()).fetch_all(pool).await.unwrap();
    let mut total = 0;
    for (customer, fragments, behaviour) in customers {
        let (count, expected) = merged.remove(&customer).unwrap_or_default();
        assert_eq!(fragments, count, "fragments of {customer}");
        total += expected.total_events();
        let expected = (count >= 2).then(|| expected.encode());
        assert_eq!(behaviour, expected, "state of {customer}");
    }
    assert!(merged.is_empty(), "fragments of customers without a row");
    total
}
