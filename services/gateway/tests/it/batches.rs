//! Batches that are taken.

use std::io::Write;

use contracts::profile::v1::{GetTimelineRequest, ListRejectedEventsRequest};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::world::{World, basic};

fn track(number: usize) -> String {
    format!(
        r#"{{"type":"track","messageId":"m{number}","userId":"u1","event":"Viewed","properties":{{"n":{number}}},"timestamp":"2026-01-01T00:00:00Z"}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_in_the_profile_when_it_is_answered_and_a_repeat_adds_nothing() {
    let world = World::new().await;
    let events: Vec<String> = (0..1_100).map(track).collect();
    let body = format!(
        r#"{{"batch":[{}],"sentAt":"2026-01-01T00:00:01Z","context":{{}}}}"#,
        events.join(",")
    );
    for _ in 0..2 {
        let answer = world.send(&body).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"success":true}"#));
    }
    let profile = world.profile_of("u1").await;
    assert_eq!(profile.total_events, 1_101, "once each, and the one that asked");
    assert!(profile.event_counters.iter().any(|one| one.name == "Viewed" && one.total == 1_100));
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_under_a_wrong_content_type_is_what_rudder_sends() {
    let world = World::new().await;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(format!(r#"{{"batch":[{}]}}"#, track(1)).as_bytes()).unwrap();
    let body = encoder.finish().unwrap();
    let key = basic(&world.key());
    let form = "Content-Type: application/x-www-form-urlencoded";
    for headers in [vec![key.as_str(), form, "Content-Encoding: gzip"], vec![key.as_str(), form]] {
        let answer = world.post(&headers, &body).await;
        assert_eq!(answer.body, r#"{"success":true}"#);
    }
    assert_eq!(world.profile_of("u1").await.total_events, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_events_are_named_and_the_rest_goes_on() {
    let world = World::new().await;
    let nobody = r#"{"type":"track","messageId":"m-nobody","event":"Viewed","userId":null}"#;
    let stroll = r#"{"type":"stroll","messageId":"m-stroll","userId":"u1"}"#;
    let wrong = r#"{"type":"track","messageId":"m-wrong","userId":"u1","timestamp":"soon"}"#;
    let body = format!(r#"{{"batch":[{nobody},{},7,{stroll},{wrong},{}]}}"#, track(1), track(2));
    let answer = world.send(&body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    assert_eq!(json["success"], true);
    let rejected: Vec<(u64, Option<&str>)> = json["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["index"].as_u64().unwrap(), one["messageId"].as_str()))
        .collect();
    let expected = [(0, Some("m-nobody")), (2, None), (3, Some("m-stroll")), (4, Some("m-wrong"))];
    assert_eq!(rejected, expected);
    assert!(json["rejected"][3]["reason"].as_str().unwrap().starts_with("timestamp: "), "{json}");
    assert_eq!(world.profile_of("u1").await.total_events, 3);

    let request = ListRejectedEventsRequest::default();
    let kept = world.profiles().list_rejected_events(request).await.unwrap().into_inner();
    assert_eq!(kept.events.len(), 2, "what profile could judge is kept there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_body_will_do_and_one_in_the_header_wins() {
    let world = World::new().await;
    let key = world.key();
    let in_body = format!(r#"{{"writeKey":"{key}","batch":[{}]}}"#, track(1));
    assert_eq!(world.post(&["Content-Type: text/plain"], in_body.as_bytes()).await.status, 200);
    let other = r#"{"writeKey":"other","batch":[]}"#;
    assert_eq!(world.send(other).await.status, 200);
    assert_eq!(world.post(&[&basic("other")], in_body.as_bytes()).await.status, 401);
    assert_eq!(
        world.post(&[&format!("X-Write-Key: {key}:s")], b"{\"batch\":[]}").await.status,
        200
    );
    let head = format!("POST /v1/batch?writeKey={key} HTTP/1.1\r\nContent-Length: 12");
    assert_eq!(world.request(&head, &[], b"{\"batch\":[]}").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_visitor_becomes_known_over_two_batches() {
    let world = World::new().await;
    let visit = r#"{"batch":[{"type":"page","messageId":"p1","anonymousId":"a1","name":"Home"}]}"#;
    let login = r#"{"batch":[{"type":"identify","messageId":"i1","anonymousId":"a1","userId":"u1","traits":{"email":"ann@example.com"}}]}"#;
    assert_eq!(world.send(visit).await.status, 200);
    assert_eq!(world.send(login).await.status, 200);
    let profile = world.profile_of("u1").await;
    assert_eq!(profile.total_events, 3);
    let request = GetTimelineRequest { customer_id: profile.customer_id, ..Default::default() };
    let timeline = world.profiles().get_timeline(request).await.unwrap().into_inner();
    let page = timeline.events.iter().filter_map(|one| one.event.as_ref());
    assert!(page.clone().any(|event| event.name == "Home" && event.source == "tester"));
}
