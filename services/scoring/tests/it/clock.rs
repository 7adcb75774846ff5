//! Scores that change because time passes.

use crate::world::{DAY, DAY_ONE, Person, World, card, threshold};

#[tokio::test(flavor = "multi_thread")]
async fn decay_below_a_threshold_and_silence_above_one_fire_by_the_clock() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    let mut interest = card("interest", &[("pricing", "true", 40.0)]);
    interest.rules[0].half_life = Some(prost_types::Duration { seconds: 7 * 86_400, nanos: 0 });
    interest.rules[0].decay_since = "events[\"Pricing Viewed\"].days_since_last".to_owned();
    interest.thresholds = vec![threshold("warm", 20.0), threshold("hot", 35.0)];
    let mut silence = card("silence", &[("quiet", "days_since_last_event >= 60", 50.0)]);
    silence.thresholds = vec![threshold("win-back", 50.0)];
    tenant.card(interest).await.unwrap();
    tenant.card(silence).await.unwrap();
    let mut changes = world.listen().await;
    let mut person = Person::new().did("Pricing Viewed", DAY_ONE + 3_600_000_000);
    world.move_clock(DAY_ONE + 7_200_000_000);
    world.profile.tell(&[person.changed(&tenant)]).await;
    let grades = |told: &contracts::scoring::v1::ScoreChanged| {
        [told.scores[0].grade.clone(), told.scores[1].grade.clone()]
    };
    let (_, _, told) = changes.next().await;
    assert_eq!(grades(&told), ["hot", ""]);

    // Only whole days count: 40 · 2^(−2/7) = 32.8 is below 35 from the second midnight on.
    world.move_clock(DAY_ONE + 2 * DAY - 1);
    assert_eq!(tenant.score(&person).await.unwrap()[0].grade, "hot");
    world.move_clock(DAY_ONE + 2 * DAY);
    let (id, version, told) = changes.next().await;
    assert_eq!((id, version), (person.id, 2));
    assert_eq!(grades(&told), ["warm", ""]);
    assert!(told.scores[0].crossed_up.is_empty());

    // A threshold itself is reached: 40 / 2 is warm, one day later it is not.
    world.move_clock(DAY_ONE + 8 * DAY);
    assert_eq!(grades(&changes.next().await.2), ["", ""]);
    world.move_clock(DAY_ONE + 60 * DAY);
    let (_, version, told) = changes.next().await;
    assert_eq!((version, grades(&told)), (4, [String::new(), "win-back".to_owned()]));
    assert_eq!((told.scores[1].reached[0].since_version, told.scores[1].crossed_up.len()), (4, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_silence_crosses_upwards_once() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    let mut silence = card("silence", &[("quiet", "days_since_last_event >= 100", 50.0)]);
    silence.thresholds = vec![threshold("win-back", 50.0)];
    tenant.card(silence).await.unwrap();
    let mut changes = world.listen().await;
    let mut person = Person::new().did("A", DAY_ONE);
    world.profile.tell(&[person.changed(&tenant)]).await;
    assert_eq!(changes.next().await.2.scores[0].value, 0.0);
    // Further ahead than one search looks: the clock goes on from where it stopped.
    world.move_clock(DAY_ONE + 100 * DAY);
    let (_, version, told) = changes.next().await;
    assert_eq!((version, told.scores[0].reached[0].since_version), (2, 2));
    assert_eq!(told.scores[0].crossed_up, ["win-back"]);
    assert_eq!(tenant.stored(person.id).await.unwrap()[0].grade, "win-back");
}
