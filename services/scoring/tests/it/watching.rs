//! WatchScores: from now on, from a token, for some customers.

use contracts::scoring::v1 as proto;
use tonic::Streaming;

use crate::world::{DAY_ONE, LIMIT, Person, Tenant, World, card, complaints};

async fn watch(
    tenant: &mut Tenant,
    resume_token: &str,
    customers: &[&Person],
) -> Streaming<proto::WatchScoresResponse> {
    let request = proto::WatchScoresRequest {
        resume_token: resume_token.to_owned(),
        customer_ids: customers.iter().map(|person| person.id.to_string()).collect(),
    };
    tenant.client.watch_scores(request).await.unwrap().into_inner()
}

/// The next change and the token after it.
async fn next(stream: &mut Streaming<proto::WatchScoresResponse>) -> (proto::ScoreChange, String) {
    loop {
        let answer = tokio::time::timeout(LIMIT, stream.message()).await.unwrap().unwrap().unwrap();
        if let Some(change) = answer.change {
            return (change, answer.resume_token);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_resumed_where_it_ended_and_shows_one_tenant() {
    let world = World::new().await;
    let (mut tenant, mut stranger) = (world.tenant(), world.tenant());
    for tenant in [&mut tenant, &mut stranger] {
        tenant.card(card("lead", &[("any", "events.total > 0", 1.0)])).await.unwrap();
    }
    let mut all = watch(&mut tenant, "", &[]).await;
    let mut people: Vec<Person> = (0..3).map(|_| Person::new().did("A", DAY_ONE)).collect();
    let mut foreign = Person::new().did("A", DAY_ONE);
    world.profile.tell(&[foreign.changed(&stranger)]).await;
    for person in &mut people {
        world.profile.tell(&[person.changed(&tenant)]).await;
    }
    let (first, token) = next(&mut all).await;
    assert_eq!(first.scores[0].value, 1.0);
    drop(all);
    let mut resumed = watch(&mut tenant, &token, &[]).await;
    let mut seen = vec![first.customer_id];
    for _ in 1..people.len() {
        seen.push(next(&mut resumed).await.0.customer_id);
    }
    seen.sort_unstable();
    let mut expected: Vec<String> = people.iter().map(|person| person.id.to_string()).collect();
    expected.sort_unstable();
    assert_eq!(seen, expected, "each once, and nobody of another tenant");

    let mut one = watch(&mut tenant, "", &[&people[2]]).await;
    tenant.card(card("lead", &[("any", "events.total > 0", 2.0)])).await.unwrap();
    let (change, token) = next(&mut one).await;
    assert_eq!((change.customer_id, change.scores[0].value), (people[2].id.to_string(), 2.0));
    // A token belongs to its tenant and to its filter.
    for (thief, customers) in
        [(&mut stranger, vec![people[2].id.to_string()]), (&mut tenant, vec![])]
    {
        let request =
            proto::WatchScoresRequest { resume_token: token.clone(), customer_ids: customers };
        let refused = thief.client.watch_scores(request).await.unwrap_err();
        assert_eq!(complaints(&refused)[0].0, "resume_token");
    }
}
