//! Scorecards and model policies: checks, versions, and what a change does to customers.

use contracts::profile::v1::{TraitDefinition, TraitType};
use contracts::scoring::v1 as proto;
use testkit::eventually;
use tonic::Code;

use crate::world::{DAY_ONE, LIMIT, Person, World, card, complaints, policy, threshold};

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_trait_is_named_with_place_and_suggestion() {
    let world = World::new().await;
    let mut tenant = world.tenant_with_traits().await;
    let mut bad = card(
        "lead",
        &[
            ("good", "traits.job == \"student\"", 1.0),
            ("good", "traits.age > 3 && traits.jobb == \"x\"", f64::NAN),
            ("personal", "has(traits.secret)", 1.0),
        ],
    );
    bad.rules[0].group = "nowhere".to_owned();
    bad.rules[0].decay_since = "events[\"A\"].days_since_last".to_owned();
    bad.rules[2].half_life = Some(prost_types::Duration { seconds: 86_400, nanos: 0 });
    bad.rules[2].decay_since = "events.total".to_owned();
    bad.thresholds = vec![threshold("", f64::INFINITY)];
    bad.name = "Bad Name".to_owned();
    let refused = tenant.card(bad).await.unwrap_err();
    let complaints = complaints(&refused);
    let fields: Vec<&str> = complaints.iter().map(|(field, _)| field.as_str()).collect();
    let expected = [
        "scorecard.name",
        "scorecard.rules[0].group",
        "scorecard.rules[0].half_life",
        "scorecard.rules[1].points",
        "scorecard.rules[1].when",
        "scorecard.rules[1].name",
        "scorecard.rules[2].when",
        "scorecard.rules[2].decay_since",
        "scorecard.thresholds[0].name",
        "scorecard.thresholds[0].value",
    ];
    assert_eq!(fields, expected, "{complaints:#?}");
    let place = &complaints[4].1;
    assert!(place.starts_with("1:19:") && place.contains("did you mean `traits.job`"), "{place}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_takes_traits_as_declared_that_come_with_it() {
    let world = World::new().await;
    let mut tenant = world.tenant_with_traits().await;
    let assumed = |name: &str, kind: TraitType, personal| TraitDefinition {
        name: name.to_owned(),
        r#type: kind.into(),
        personal,
        ..Default::default()
    };
    let rules = [
        ("new", "traits.plan > 3.0", 1.0),
        ("old", "traits.job == \"x\"", 1.0),
        ("same", "traits.age > 3.0", 1.0),
    ];
    let mut request = proto::UpsertScorecardRequest {
        scorecard: Some(card("lead", &rules)),
        validate_only: true,
        assumed_traits: vec![
            assumed("plan", TraitType::Number, false),
            assumed("job", TraitType::String, true),
        ],
        ..Default::default()
    };
    let refused = tenant.client.upsert_scorecard(request.clone()).await.unwrap_err();
    let fields: Vec<String> = complaints(&refused).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["scorecard.rules[1].when"], "it would be personal: {refused:?}");
    request.assumed_traits.pop();
    tenant.client.upsert_scorecard(request.clone()).await.unwrap();
    request.validate_only = false;
    let refused = tenant.client.upsert_scorecard(request).await.unwrap_err();
    assert_eq!(complaints(&refused)[0].0, "assumed_traits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_models_features_are_checked_too() {
    let world = World::new().await;
    let mut tenant = world.tenant_with_traits().await;
    let mut bad =
        policy("m", &["traits.jb", "orders.cuont", "traits.secret", "traits.age", "traits.age"]);
    bad.learning = proto::LearningMode::Unspecified.into();
    let refused = tenant.model(bad).await.unwrap_err();
    let complaints = complaints(&refused);
    let fields: Vec<&str> = complaints.iter().map(|(field, _)| field.as_str()).collect();
    let expected = [
        "policy.learning",
        "policy.features[0]",
        "policy.features[1]",
        "policy.features[2]",
        "policy.features[4]",
    ];
    assert_eq!(fields, expected, "{complaints:#?}");
    assert!(complaints[1].1.contains("`traits.job`"), "{complaints:#?}");
    assert!(complaints[2].1.contains("`orders.count`"), "{complaints:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_scorer_scores_everybody_again() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    let mut people: Vec<Person> = (0..120).map(|_| Person::new().did("A", DAY_ONE)).collect();
    let entries: Vec<_> = people.iter_mut().map(|person| person.changed(&tenant)).collect();
    world.profile.tell(&entries).await;
    for points in [1.0, 2.0] {
        tenant.card(card("lead", &[("any", "events.total > 0", points)])).await.unwrap();
        let asked = people.iter().map(|person| person.id);
        let fresh = tenant.score(&people[0]).await.unwrap();
        assert_eq!(fresh[0].value, points, "a read sees the change at once");
        for id in asked {
            eventually(LIMIT, "the stored score by the new rules", async || {
                let request = proto::GetScoresRequest { customer_id: id.to_string() };
                let answer = tenant.client.clone().get_scores(request).await;
                let score = answer.ok()?.into_inner().scores.into_iter().next()?;
                (score.value == points).then_some(())
            })
            .await;
        }
    }
    let delete = proto::DeleteScorecardRequest { name: "lead".to_owned(), ..Default::default() };
    tenant.client.delete_scorecard(delete.clone()).await.unwrap();
    tenant.client.delete_scorecard(delete).await.unwrap();
    let mut changes = world.listen().await;
    let mut empty = 0;
    while empty < people.len() {
        let (_, version, told) = changes.next().await;
        if told.scores.is_empty() {
            assert_eq!(version, 3);
            empty += 1;
        }
    }
    let sweeps = "select count(*) from sweep";
    eventually(LIMIT, "the end of the sweep", async || {
        let left: i64 = sqlx::query_scalar(sweeps).fetch_one(world.database.pool()).await.unwrap();
        left == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scorers_have_versions_etags_and_one_name_space() {
    let world = World::new().await;
    let mut tenant = world.tenant_with_traits().await;
    let first = tenant.card(card("a", &[("any", "events.total > 0", 1.0)])).await.unwrap();
    let meta = first.meta.clone().unwrap();
    assert_eq!(meta.version, 1);
    let same = tenant.card(card("a", &[("any", "events.total > 0", 1.0)])).await.unwrap();
    assert_eq!(same, first, "the same body again changes nothing");

    let mut second = card("a", &[("any", "events.total > 0", 2.0)]);
    second.rules[0].half_life = Some(prost_types::Duration { seconds: 604_800, nanos: 0 });
    second.rules[0].decay_since = "days_since_last_event".to_owned();
    let mut request = proto::UpsertScorecardRequest {
        scorecard: Some(second.clone()),
        etag: "other".to_owned(),
        ..Default::default()
    };
    let refused = tenant.client.upsert_scorecard(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    request.etag = meta.etag;
    request.validate_only = true;
    let answer = tenant.client.upsert_scorecard(request.clone()).await.unwrap().into_inner();
    assert_eq!(answer.scorecard.unwrap().meta.unwrap().version, 2);
    let get = proto::GetScorecardRequest { name: "a".to_owned() };
    let kept = tenant.client.get_scorecard(get.clone()).await.unwrap().into_inner().scorecard;
    assert_eq!(kept.unwrap(), first, "only checked");
    request.validate_only = false;
    let saved = tenant.client.upsert_scorecard(request).await.unwrap().into_inner().scorecard;
    let kept = tenant.client.get_scorecard(get.clone()).await.unwrap().into_inner().scorecard;
    assert_eq!(kept, saved);
    assert_eq!(kept.unwrap().rules, second.rules);

    let taken = tenant.model(policy("a", &["traits.age"])).await.unwrap_err();
    assert_eq!(complaints(&taken)[0].0, "policy.name");
    let foreign = world.tenant().client.get_scorecard(get).await.unwrap_err();
    assert_eq!(foreign.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged_by_name() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    for name in ["c", "a", "b"] {
        tenant.card(card(name, &[])).await.unwrap();
    }
    let mut names = Vec::new();
    let mut request = proto::ListScorecardsRequest { page_size: 2, ..Default::default() };
    loop {
        let page = tenant.client.list_scorecards(request.clone()).await.unwrap().into_inner();
        names.extend(page.scorecards.into_iter().map(|card| card.name));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(names, ["a", "b", "c"]);
    let stolen = world.tenant().client.list_scorecards(request).await.unwrap_err();
    assert_eq!(complaints(&stolen)[0].0, "page_token");
}
