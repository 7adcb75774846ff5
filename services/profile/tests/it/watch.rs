//! Watching profiles, and what other services read of the log.

use contracts::feed::v1::SnapshotRequest;
use contracts::feed::v1::feed_service_client::FeedServiceClient;
use contracts::profile::v1 as wire;
use contracts::profile::v1::watch_profiles_response::Change;
use prost::Message;
use tonic::{Code, Streaming};

use crate::world::{BASE_US, Client, LIMIT, World, track};

async fn watch(
    client: &mut Client,
    resume_token: &str,
    customer_ids: Vec<String>,
) -> Streaming<wire::WatchProfilesResponse> {
    let request =
        wire::WatchProfilesRequest { resume_token: resume_token.to_owned(), customer_ids };
    client.profile.watch_profiles(request).await.unwrap().into_inner()
}

/// The next change of a profile: its version and the token after it.
async fn next(stream: &mut Streaming<wire::WatchProfilesResponse>) -> (i64, String) {
    loop {
        let answer = tokio::time::timeout(LIMIT, stream.message()).await.unwrap();
        let answer = answer.unwrap().unwrap();
        if let Some(Change::Profile(change)) = answer.change {
            return (change.version, answer.resume_token);
        }
    }
}

#[tokio::test]
async fn a_watch_goes_on_where_it_ended() {
    let world = World::new().await;
    let (mut client, mut foreign) = (world.tenant(), world.tenant());
    let mut stream = watch(&mut client, "", Vec::new()).await;
    client.take(track(1, "m-1", "Signed In", BASE_US)).await;
    foreign.take(track(1, "m-1", "Signed In", BASE_US)).await;
    let taken = client.take(track(1, "m-2", "Signed In", BASE_US)).await;
    let (version, token) = next(&mut stream).await;
    assert_eq!(version, 1);
    drop(stream);
    client.take(track(2, "m-3", "Signed In", BASE_US)).await;
    client.take(track(1, "m-4", "Signed In", BASE_US)).await;

    let mut resumed = watch(&mut client, &token, Vec::new()).await;
    let versions = [next(&mut resumed).await.0, next(&mut resumed).await.0];
    assert_eq!(versions, [2, 1]);
    assert_eq!(next(&mut resumed).await.0, 3);

    let mut narrow = watch(&mut client, "", vec![taken.customer_id]).await;
    client.take(track(2, "m-5", "Signed In", BASE_US)).await;
    client.take(track(1, "m-6", "Signed In", BASE_US)).await;
    assert_eq!(next(&mut narrow).await.0, 4);

    let stolen = wire::WatchProfilesRequest { resume_token: token, customer_ids: Vec::new() };
    let status = foreign.profile.watch_profiles(stolen).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_snapshot_has_every_profile_redirect_and_trait() {
    let world = World::new().await;
    let mut client = world.tenant();
    let persons = 12;
    let events = (0..persons).map(|n| track(n, &format!("m-{n}"), "Signed In", BASE_US));
    client.ingest(events.collect()).await;
    let (_, first) = client.who(0).await;
    let (_, second) = client.who(1).await;
    client.merge(&first, &second).await.unwrap();
    let definition = wire::TraitDefinition {
        name: "plan".to_owned(),
        r#type: wire::TraitType::String as i32,
        ..wire::TraitDefinition::default()
    };
    let request = wire::UpsertTraitRequest { r#trait: Some(definition), ..Default::default() };
    client.profile.upsert_trait(request).await.unwrap();
    testkit::eventually(LIMIT, "the redirect", async || {
        let mut client = client.clone();
        let read = [client.get(&first).await, client.get(&second).await];
        let [Ok(first), Ok(second)] = read else { return false };
        first.customer_id == second.customer_id
    })
    .await;

    let peer = world.house.peer(&world.endpoint, client.tenant);
    let mut feed = FeedServiceClient::new(peer);
    let mut pages = feed.snapshot(SnapshotRequest::default()).await.unwrap().into_inner();
    let (mut events, mut kinds, mut keys) = (0, [0; 4], Vec::new());
    while let Some(page) = pages.message().await.unwrap() {
        for entry in page.entries {
            kinds[entry.kind as usize] += 1;
            keys.push(entry.subject.clone());
            if entry.kind == wire::EventKind::ProfileChanged as i32 {
                let changed = wire::ProfileChanged::decode(entry.data).unwrap();
                let state = aggregate::Behaviour::decode(&changed.state).unwrap();
                events += state.total_events();
            }
        }
    }
    assert_eq!(events, persons as u64);
    assert_eq!(kinds, [0, persons, 1, 1]);
    assert!(keys.is_sorted(), "in the order of subjects");
}

#[tokio::test]
async fn a_snapshot_is_whole_over_many_pages_and_for_every_shard() {
    let world = World::new().await;
    let mut client = world.tenant();
    let persons = 620;
    for from in [0, 310] {
        let events = (from..from + 310).map(|n| track(n, "m-1", "Signed In", BASE_US));
        client.ingest(events.collect()).await;
    }
    let tenants = 60;
    for _ in 0..tenants {
        let mut client = world.tenant();
        // Built in: once the own declaration is deleted, that one is in force again.
        let definition = wire::TraitDefinition {
            name: "city".to_owned(),
            r#type: wire::TraitType::String as i32,
            ..wire::TraitDefinition::default()
        };
        let request = wire::UpsertTraitRequest { r#trait: Some(definition), ..Default::default() };
        client.profile.upsert_trait(request).await.unwrap();
        let request = wire::DeleteTraitRequest { name: "city".to_owned(), ..Default::default() };
        client.profile.delete_trait(request).await.unwrap();
    }
    let peer = world.house.peer(&world.endpoint, client.tenant);
    let mut feed = FeedServiceClient::new(peer);
    let all = std::iter::once(Vec::new()).chain((0..64).map(|shard| vec![shard]));
    let mut counts = Vec::new();
    for shards in all {
        let mut pages = feed.snapshot(SnapshotRequest { shards }).await.unwrap().into_inner();
        let mut kinds = [0; 4];
        while let Some(page) = pages.message().await.unwrap() {
            for entry in page.entries {
                kinds[entry.kind as usize] += 1;
                if entry.kind == wire::EventKind::TraitChanged as i32 {
                    let changed = wire::TraitChanged::decode(entry.data).unwrap();
                    assert_eq!(changed.r#type, wire::TraitType::String as i32);
                }
            }
        }
        counts.push(kinds);
    }
    assert_eq!(counts[0], [0, persons, 0, tenants]);
    let of_shards = |kind: usize| counts[1..].iter().map(|kinds| kinds[kind]).sum::<usize>();
    assert_eq!([of_shards(1), of_shards(3)], [persons, tenants]);
}
