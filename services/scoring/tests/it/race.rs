//! Who scores on event, by the clock and after a change of a scorer meet at the same rows.

use std::collections::BTreeMap;

use testkit::eventually;

use crate::world::{DAY_ONE, LIMIT, Person, World, card};

const PEOPLE: usize = 120;
const ROUNDS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn events_and_sweeps_that_meet_lose_nothing_and_tell_each_version_once() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    let points = |round: usize| card("lead", &[("any", "events.total > 0", 1.0 + round as f64)]);
    tenant.card(points(0)).await.unwrap();
    let mut people: Vec<Person> = (0..PEOPLE).map(|_| Person::new()).collect();
    for round in 1..=ROUNDS {
        // A sweep over everybody, and news of everybody in the middle of it.
        tenant.card(points(round)).await.unwrap();
        for person in &mut people {
            *person = person.clone().did("A", DAY_ONE + round as i64);
        }
        let news: Vec<_> = people.iter_mut().map(|person| person.changed(&tenant)).collect();
        for part in news.chunks(17) {
            world.profile.tell(part).await;
        }
    }
    for person in &people {
        let expected = (1.0 + ROUNDS as f64, person.version);
        eventually(LIMIT, "the last score", async || {
            let mut tenant = world.tenant_with(tenant.id);
            let scores = tenant.stored(person.id).await.unwrap_or_default();
            let found = scores.first().map(|score| (score.value, score.profile_version));
            if found == Some(expected) { Ok(()) } else { Err(found) }
        })
        .await;
    }
    // What was told: versions of a customer without a gap, none twice, the last one the truth.
    let sql = "select subject, version from feed order by seq";
    let told: Vec<(uuid::Uuid, i64)> =
        sqlx::query_as(sql).fetch_all(world.database.pool()).await.unwrap();
    let mut last: BTreeMap<uuid::Uuid, i64> = BTreeMap::new();
    for (subject, version) in told {
        let before = last.insert(subject, version).unwrap_or(0);
        assert_eq!(version, before + 1, "of {subject}");
    }
    assert_eq!(last.len(), PEOPLE);
}
