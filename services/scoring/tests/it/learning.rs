//! Models: each label is learned once, in order, from what was known, whoever is killed.

use contracts::scoring::v1 as proto;
use learn::{Example, FeatureValue, Features, Model};
use server::Drain;
use testkit::eventually;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::world::{DAY, DAY_ONE, LIMIT, Person, Tenant, World, label, policy, time};

const FEATURES: [&str; 3] = ["traits.job", "traits.age", "orders.count"];

/// A use with what was known, and what came of it.
struct Case {
    id: Uuid,
    person: Person,
    job: &'static str,
    age: f64,
    positive: bool,
}

impl Case {
    fn new(number: usize) -> Self {
        let job = ["student", "clerk", "retired"][number % 3];
        let age = 20.0 + (number * 7 % 50) as f64;
        let positive = number.is_multiple_of(3) || number.is_multiple_of(7);
        let person = Person::new().with_job(job).with_age(age);
        Self { id: Uuid::now_v7(), person, job, age, positive }
    }

    /// What the model is told, by its documented words.
    fn example(&self) -> Example {
        let features = [
            ("traits.job".to_owned(), FeatureValue::Category(self.job.to_owned())),
            ("traits.age".to_owned(), FeatureValue::Number(self.age)),
            ("orders.count".to_owned(), FeatureValue::Number(0.0)),
        ];
        let features = Features::new(features).unwrap();
        Example { features, label: self.positive, weight: 1.0 }
    }
}

/// Tells of the people and uses their scores.
async fn use_all(world: &World, tenant: &mut Tenant, cases: &mut [Case]) {
    let entries: Vec<_> = cases.iter_mut().map(|case| case.person.changed(tenant)).collect();
    world.profile.tell(&entries).await;
    for case in cases {
        let request = proto::ScoreCustomerRequest {
            customer_id: case.person.id.to_string(),
            at_least_profile_version: 1,
            use_id: case.id.to_string(),
            ..Default::default()
        };
        tenant.ask(request).await.unwrap();
    }
}

async fn learned(tenant: &Tenant, model: &str, labels: i64) -> proto::Model {
    eventually(LIMIT, "the labels to be learned", async || {
        let mut tenant = Tenant { id: tenant.id, client: tenant.client.clone() };
        let progress = tenant.progress(model).await;
        if progress.labels_learned == labels { Ok(progress) } else { Err(progress) }
    })
    .await
}

async fn weights(world: &World, tenant: &Tenant, model: &str) -> Vec<u8> {
    let sql = "select weights from model_state where tenant_id = $1 and model = $2";
    let query = sqlx::query_scalar(sql).bind(tenant.id.uuid()).bind(model);
    query.fetch_one(world.database.pool()).await.unwrap()
}

fn fold<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Model {
    let mut model = Model::default();
    for case in cases {
        model.learn(&case.example());
    }
    model
}

#[tokio::test(flavor = "multi_thread")]
async fn the_weights_are_the_fold_of_the_labels_as_the_uses_knew_them() {
    let world = World::new().await;
    let mut tenant = world.tenant_with_traits().await;
    tenant.model(policy("propensity", &FEATURES)).await.unwrap();
    let mut leads_only = policy("leads", &FEATURES);
    leads_only.demand_kinds = vec!["lead".to_owned()];
    tenant.model(leads_only).await.unwrap();
    let mut cases: Vec<Case> = (0..60).map(Case::new).collect();
    use_all(&world, &mut tenant, &mut cases).await;
    // What becomes known after the use is not learned.
    let later: Vec<_> = cases
        .iter()
        .map(|case| case.person.clone().with_job("unknown").with_age(99.0).changed(&tenant))
        .collect();
    world.profile.tell(&later).await;
    let kind = |number: usize| if number.is_multiple_of(2) { "lead" } else { "renewal" };
    let mut labels: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(number, case)| label(&tenant, case.id, 1, case.positive, kind(number)))
        .collect();
    // Neither the label of a use that was never logged nor a repeat is learned.
    labels.push(label(&tenant, Uuid::now_v7(), 1, true, "lead"));
    labels.push(label(&tenant, cases[0].id, 2, cases[0].positive, "lead"));
    world.feedback.tell(&labels).await;

    let progress = learned(&tenant, "propensity", 60).await;
    assert_eq!(progress.positive_labels, cases.iter().filter(|case| case.positive).count() as i64);
    eventually(LIMIT, "nothing waits", async || {
        let mut tenant = Tenant { id: tenant.id, client: tenant.client.clone() };
        tenant.progress("propensity").await.labels_waiting == 0
    })
    .await;
    assert_eq!(weights(&world, &tenant, "propensity").await, fold(&cases).encode());
    learned(&tenant, "leads", 30).await;
    let leads: Vec<&Case> = cases.iter().step_by(2).collect();
    assert_eq!(weights(&world, &tenant, "leads").await, fold(leads).encode());

    // The next score is better for it.
    let mut next = Case::new(0);
    world.profile.tell(&[next.person.changed(&tenant)]).await;
    let score = tenant.score(&next.person).await.unwrap().remove(1);
    assert_eq!((score.scorer.as_str(), score.scorer_version), ("propensity", 60));
    let expected = fold(&cases).probability(&next.example().features);
    assert_eq!(score.probability, Some(expected));

    // A corrected outcome is another label.
    world.feedback.tell(&[label(&tenant, cases[0].id, 3, !cases[0].positive, "lead")]).await;
    learned(&tenant, "propensity", 61).await;
    let mut model = fold(&cases);
    model.learn(&Example { label: !cases[0].positive, ..cases[0].example() });
    assert_eq!(weights(&world, &tenant, "propensity").await, model.encode());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_model_stays_as_it_is_and_catches_up_when_it_learns_again() {
    let world = World::new().await;
    let mut tenant = world.tenant_with_traits().await;
    let mut frozen = policy("m", &FEATURES);
    frozen.learning = proto::LearningMode::Frozen.into();
    tenant.model(frozen).await.unwrap();
    tenant.model(policy("twin", &FEATURES)).await.unwrap();
    let mut cases: Vec<Case> = (0..10).map(Case::new).collect();
    use_all(&world, &mut tenant, &mut cases).await;
    let labels: Vec<_> =
        cases.iter().map(|case| label(&tenant, case.id, 1, case.positive, "lead")).collect();
    world.feedback.tell(&labels).await;
    learned(&tenant, "twin", 10).await;
    let progress = tenant.progress("m").await;
    assert_eq!((progress.labels_learned, progress.labels_waiting), (0, 10));
    tenant.model(policy("m", &FEATURES)).await.unwrap();
    learned(&tenant, "m", 10).await;
    assert_eq!(weights(&world, &tenant, "m").await, fold(&cases).encode());

    // A deleted model has forgotten; made again, it is the fold of the same log.
    let delete = proto::DeleteModelPolicyRequest { name: "m".to_owned(), ..Default::default() };
    tenant.client.delete_model_policy(delete).await.unwrap();
    tenant.model(policy("m", &FEATURES)).await.unwrap();
    learned(&tenant, "m", 10).await;
    assert_eq!(weights(&world, &tenant, "m").await, fold(&cases).encode());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_keeps_when_it_was_read_beside_what_it_is_as_of() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    tenant.model(policy("m", &["orders.count"])).await.unwrap();
    let mut person = Person::new().did("A", DAY_ONE);
    world.profile.tell(&[person.changed(&tenant)]).await;
    let as_of_us = DAY_ONE - 30 * DAY;
    let id = Uuid::now_v7();
    // A repeat changes nothing.
    for now_us in [DAY_ONE + 7, DAY_ONE + DAY] {
        world.move_clock(now_us);
        let request = proto::ScoreCustomerRequest {
            customer_id: person.id.to_string(),
            at_least_profile_version: 1,
            use_id: id.to_string(),
            as_of_time: Some(time(as_of_us)),
            ..Default::default()
        };
        let scores = tenant.ask(request).await.unwrap();
        assert_eq!(scores[0].as_of_time, Some(time(as_of_us)));
    }
    let sql = "select as_of_us, read_us from feature_log where use_id = $1";
    let query = sqlx::query_as(sql).bind(id);
    let kept: (i64, i64) = query.fetch_one(world.database.pool()).await.unwrap();
    assert_eq!(kept, (as_of_us, DAY_ONE + 7));
}

/// A replica in a runtime of its own, to be killed.
struct Victim(Option<tokio::runtime::Runtime>);

impl Victim {
    async fn start(world: &World) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let settings = server::settings::Server::load(&[]).unwrap();
        let drain = Drain::new(CancellationToken::new(), TaskTracker::new(), &settings);
        // A pool of its own: its connections die with the runtime that drives them.
        let url = world.url();
        let (keys, peers) = (world.house.keys.clone(), world.peers());
        let build = async move {
            let options = store::database::Options::new(url, "victim");
            let deps = scoring::Deps {
                database: store::Database::connect(&options).await.unwrap(),
                keys,
                cache: store::Cache::disabled(),
                drain,
                peers,
            };
            let mut registry = prometheus_client::registry::Registry::default();
            let lines = "learner_batch = 2\nlearner_lease_ms = 1000";
            scoring::build(crate::world::config(lines), deps, &mut registry).await.unwrap()
        };
        runtime.spawn(build).await.unwrap();
        Self(Some(runtime))
    }

    /// No drain, nothing given back.
    fn kill(mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_killed_between_batches_leaves_the_weights_of_an_uninterrupted_fold() {
    let world = World::new().await;
    let mut tenant = world.tenant_with_traits().await;
    let mut frozen = policy("m", &FEATURES);
    frozen.learning = proto::LearningMode::Frozen.into();
    tenant.model(frozen).await.unwrap();
    let mut cases: Vec<Case> = (0..150).map(Case::new).collect();
    use_all(&world, &mut tenant, &mut cases).await;
    let labels: Vec<_> =
        cases.iter().map(|case| label(&tenant, case.id, 1, case.positive, "lead")).collect();
    world.feedback.tell(&labels).await;
    eventually(LIMIT, "the labels in the log", async || {
        let mut tenant = Tenant { id: tenant.id, client: tenant.client.clone() };
        tenant.progress("m").await.labels_waiting == 150
    })
    .await;
    // The first replica ends; from now on only victims learn.
    world.house.drain.token().cancel();
    world.house.drain.tracker().close();
    world.house.drain.tracker().wait().await;
    let learn = "update model_state set learning = true where tenant_id = $1";
    sqlx::query(learn).bind(tenant.id.uuid()).execute(world.database.pool()).await.unwrap();
    let position = async || -> i64 {
        let sql = "select position from model_state where tenant_id = $1";
        let query = sqlx::query_scalar(sql).bind(tenant.id.uuid());
        query.fetch_one(world.database.pool()).await.unwrap()
    };
    let mut seen = 0;
    for _ in 0..3 {
        let victim = Victim::start(&world).await;
        eventually(LIMIT, "some progress", async || position().await > seen).await;
        victim.kill();
        seen = position().await;
    }
    assert!(seen > 0 && seen < 150, "killed in between: {seen}");
    let _heir = Victim::start(&world).await;
    eventually(LIMIT, "the end of the log", async || position().await == 150).await;
    let expected = fold(&cases);
    assert_eq!(weights(&world, &tenant, "m").await, expected.encode());
}
