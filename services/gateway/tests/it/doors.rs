//! Every path, and every dialect.

use std::io::Write;

use contracts::profile::v1::EventType;
use contracts::profile::v1::GetTimelineRequest;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::world::{World, basic};

const OK: &str = r#"{"success":true}"#;

async fn timeline(world: &World, user: &str) -> Vec<contracts::profile::v1::Event> {
    let customer_id = world.profile_of(user).await.customer_id;
    let request = GetTimelineRequest { customer_id, page_size: 100, ..Default::default() };
    let answer = world.profiles().get_timeline(request).await.unwrap().into_inner();
    answer.events.into_iter().filter_map(|one| one.event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_of_segments_takes_events() {
    let world = World::new().await;
    let key = basic(&world.key());
    let kinds = ["identify", "track", "page", "screen", "group", "alias"];
    let mut expected = 0;
    for (long, short) in kinds.into_iter().zip(["i", "t", "p", "s", "g", "a"]) {
        for path in [
            format!("/v1/{long}"),
            format!("/v1/{short}"),
            format!("/api/s/{long}"),
            format!("/api/s/s2s/{long}"),
            format!("/api/public/apps/{long}"),
        ] {
            let body = format!(r#"{{"messageId":"{path}","userId":"u","event":"e","name":"n"}}"#);
            let answer = world.post_to(&path, &[&key], body.as_bytes()).await;
            assert_eq!(answer.body, OK, "{path}");
            expected += 1;
        }
    }
    for path in ["/v1/batch", "/v1/b", "/v1/import", "/api/public/apps/batch"] {
        let event = format!(r#"{{"type":"track","messageId":"{path}","userId":"u","event":"e"}}"#);
        let body = format!(r#"{{"batch":[{event}]}}"#);
        assert_eq!(world.post_to(path, &[&key], body.as_bytes()).await.body, OK, "{path}");
        expected += 1;
    }
    let events = timeline(&world, "u").await;
    assert_eq!(events.len(), expected + 1, "and the one that asks");
    let of = |kind: EventType| events.iter().filter(|event| event.r#type() == kind).count();
    assert_eq!((of(EventType::Page), of(EventType::Track)), (5, 9));
    assert_eq!(world.post_to("/track", &[&key], b"{}").await.status, 404, "not asked for");
}

#[tokio::test]
async fn bare_paths_are_a_setting() {
    let world = World::alone("bare_paths = true\ndeadline_ms = 100").await;
    for path in ["/batch", "/b", "/import"] {
        let answer = world.post_to(path, &[&basic(&world.key())], b"{\"batch\":[]}").await;
        assert_eq!(answer.status, 200, "{path}");
    }
    for path in ["/track", "/t"] {
        let answer = world.post_to(path, &[&basic(&world.key())], b"{\"userId\":\"u\"}").await;
        assert_eq!(answer.status, 503, "{path}");
    }
    let answer = world.request("GET /projects/k/settings HTTP/1.1", &[], b"").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_event_is_refused_with_its_reason() {
    let world = World::new().await;
    let key = basic(&world.key());
    let answer = world.post_to("/v1/track", &[&key], br#"{"userId":"u","messageId":"m"}"#).await;
    assert_eq!(answer.status, 200, "an SDK must not think that its batch is lost");
    let rejected = &answer.json()["rejected"][0];
    assert_eq!((rejected["index"].as_u64(), rejected["messageId"].as_str()), (Some(0), Some("m")));
    assert!(rejected["reason"].as_str().unwrap().starts_with("name: "), "{rejected}");
    for body in ["", "[]", "7", "{\"userId\":", "{} {}"] {
        let answer = world.post_to("/v1/track", &[&key], body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_of_any_origin_is_let_in() {
    let world = World::new().await;
    let asking = [
        "Origin: https://shop.example",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization,content-type",
    ];
    let answer = world.request("OPTIONS /v1/t HTTP/1.1", &asking, b"").await;
    assert_eq!(answer.status, 204);
    for line in [
        "access-control-allow-origin: https://shop.example",
        "access-control-allow-methods: get, post, options",
        "access-control-allow-headers: authorization, content-type,",
        "access-control-max-age: 86400",
        "vary: origin",
    ] {
        assert!(answer.head.contains(line), "{line}: {answer:?}");
    }
    assert!(!answer.head.contains("allow-credentials"), "no cookies");

    // As analytics-next 1.84.3 sends it.
    let key = world.key();
    let head = format!("GET /v1/projects/{key}/settings HTTP/1.1");
    let settings = world.request(&head, &asking[..1], b"").await;
    let segment = &settings.json()["integrations"]["Segment.io"];
    assert_eq!(segment["apiKey"], key.as_str());
    assert_eq!(
        (segment["apiHost"].as_str(), segment["protocol"].as_str()),
        (Some("test/v1"), Some("http"))
    );
    assert!(settings.head.contains("access-control-allow-origin: https://shop.example"));
    let body = format!(
        r#"{{"timestamp":"2026-01-01T00:00:00.000Z","integrations":{{}},"event":"Clicked","type":"track","properties":{{}},"userId":"u","anonymousId":"a","context":{{"page":{{"path":"/"}},"userAgent":"x"}},"messageId":"ajs-next-1","writeKey":"{key}","sentAt":"2026-01-01T00:00:01.000Z","_metadata":{{"bundled":["Segment.io"]}}}}"#
    );
    let headers = [
        &basic(&key),
        "Content-Type: text/plain",
        "Origin: https://shop.example",
        "X-Retry-Count: 1",
    ];
    let answer = world.post_to("/v1/t", &headers, body.as_bytes()).await;
    assert_eq!(answer.body, OK);
    assert!(answer.head.contains("access-control-allow-origin: https://shop.example"));
    assert!(timeline(&world, "u").await.iter().any(|event| event.name == "Clicked"));

    let refused = world.post_to("/v1/t", &["Origin: null"], b"{}").await;
    assert_eq!(refused.status, 401);
    assert!(refused.head.contains("access-control-allow-origin: null"), "its reason can be read");
}

#[tokio::test]
async fn settings_say_where_the_browser_finds_the_gateway() {
    let world = World::alone("").await;
    let settings = async |headers: &[&str]| {
        let answer =
            world.request("GET /v1/projects/no%22key/settings HTTP/1.1", headers, b"").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["integrations"]["Segment.io"].clone()
    };
    let behind = settings(&["X-Forwarded-Proto: https, http"]).await;
    assert_eq!(behind["apiKey"], "no\"key");
    assert_eq!(behind["protocol"], "https");
}

#[tokio::test(flavor = "multi_thread")]
async fn relatives_of_segments_sdks_are_understood() {
    let world = World::new().await;
    let key = world.key();
    // Dittofeed: the key as it is.
    let body = r#"{"batch":[{"messageId":"1","type":"identify","userId":"u","traits":{}}]}"#;
    let raw = format!("Authorization: {key}");
    assert_eq!(world.post_to("/api/public/apps/batch", &[&raw], body.as_bytes()).await.body, OK);
    // Jitsu: a header of its own, and a masked key in the body.
    let body = format!(
        r#"{{"type":"track","event":"e","userId":"u","messageId":"2","writeKey":"{key}:***"}}"#
    );
    let own = format!("X-Write-Key: {key}:secret");
    assert_eq!(world.post_to("/api/s/track", &[&own], body.as_bytes()).await.body, OK);
    // PostHog: the key in the body, compressed.
    let event = r#"{"event":"Paid","distinct_id":"u","uuid":"3","properties":{"n":1},"timestamp":"2026-01-01T00:00:00.000Z"}"#;
    let body =
        format!(r#"{{"api_key":"{key}","batch":[{event}],"sent_at":"2026-01-01T00:00:01Z"}}"#);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body.as_bytes()).unwrap();
    let body = encoder.finish().unwrap();
    assert_eq!(world.post_to("/batch/", &["Content-Encoding: gzip"], &body).await.body, OK);
    let events = timeline(&world, "u").await;
    assert_eq!(events.len(), 4);
    assert!(events.iter().any(|event| event.name == "Paid" && event.sent_time.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn cloud_events_come_in_three_modes() {
    let world = World::new().await;
    let key = format!("Authorization: Bearer {}", world.key());
    let event = |id: u32| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/shop","type":"paid","time":"2026-01-01T00:00:00Z","subject":"user_id:u","data":{{"n":{id}}}}}"#
        )
    };
    let post = async |media: &str, more: &[&str], body: &str| {
        let media = format!("Content-Type: {media}");
        let headers = [&[key.as_str(), media.as_str()], more].concat();
        world.post_to("/v1/cloudevents", &headers, body.as_bytes()).await
    };
    assert_eq!(post("application/cloudevents+json", &[], &event(1)).await.body, OK);
    let bad = r#"{"specversion":"1.0","id":"9","source":"/shop","type":"paid"}"#;
    let body = format!("[{},{bad},{},{}]", event(2), event(3), event(1));
    let answer = post("application/cloudevents-batch+json", &[], &body).await;
    let json = answer.json();
    assert_eq!(json["rejected"].as_array().unwrap().len(), 1, "{json}");
    assert_eq!(
        (json["rejected"][0]["index"].as_u64(), json["rejected"][0]["messageId"].as_str()),
        (Some(1), Some("/shop 9"))
    );
    let headers =
        ["ce-specversion: 1.0", "ce-id: 4", "ce-source: /shop", "ce-type: sent", "ce-userid: u"];
    assert_eq!(post("application/json", &headers, r#"{"n":4}"#).await.body, OK);
    assert_eq!(post("application/json", &headers, "{\"n\":").await.status, 400);
    let events = timeline(&world, "u").await;
    assert_eq!(events.len(), 5, "the repeated one once, and the one that asks");
    assert!(events.iter().any(|event| event.name == "sent" && event.properties.is_some()));

    let asking = ["WebHook-Request-Origin: events.example"];
    let answer = world.request("OPTIONS /v1/cloudevents HTTP/1.1", &asking, b"").await;
    assert!(answer.head.contains("webhook-allowed-origin: events.example"), "{answer:?}");
}
