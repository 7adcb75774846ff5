//! Moves of customers with more fragments than are merged at once.

use contracts::common::v1::Identifier;
use contracts::profile::v1 as wire;

use crate::race::check;
use crate::world::{BASE_US, LIMIT, World, track};

/// More than [`profile`] merges at once, and than one run of moves takes.
const EVIDENCE: usize = 1_700;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_customer_that_is_taken_apart_is_the_merge_of_its_fragments_in_the_end() {
    let world = World::new().await;
    let mut client = world.tenant();
    let elder = client.take(track(EVIDENCE, "m-1", "Signed In", BASE_US)).await;
    // All are one customer by an address that they share.
    let event = |n: usize| {
        let mut event = track(n, "m-1", "Page Viewed", BASE_US - n as i64);
        let value = "hub@example.org".to_owned();
        event.identifiers.push(Identifier { namespace: "email".to_owned(), value });
        event
    };
    let mut results: Vec<wire::EventResult> = Vec::new();
    for from in (0..EVIDENCE).step_by(425) {
        results.extend(client.ingest((from..from + 425).map(event).collect()).await);
    }
    let hub = results[EVIDENCE - 1].customer_id.clone();
    // One moves away: far too many stay to be merged with that move.
    client.split(&hub, &results[0].evidence_id).await.unwrap();
    settled(&client, &[1, EVIDENCE as i32 - 1]).await;
    assert_eq!(check(&client).await, EVIDENCE as u64 + 1);
    // All the others move, in several runs, and events go on.
    client.merge(&hub, &elder.customer_id).await.unwrap();
    let mut late = event(EVIDENCE - 1);
    late.message_id = "m-2".to_owned();
    client.take(late).await;
    settled(&client, &[0, 1, EVIDENCE as i32]).await;
    assert_eq!(check(&client).await, EVIDENCE as u64 + 2);
}

/// Waits until customers have these many fragments, and none is stale.
async fn settled(client: &crate::world::Client, expected: &[i32]) {
    let sql = "select fragments, stale from customer where tenant_id = $1 order by fragments";
    testkit::eventually(LIMIT, "the moves", async || {
        let query = sqlx::query_as(sql).bind(client.tenant.uuid());
        let rows: Vec<(i32, bool)> = query.fetch_all(client.world.database.pool()).await.unwrap();
        let counts: Vec<i32> = rows.iter().map(|(fragments, _)| *fragments).collect();
        let holds = expected.iter().all(|count| counts.contains(count));
        if holds && rows.iter().all(|(_, stale)| !stale) { Ok(()) } else { Err(rows) }
    })
    .await;
}
