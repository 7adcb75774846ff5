//! ScoreCustomer, BatchScore, GetScores, ExplainScore.

use contracts::scoring::v1 as proto;
use contracts::scoring::v1::explain_score_request::Subject;
use testkit::eventually;
use tonic::Code;
use uuid::Uuid;

use crate::world::{
    DAY, DAY_ONE, LIMIT, Person, World, card, complaints, declared, policy, threshold, time,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_changes_the_score_and_the_feed_tells_of_it() {
    let world = World::new().await;
    let mut tenant = world.tenant_with_traits().await;
    let mut hot = card("lead", &[("student", "traits.job == \"student\"", 30.0)]);
    hot.base_points = 10.0;
    hot.thresholds = vec![threshold("hot", 40.0), threshold("warm", 10.0)];
    tenant.card(hot).await.unwrap();
    let mut changes = world.listen().await;

    let mut person = Person::new().did("Page Viewed", DAY_ONE);
    world.profile.tell(&[person.changed(&tenant)]).await;
    let (id, version, told) = changes.next().await;
    assert_eq!((id, version, told.profile_version), (person.id, 1, 1));
    assert_eq!((told.scores[0].value, told.scores[0].grade.as_str()), (10.0, "warm"));
    assert_eq!(told.scores[0].crossed_up, ["warm"]);

    // Nothing of the score changes: nothing is told.
    person = person.did("Page Viewed", DAY_ONE + 1);
    world.profile.tell(&[person.changed(&tenant)]).await;
    tenant.score(&person).await.unwrap();
    person = person.with_job("student");
    world.profile.tell(&[person.changed(&tenant)]).await;
    let (_, version, told) = changes.next().await;
    assert_eq!((version, told.profile_version, told.scores[0].value), (2, 3, 40.0));
    let since = told.scores[0].reached.iter().map(|one| (one.name.as_str(), one.since_version));
    assert_eq!(since.collect::<Vec<_>>(), [("warm", 1), ("hot", 2)]);
    assert_eq!(told.scores[0].crossed_up, ["hot"]);

    let stored = tenant.stored(person.id).await.unwrap();
    assert_eq!(
        (stored[0].value, stored[0].grade.as_str(), stored[0].profile_version),
        (40.0, "hot", 3)
    );
    assert_eq!(stored[0].top_reasons[0].name, "student");
    let fresh = tenant.score(&person).await.unwrap();
    assert_eq!(fresh, stored, "stored and fresh are the same at the same instant");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_never_replaces_a_newer_one() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    tenant.card(card("count", &[("two", "events.total >= 2", 1.0)])).await.unwrap();
    let mut person = Person::new().did("A", DAY_ONE);
    let first = person.changed(&tenant);
    person = person.did("A", DAY_ONE + 1);
    let second = person.changed(&tenant);
    world.profile.tell(&[second, first]).await;
    let mut marker = Person::new().did("A", DAY_ONE);
    world.profile.tell(&[marker.changed(&tenant)]).await;
    tenant.score(&marker).await.unwrap();
    let scores = tenant.stored(person.id).await.unwrap();
    assert_eq!((scores[0].value, scores[0].profile_version), (1.0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_is_answered_once_and_for_ever() {
    let world = World::new().await;
    let mut tenant = world.tenant_with_traits().await;
    tenant.card(card("lead", &[("student", "traits.job == \"student\"", 30.0)])).await.unwrap();
    tenant.model(policy("propensity", &["traits.job", "events.total"])).await.unwrap();
    let mut person = Person::new().with_job("student");
    world.profile.tell(&[person.changed(&tenant)]).await;
    let id = Uuid::now_v7();
    let request = proto::ScoreCustomerRequest {
        customer_id: person.id.to_string(),
        at_least_profile_version: 1,
        as_of_time: Some(time(DAY_ONE + DAY)),
        use_id: id.to_string(),
        ..Default::default()
    };
    let first = tenant.ask(request.clone()).await.unwrap();
    assert_eq!(first.len(), 2);
    assert_eq!((first[0].value, first[0].as_of_time), (30.0, Some(time(DAY_ONE + DAY))));
    assert_eq!((first[1].value, first[1].probability), (50.0, Some(0.5)));

    person = person.with_job("clerk");
    world.profile.tell(&[person.changed(&tenant)]).await;
    assert_eq!(tenant.score(&person).await.unwrap()[0].value, 0.0);
    assert_eq!(tenant.ask(request.clone()).await.unwrap(), first, "a repeat");
    let calls = (0..8).map(|_| {
        let (mut client, request) = (tenant.client.clone(), request.clone());
        async move { client.score_customer(request).await.unwrap().into_inner().scores }
    });
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer, first, "concurrent repeats");
    }

    let mut other = Person::new().with_job("clerk");
    world.profile.tell(&[other.changed(&tenant)]).await;
    let stolen = proto::ScoreCustomerRequest { customer_id: other.id.to_string(), ..request };
    let refused = tenant.ask(stolen).await.unwrap_err();
    assert_eq!(complaints(&refused)[0].0, "use_id");

    // The account of the use says what was known then.
    let explain = proto::ExplainScoreRequest {
        scorer: "lead".to_owned(),
        subject: Some(Subject::UseId(id.to_string())),
        as_of_time: None,
    };
    let account = tenant.client.explain_score(explain).await.unwrap().into_inner();
    assert_eq!(account.total, 30.0);
    assert_eq!(account.contributions.len(), 1);
    assert_eq!(account.features.len(), 1);
    assert_eq!(account.features[0].name, "traits.job");
    let value = account.features[0].value.clone().unwrap().kind.unwrap();
    let student = contracts::common::v1::trait_value::Kind::StringValue("student".to_owned());
    assert_eq!(value, student);
}

#[tokio::test(flavor = "multi_thread")]
async fn explanations_add_up_to_the_last_bit() {
    let world = World::new().await;
    let mut tenant = world.tenant_with_traits().await;
    let mut rules = card(
        "lead",
        &[
            ("job", "traits.job == \"student\"", 10.1),
            ("age", "traits.age > 20", 20.2),
            ("visits", "events.total > 1", -0.3),
        ],
    );
    rules.base_points = 0.1;
    rules.rules[0].group = "who".to_owned();
    rules.rules[1].group = "who".to_owned();
    let group =
        proto::ScoreGroup { name: "who".to_owned(), max_points: Some(25.0), min_points: None };
    rules.groups = vec![group];
    tenant.card(rules).await.unwrap();
    let mut person = Person::new().with_job("student").with_age(31.0).did("A", DAY_ONE);
    world.profile.tell(&[person.changed(&tenant)]).await;
    let score = tenant.score(&person).await.unwrap().remove(0);
    let explain = proto::ExplainScoreRequest {
        scorer: "lead".to_owned(),
        subject: Some(Subject::CustomerId(person.id.to_string())),
        as_of_time: None,
    };
    let account = tenant.client.explain_score(explain).await.unwrap().into_inner();
    let names: Vec<_> = account.contributions.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["(base)", "job", "age", "visits", "cap:who"]);
    let sum = account.contributions.iter().fold(0.0, |sum, part| sum + part.amount);
    assert_eq!(sum.to_bits(), account.total.to_bits());
    assert_eq!(score.value.to_bits(), account.total.to_bits());
    assert!((account.total - 24.8).abs() < 1e-8);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_foreign_customers_are_absent_alike() {
    let world = World::new().await;
    let (mut owner, mut stranger) = (world.tenant(), world.tenant());
    for tenant in [&mut owner, &mut stranger] {
        tenant.card(card("lead", &[("any", "events.total > 0", 1.0)])).await.unwrap();
    }
    let mut person = Person::new().did("A", DAY_ONE);
    world.profile.tell(&[person.changed(&owner)]).await;
    owner.score(&person).await.unwrap();
    let ask = |id: Uuid| proto::ScoreCustomerRequest {
        customer_id: id.to_string(),
        ..Default::default()
    };
    let foreign = stranger.ask(ask(person.id)).await.unwrap_err();
    let absent = stranger.ask(ask(Uuid::now_v7())).await.unwrap_err();
    assert_eq!((foreign.code(), foreign.message()), (Code::NotFound, absent.message()));
    let stored = stranger.stored(person.id).await.unwrap_err();
    assert_eq!((stored.code(), stored.message()), (Code::NotFound, absent.message()));
    let batch = proto::BatchScoreRequest {
        customer_ids: vec![person.id.to_string()],
        ..Default::default()
    };
    assert!(stranger.client.batch_score(batch).await.unwrap().into_inner().scores.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_arrive_is_late_and_one_that_arrives_is_waited_for() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    tenant.card(card("lead", &[("any", "events.total > 0", 1.0)])).await.unwrap();
    let mut person = Person::new().did("A", DAY_ONE);
    let entry = person.changed(&tenant);
    let mut late = tonic::Request::new(proto::ScoreCustomerRequest {
        customer_id: person.id.to_string(),
        at_least_profile_version: 1,
        ..Default::default()
    });
    late.set_timeout(std::time::Duration::from_millis(50));
    let call = server::Call::background(tenant.id).within(std::time::Duration::from_millis(50));
    let peer = world.house.peer(&world.endpoint, tenant.id).during(&call);
    let mut client = proto::scoring_service_client::ScoringServiceClient::new(peer);
    let refused = client.score_customer(late).await.unwrap_err();
    assert_eq!(refused.code(), Code::DeadlineExceeded);
    let (scores, ()) = tokio::join!(tenant.score(&person), async {
        tokio::task::yield_now().await;
        world.profile.tell(&[entry]).await;
    });
    assert_eq!(scores.unwrap()[0].value, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_id_leads_to_its_customer_and_back_after_a_split() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    tenant.card(card("lead", &[("two", "events.total >= 2", 5.0)])).await.unwrap();
    let mut changes = world.listen().await;
    let (mut older, mut younger) =
        (Person::new().did("A", DAY_ONE), Person::new().did("B", DAY_ONE));
    world.profile.tell(&[older.changed(&tenant), younger.changed(&tenant)]).await;
    tenant.score(&younger).await.unwrap();
    let alone = older.clone();
    older.behaviour.merge(&younger.behaviour);
    let merged = [older.changed(&tenant), younger.redirected(&tenant, older.id, 1)];
    world.profile.tell(&merged).await;
    tenant.score(&older).await.unwrap();
    let followed = eventually(LIMIT, "the redirect", async || {
        let mut client = tenant.client.clone();
        let request = proto::GetScoresRequest { customer_id: younger.id.to_string() };
        let scores = client.get_scores(request).await.unwrap().into_inner().scores;
        scores.into_iter().find(|score| score.customer_id == older.id.to_string())
    })
    .await;
    assert_eq!(followed.value, 5.0);
    let batch = proto::BatchScoreRequest {
        customer_ids: [younger.id, Uuid::now_v7(), older.id].map(|id| id.to_string()).to_vec(),
        ..Default::default()
    };
    let scores = tenant.client.batch_score(batch).await.unwrap().into_inner().scores;
    assert_eq!(scores, [followed.clone(), followed]);

    let mut back = alone;
    back.version = older.version;
    let split = [
        back.changed(&tenant),
        younger.changed(&tenant),
        younger.redirected(&tenant, younger.id, 2),
    ];
    world.profile.tell(&split).await;
    let score = tenant.score(&younger).await.unwrap().remove(0);
    tenant.score(&back).await.unwrap();
    assert_eq!((score.customer_id, score.value), (younger.id.to_string(), 0.0));
    assert_eq!(tenant.stored(back.id).await.unwrap()[0].value, 0.0);
    // A redirected customer has no scores of its own, and the feed says so.
    let mut empties = 0;
    for _ in 0..6 {
        let (id, _, told) = changes.next().await;
        empties += usize::from(id == younger.id && told.scores.is_empty());
    }
    assert_eq!(empties, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_profile_parks_its_customer_only() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    tenant.card(card("lead", &[("any", "events.total > 0", 1.0)])).await.unwrap();
    let (mut bad, mut good) = (Person::new(), Person::new().did("A", DAY_ONE));
    let mut poison = bad.changed(&tenant);
    poison.data = bytes::Bytes::from_static(b"\x0a\x02\xff\xff");
    world.profile.tell(&[poison, good.changed(&tenant)]).await;
    assert_eq!(tenant.score(&good).await.unwrap()[0].value, 1.0);
    let parked = feed::dead_letter::count(&world.database, "scoring.profile").await.unwrap();
    assert_eq!(parked, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trait_that_becomes_personal_is_no_feature_any_more() {
    let world = World::new().await;
    let mut tenant = world.tenant_with_traits().await;
    tenant.card(card("lead", &[("student", "traits.job == \"student\"", 30.0)])).await.unwrap();
    let mut person = Person::new().with_job("student");
    world.profile.tell(&[person.changed(&tenant)]).await;
    assert_eq!(tenant.score(&person).await.unwrap()[0].value, 30.0);
    world.profile.tell(&[declared(&tenant, "job", 1, true, 2)]).await;
    eventually(LIMIT, "the stored score without the trait", async || {
        let request = proto::GetScoresRequest { customer_id: person.id.to_string() };
        let scores = tenant.client.clone().get_scores(request).await.unwrap().into_inner().scores;
        scores[0].value == 0.0
    })
    .await;
    assert_eq!(tenant.score(&person).await.unwrap()[0].value, 0.0);
}
