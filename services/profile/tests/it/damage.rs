//! Stored state that does not read back hurts its own evidence, nobody else.

use contracts::profile::v1 as wire;
use uuid::Uuid;

use crate::fold::stored;
use crate::world::{BASE_US, Client, LIMIT, World, fields, record, text, track};

const ACCEPTED: i32 = wire::EventStatus::Accepted as i32;
const REJECTED: i32 = wire::EventStatus::Rejected as i32;

async fn damage(client: &Client, evidence: &str, sql: &'static str) {
    let evidence: Uuid = evidence.parse().unwrap();
    let query = sqlx::query(sql).bind(client.tenant.uuid()).bind(evidence);
    let done = query.execute(client.world.database.pool()).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
}

const BEHAVIOUR: &str = "update fragment set behaviour = '\\x0badbad0'
    where tenant_id = $1 and evidence_id = $2";
const TOO_LARGE: &str = "update fragment
    set behaviour = behaviour || decode(repeat('00', 100000), 'hex')
    where tenant_id = $1 and evidence_id = $2";
const PERSONAL: &str =
    "update fragment set personal = set_byte(personal, 20, 1 # get_byte(personal, 20))
    where tenant_id = $1 and evidence_id = $2";
#[tokio::test]
async fn damaged_state_refuses_its_own_events_and_no_others() {
    let world = World::new().await;
    let mut client = world.tenant();
    let event = |n: usize, id: &str| {
        let mut event = track(n, id, "Signed In", BASE_US);
        event.traits = Some(record(&[("name", text(&format!("{n} {id}")))]));
        event
    };
    let persons = 8;
    let first = client.ingest((0..persons).map(|n| event(n, "m-1")).collect()).await;
    let sound = stored(&client, first[1].customer_id.parse().unwrap()).await;
    for (n, sql) in [(1, BEHAVIOUR), (3, TOO_LARGE), (6, PERSONAL)] {
        damage(&client, &first[n].evidence_id, sql).await;
    }
    let second: Vec<_> = (0..persons).map(|n| event(n, "m-2")).collect();
    let results = client.ingest(second.clone()).await;
    for (n, result) in results.iter().enumerate() {
        let expected = if [1, 3, 6].contains(&n) { REJECTED } else { ACCEPTED };
        assert_eq!(result.status, expected, "{n}: {result:?}");
    }
    assert_eq!(fields(&results[1].violations), ["identifiers"]);
    // Nothing of a refused event is left but what is kept, as it was sent.
    let request = wire::ListRejectedEventsRequest::default();
    let kept = client.profile.list_rejected_events(request).await.unwrap().into_inner().events;
    let mut kept: Vec<_> = kept.into_iter().map(|it| it.event.unwrap()).collect();
    kept.sort_by_key(|event| event.identifiers[0].value.clone());
    assert_eq!(kept, [second[1].clone(), second[3].clone(), second[6].clone()]);

    // Once repaired, the same event counts, once.
    let evidence: Uuid = first[1].evidence_id.parse().unwrap();
    let sql = "update fragment set behaviour = $3 where tenant_id = $1 and evidence_id = $2";
    let query = sqlx::query(sql).bind(client.tenant.uuid()).bind(evidence).bind(sound);
    query.execute(client.world.database.pool()).await.unwrap();
    client.take(second[1].clone()).await;
    let profile = client.get(&first[1].customer_id).await.unwrap();
    assert_eq!(profile.total_events, 2);
}

#[tokio::test]
async fn a_damaged_customer_refuses_its_own_events_and_no_others() {
    let world = World::new().await;
    let mut client = world.tenant();
    let both = client.ingest((0..2).map(|n| track(n, "m-1", "Signed In", BASE_US)).collect()).await;
    client.merge(&both[0].customer_id, &both[1].customer_id).await.unwrap();
    client.settled(2).await;
    let customer: String = client.who(0).await.1;
    let sql = "update customer set behaviour = '\\x0badbad0'
        where tenant_id = $1 and customer_id = $2";
    damage(&client, &customer, sql).await;
    let results = client.ingest((0..4).map(|n| track(n, "m-2", "Signed In", BASE_US)).collect());
    let statuses: Vec<i32> = results.await.iter().map(|it| it.status).collect();
    assert_eq!(statuses, [REJECTED, REJECTED, ACCEPTED, ACCEPTED]);
}

#[tokio::test]
async fn a_move_that_meets_damage_is_parked_and_the_others_go_on() {
    let world = World::new().await;
    let mut client = world.tenant();
    let taken =
        client.ingest((0..4).map(|n| track(n, "m-1", "Signed In", BASE_US)).collect()).await;
    damage(&client, &taken[0].evidence_id, BEHAVIOUR).await;
    for pair in taken.chunks(2) {
        client.merge(&pair[0].customer_id, &pair[1].customer_id).await.unwrap();
    }
    let survivor = client.who(2).await.1;
    client.until(&survivor, |profile| profile.evidence_ids.len() == 2).await;
    let sql = "select count(*) from dead_letter where tenant_id = $1";
    let query = sqlx::query_scalar(sql).bind(client.tenant.uuid());
    let parked: i64 = query.fetch_one(world.database.pool()).await.unwrap();
    assert_eq!(parked, 1, "the evidence that could not be merged");
}

#[tokio::test]
async fn a_key_that_does_not_open_refuses_its_own_events_and_no_others() {
    let world = World::new().await;
    let mut client = world.tenant();
    // They move before their first event comes: map rows without keys.
    let (_, left) = client.who(0).await;
    let (evidence, right) = client.who(1).await;
    client.merge(&left, &right).await.unwrap();
    let sql = "update fragment set wrapped_key = '\\x0102'
        where tenant_id = $1 and evidence_id = $2";
    let evidence: Uuid = evidence.parse().unwrap();
    testkit::eventually(LIMIT, "the moved evidence", async || {
        let query = sqlx::query(sql).bind(client.tenant.uuid()).bind(evidence);
        let done = query.execute(client.world.database.pool()).await.unwrap();
        done.rows_affected() == 1
    })
    .await;
    let events = (0..3).map(|n| track(n, "m-1", "Signed In", BASE_US));
    let results = client.ingest(events.collect()).await;
    let statuses: Vec<i32> = results.iter().map(|it| it.status).collect();
    assert_eq!(statuses, [ACCEPTED, REJECTED, ACCEPTED]);
}
