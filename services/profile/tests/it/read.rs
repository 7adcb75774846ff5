//! Reading profiles and timelines.

use contracts::profile::v1 as wire;
use testkit::{House, PrivateStack};
use tonic::Code;
use uuid::Uuid;

use crate::world::{BASE_US, LIMIT, World, record, text, text_of, track};

#[tokio::test]
async fn a_read_after_an_answer_sees_the_event_with_and_without_redis() {
    for redis in [true, false] {
        let world = World::with_cache(redis).await;
        let mut client = world.tenant();
        for n in 1..=20_i64 {
            let taken = client.take(track(1, &format!("m-{n}"), "Page Viewed", BASE_US)).await;
            assert_eq!(taken.profile_version, n);
            let profile = client.get(&taken.customer_id).await.unwrap();
            assert_eq!((profile.total_events, profile.version), (n, n), "redis: {redis}");
        }
    }
}

#[tokio::test]
async fn a_version_to_come_is_waited_for_until_the_deadline() {
    let world = World::new().await;
    let mut client = world.tenant();
    let taken = client.take(track(1, "m-1", "Page Viewed", BASE_US)).await;
    let mut reader = client.clone();
    let customer = taken.customer_id.clone();
    let waiting = tokio::spawn(async move { reader.get_at_least(&customer, 2).await });
    client.take(track(1, "m-2", "Page Viewed", BASE_US)).await;
    assert_eq!(waiting.await.unwrap().unwrap().total_events, 2);

    let mut request = tonic::Request::new(wire::GetProfileRequest {
        customer_id: taken.customer_id,
        at_least_version: 99,
        ..wire::GetProfileRequest::default()
    });
    request.set_timeout(std::time::Duration::from_millis(200));
    let peer = world.house.peer(&world.endpoint, client.tenant);
    let call =
        server::Call::background(client.tenant).within(std::time::Duration::from_millis(200));
    let mut hurried = wire::profile_service_client::ProfileServiceClient::new(peer.during(&call));
    let status = hurried.get_profile(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_timeline_is_read_newest_first_page_by_page() {
    let world = World::new().await;
    let mut client = world.tenant();
    let mut sent = Vec::new();
    for n in 0..25_i64 {
        // Two persons, times that repeat.
        let mut event = track(n as usize % 2, &format!("m-{n:02}"), "Page Viewed", BASE_US - n / 3);
        event.context = Some(record(&[("page", text("/prices"))]));
        sent.push(event.clone());
        client.take(event).await;
    }
    let (_, first) = client.who(0).await;
    let (_, second) = client.who(1).await;
    client.merge(&first, &second).await.unwrap();
    client.settled(2).await;
    let mut read = Vec::new();
    let mut page_token = String::new();
    loop {
        let request =
            wire::GetTimelineRequest { customer_id: first.clone(), page_size: 7, page_token };
        let page = client.profile.get_timeline(request).await.unwrap().into_inner();
        assert!(page.events.len() <= 7);
        read.extend(page.events.into_iter().map(|event| event.event.unwrap()));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let times: Vec<_> = read
        .iter()
        .map(|event| event.event_time.unwrap())
        .map(|time| (time.seconds, time.nanos))
        .collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    read.sort_by(|a, b| a.message_id.cmp(&b.message_id));
    assert_eq!(read, sent);

    let stolen = wire::GetTimelineRequest {
        customer_id: Uuid::new_v4().to_string(),
        page_token: "made up".to_owned(),
        page_size: 7,
    };
    let status = client.profile.get_timeline(stolen).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn another_tenants_customer_is_absent() {
    let world = World::new().await;
    let (mut mine, mut foreign) = (world.tenant(), world.tenant());
    let taken = mine.take(track(1, "m-1", "Page Viewed", BASE_US)).await;
    mine.get(&taken.customer_id).await.unwrap();
    let foreign_status = foreign.get(&taken.customer_id).await.unwrap_err();
    let absent_status = foreign.get(&Uuid::now_v7().to_string()).await.unwrap_err();
    assert_eq!(foreign_status.code(), Code::NotFound);
    assert_eq!(foreign_status.message(), absent_status.message());
    let request =
        wire::GetTimelineRequest { customer_id: taken.customer_id.clone(), ..Default::default() };
    assert_eq!(foreign.profile.get_timeline(request).await.unwrap_err().code(), Code::NotFound);
    let request =
        wire::BatchGetProfilesRequest { customer_ids: vec![taken.customer_id], as_of_time: None };
    let batch = foreign.profile.batch_get_profiles(request).await.unwrap().into_inner();
    assert!(batch.profiles.is_empty());
}

#[tokio::test]
async fn personal_attributes_of_a_merged_customer_are_the_latest_of_all() {
    let world = World::new().await;
    let mut client = world.tenant();
    for (n, name, us) in [(0, "Older", BASE_US - 5), (1, "Latest", BASE_US)] {
        let mut event = track(n, "m-1", "Signed In", us);
        event.traits = Some(record(&[("name", text(name))]));
        client.take(event).await;
    }
    let (_, first) = client.who(0).await;
    let (_, second) = client.who(1).await;
    client.merge(&first, &second).await.unwrap();
    testkit::eventually(LIMIT, "the merged name", async || {
        let mut client = client.clone();
        let profile = client.get(&first).await.map_err(|status| status.code().to_string())?;
        match text_of(&profile, "name") {
            Some(name) if name == "Latest" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn what_redis_could_not_be_told_is_not_read_of_it() {
    let stack = PrivateStack::start(false).await.unwrap();
    let redis = stack.redis().unwrap();
    let cache = store::Cache::new(redis.url(), redis.prefix()).unwrap();
    let house = House::new(contracts::DESCRIPTORS).unwrap();
    let world = World::over(house, cache.clone()).await;
    let mut client = world.tenant();
    let taken = client.take(track(1, "m-0", "Page Viewed", BASE_US)).await;
    let (customer, mut version) = (taken.customer_id, taken.profile_version);
    let key = format!("1:{{{customer}}}:{}", client.tenant);
    // The own log may empty Redis just before the connections go: then once more.
    for n in 1..20 {
        testkit::eventually(LIMIT, "the profile in redis", async || {
            let mut client = client.clone();
            client.get(&customer).await.map_err(|status| status.to_string())?;
            let kept = cache.get_versioned(&key).await.map(|(version, _)| version as i64);
            if kept == Some(version) { Ok(()) } else { Err(format!("{kept:?}")) }
        })
        .await;
        stack.disconnect_redis().await.unwrap();
        let id = format!("m-{n}");
        version = client.take(track(1, &id, "Page Viewed", BASE_US)).await.profile_version;
        testkit::eventually(LIMIT, "redis", || cache.is_reachable()).await;
        let kept = cache.get_versioned(&key).await.map(|(version, _)| version as i64);
        assert_eq!(client.get(&customer).await.unwrap().version, version, "redis has {kept:?}");
        if kept.is_some_and(|kept| kept < version) {
            return;
        }
    }
    panic!("redis was told every time");
}

#[tokio::test]
async fn a_page_of_large_events_ends_early() {
    let world = World::new().await;
    let mut client = world.tenant();
    let large = "x".repeat(30_000);
    let mut customer_id = String::new();
    for from in [0, 40] {
        let event = |n: i64| {
            let mut event = track(1, &format!("m-{n:02}"), "Page Viewed", BASE_US - n % 7);
            event.properties = Some(record(&[("long", text(&large))]));
            event.context = Some(record(&[("long", text(&large))]));
            event
        };
        let taken = client.ingest((from..from + 40).map(event).collect()).await;
        customer_id = taken[0].customer_id.clone();
    }
    let (mut read, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = wire::GetTimelineRequest {
            customer_id: customer_id.clone(),
            page_size: 1_000,
            page_token,
        };
        let page = client.profile.get_timeline(request).await.unwrap().into_inner();
        assert!(prost::Message::encoded_len(&page) < 2_200_000, "{} events", page.events.len());
        read.extend(page.events.into_iter().map(|event| event.event.unwrap().message_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let mut expected: Vec<i64> = (0..80).collect();
    expected.sort_by_key(|n| (n % 7, -n));
    let expected: Vec<String> = expected.iter().map(|n| format!("m-{n:02}")).collect();
    assert_eq!(read, expected);
}
