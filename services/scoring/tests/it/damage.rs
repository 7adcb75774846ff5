//! What is damaged is passed over: neither other tenants nor the rest of its own wait for it.

use std::collections::BTreeSet;

use contracts::feed::v1::SnapshotRequest;
use contracts::feed::v1::feed_service_client::FeedServiceClient;
use contracts::scoring::v1 as proto;
use kernel::TenantId;
use server::Peer;
use testkit::eventually;
use uuid::Uuid;

use crate::world::{DAY, DAY_ONE, LIMIT, Person, Tenant, World, card, label, policy, threshold};

const DAMAGE_MODEL: &str = "update model_state set weights = '\\xff', \
     version = nextval('model_version') where tenant_id = $1 and model = 'm'";
const REPAIR_MODEL: &str = "update model_state set weights = (select weights from model_state \
     where tenant_id = $1 and model = 'twin'), version = nextval('model_version') \
     where tenant_id = $1 and model = 'm'";
const DAMAGE_BEHAVIOUR: &str =
    "update subject set behaviour = '\\xff' where tenant_id = $1 and customer_id = any($2)";
const DAMAGE_SCORES: &str =
    "update subject set scores = '\\xff' where tenant_id = $1 and customer_id = any($2)";

/// Two tenants; work that goes by the tenant's id comes to the first one first.
fn tenants(world: &World) -> [Tenant; 2] {
    [1, 2].map(|number| world.tenant_with(TenantId::new(Uuid::from_u128(number))))
}

async fn run(world: &World, sql: &'static str, tenant: &Tenant) {
    sqlx::query(sql).bind(tenant.id.uuid()).execute(world.database.pool()).await.unwrap();
}

async fn damage(world: &World, sql: &'static str, tenant: &Tenant, people: &[Person]) {
    let ids: Vec<Uuid> = people.iter().map(|person| person.id).collect();
    let query = sqlx::query(sql).bind(tenant.id.uuid()).bind(&ids);
    let done = query.execute(world.database.pool()).await.unwrap();
    assert_eq!(done.rows_affected(), people.len() as u64);
}

/// Waits until the stored value of the customer's only score is this.
async fn stored(tenant: &Tenant, person: &Person, value: f64) {
    eventually(LIMIT, "the stored score", async || {
        let mut tenant = Tenant { id: tenant.id, client: tenant.client.clone() };
        let scores = tenant.stored(person.id).await;
        let found = scores.ok().and_then(|scores| Some(scores.first()?.value));
        if found == Some(value) { Ok(()) } else { Err(found) }
    })
    .await;
}

async fn learned(tenant: &Tenant, model: &str, labels: i64) {
    eventually(LIMIT, "the labels to be learned", async || {
        let mut tenant = Tenant { id: tenant.id, client: tenant.client.clone() };
        let progress = tenant.progress(model).await;
        let done = progress.labels_learned == labels && progress.labels_waiting == 0;
        if done { Ok(()) } else { Err(progress) }
    })
    .await;
}

/// Tells of people who did something, and waits for their scores.
async fn told(world: &World, tenant: &mut Tenant, count: usize) -> Vec<Person> {
    let mut people: Vec<Person> = (0..count).map(|_| Person::new().did("A", DAY_ONE)).collect();
    let entries: Vec<_> = people.iter_mut().map(|person| person.changed(tenant)).collect();
    world.profile.tell(&entries).await;
    // One lane applies them in their order.
    tenant.score(people.last().unwrap()).await.unwrap();
    people
}

/// Uses the scores of people; answers the ids of the uses.
async fn used(tenant: &mut Tenant, people: &[Person]) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for person in people {
        let id = Uuid::now_v7();
        let request = proto::ScoreCustomerRequest {
            customer_id: person.id.to_string(),
            use_id: id.to_string(),
            ..Default::default()
        };
        tenant.ask(request).await.unwrap();
        ids.push(id);
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_model_and_a_damaged_use_stop_no_other_learner() {
    let world = World::new().await;
    let [mut first, mut second] = tenants(&world);
    let mut labels = Vec::new();
    for tenant in [&mut first, &mut second] {
        for model in ["m", "twin"] {
            tenant.model(policy(model, &["orders.count"])).await.unwrap();
        }
        let people = told(&world, tenant, 4).await;
        let uses = used(tenant, &people).await;
        labels.extend(uses.iter().map(|id| label(tenant, *id, 1, true, "lead")));
        let damage_use = "update feature_log set features = '\\xff' \
             where tenant_id = $1 and use_id = $2";
        let query = sqlx::query(damage_use).bind(tenant.id.uuid()).bind(uses[0]);
        query.execute(world.database.pool()).await.unwrap();
    }
    run(&world, DAMAGE_MODEL, &first).await;
    world.feedback.tell(&labels).await;
    // All but the damaged use, by all but the damaged model.
    learned(&second, "m", 3).await;
    learned(&second, "twin", 3).await;
    learned(&first, "twin", 3).await;
    run(&world, REPAIR_MODEL, &first).await;
    learned(&first, "m", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_passes_over_damaged_customers_and_tenants() {
    let world = World::new().await;
    let [mut first, mut second] = tenants(&world);
    let mut everybody = Vec::new();
    for tenant in [&mut first, &mut second] {
        let mut silence = card("silence", &[("quiet", "days_since_last_event >= 3", 50.0)]);
        silence.thresholds = vec![threshold("win-back", 50.0)];
        tenant.card(silence).await.unwrap();
        everybody.push(told(&world, tenant, 110).await);
    }
    // More than one chunk in front of the sound one.
    damage(&world, DAMAGE_BEHAVIOUR, &first, &everybody[0][..60]).await;
    damage(&world, DAMAGE_SCORES, &first, &everybody[0][60..109]).await;
    let first_due = "update subject set next_due_us = 1 where tenant_id = $1 and next_due_us > 0 \
         and (behaviour = '\\xff' or scores = '\\xff')";
    run(&world, first_due, &first).await;
    world.move_clock(DAY_ONE + 3 * DAY);
    stored(&second, &everybody[1][109], 50.0).await;
    stored(&first, &everybody[0][109], 50.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_cannot_be_scored_rests_and_is_tried_again() {
    let world = World::new().await;
    let [mut first, mut second] = tenants(&world);
    let mut everybody = Vec::new();
    for tenant in [&mut first, &mut second] {
        let mut silence = card("a", &[("quiet", "days_since_last_event >= 3", 50.0)]);
        silence.thresholds = vec![threshold("win-back", 50.0)];
        tenant.card(silence).await.unwrap();
        for model in ["m", "twin"] {
            tenant.model(policy(model, &["orders.count"])).await.unwrap();
        }
        everybody.push(told(&world, tenant, 2).await);
    }
    run(&world, DAMAGE_MODEL, &first).await;
    // On event: in one log, the damaged tenant's news first.
    let [mut ours, mut theirs] = [everybody[0][0].clone(), everybody[1][0].clone()];
    world.profile.tell(&[ours.changed(&first), theirs.changed(&second)]).await;
    second.score(&theirs).await.unwrap();
    world.move_clock(DAY_ONE + 3 * DAY);
    stored(&second, &everybody[1][1], 50.0).await;
    // The sweep too: of everybody, after a change of a scorer.
    for tenant in [&mut first, &mut second] {
        tenant.card(card("a", &[("any", "events.total > 0", 7.0)])).await.unwrap();
    }
    stored(&second, &everybody[1][1], 7.0).await;
    assert_eq!(first.stored(everybody[0][1].id).await.unwrap()[0].value, 0.0, "as it was");
    run(&world, REPAIR_MODEL, &first).await;
    stored(&first, &everybody[0][1], 7.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_passes_over_damaged_customers() {
    let world = World::new().await;
    let [mut tenant, _] = tenants(&world);
    tenant.card(card("lead", &[("any", "events.total > 0", 1.0)])).await.unwrap();
    let people = told(&world, &mut tenant, 120).await;
    let mut by_key = people.clone();
    by_key.sort_by_key(|person| (kernel::Shard::of(person.id).number(), person.id));
    damage(&world, DAMAGE_BEHAVIOUR, &tenant, &by_key[..60]).await;
    damage(&world, DAMAGE_SCORES, &tenant, &by_key[60..119]).await;
    tenant.card(card("lead", &[("any", "events.total > 0", 2.0)])).await.unwrap();
    stored(&tenant, &by_key[119], 2.0).await;
    eventually(LIMIT, "the end of the sweep", async || {
        let query = sqlx::query_scalar("select count(*) = 0 from sweep");
        query.fetch_one(world.database.pool()).await.unwrap_or(false)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_leaves_out_damaged_customers_only() {
    let world = World::new().await;
    let [mut tenant, _] = tenants(&world);
    tenant.card(card("lead", &[("any", "events.total > 0", 1.0)])).await.unwrap();
    let mut people = told(&world, &mut tenant, 600).await;
    people.sort_by_key(|person| person.id);
    // A whole page of them, and the last one.
    damage(&world, DAMAGE_SCORES, &tenant, &people[1..550]).await;
    damage(&world, DAMAGE_SCORES, &tenant, &people[599..]).await;
    let peer = Peer::new(world.endpoint.clone(), world.house.internal_tokens("routing"));
    let mut client = FeedServiceClient::new(peer.without_deadline());
    let mut answers = client.snapshot(SnapshotRequest::default()).await.unwrap().into_inner();
    let mut seen = BTreeSet::new();
    while let Some(answer) = answers.message().await.unwrap() {
        let ids = answer.entries.iter().map(|entry| Uuid::from_slice(&entry.subject).unwrap());
        seen.extend(ids);
    }
    let sound = people[..1].iter().chain(&people[550..599]);
    assert_eq!(seen, sound.map(|person| person.id).collect());
}
