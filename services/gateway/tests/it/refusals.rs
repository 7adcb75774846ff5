//! Batches that are refused, and how: SDKs drop events on a 4xx and repeat on a 5xx.

use server::token::{Audience, Browser, Grant};
use tokio::net::TcpStream;

use crate::world::{LIMIT, World, basic};

const EVENT: &str = r#"{"batch":[{"type":"track","userId":"u","event":"e"}]}"#;

#[tokio::test]
async fn an_unknown_key_is_401() {
    let world = World::alone("").await;
    let read_only = world.house.token(world.tenant, &["profile:read"]).unwrap();
    let internal = world.house.internal_tokens("x").get(world.tenant).await.unwrap();
    for key in ["forged", read_only.as_str(), &internal] {
        let answer = world.post(&[&basic(key)], EVENT.as_bytes()).await;
        assert_eq!((answer.status, answer.json()["success"].as_bool()), (401, Some(false)));
    }
    assert_eq!(world.post(&[], EVENT.as_bytes()).await.status, 401, "no key at all");
}

#[tokio::test]
async fn a_token_for_browsers_sends_from_its_own_pages_only() {
    let world = World::alone("").await;
    let grant = Grant {
        audience: Audience::Public,
        tenant: world.tenant,
        subject: "page",
        scopes: &["profile:ingest"],
        ttl: LIMIT,
    };
    let browser = Browser { origins: vec!["https://shop.example".to_owned()] };
    let (token, _) = world.house.signer().issue_for_browser(&grant, browser).unwrap();
    let in_body = format!(r#"{{"writeKey":"{token}","batch":[]}}"#);
    let key = basic(&token);
    for (headers, body) in [(vec![key.as_str()], r#"{"batch":[]}"#), (vec![], in_body.as_str())] {
        for (origin, status) in [
            ("Origin: https://shop.example", 200),
            ("Origin: https://evil.example", 403),
            ("Origin: null", 403),
            ("X-No: origin", 200),
        ] {
            let headers = [headers.as_slice(), &[origin]].concat();
            let answer = world.post(&headers, body.as_bytes()).await;
            assert_eq!(answer.status, status, "{origin}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_cannot_begin_says_so_in_its_own_words() {
    let world = World::alone("").await;
    let path = "/rapport.profile.v1.ProfileService/WatchProfiles";
    let bearer = format!("Authorization: Bearer {}", world.key());
    let late = "Connect-Timeout-Ms: soon";
    for (kind, headers, body, code) in [
        ("json", vec![bearer.as_str()], "no envelope", "invalid_argument"),
        ("proto", vec![bearer.as_str(), late], "", "invalid_argument"),
        ("json", vec![], "", "unauthenticated"),
    ] {
        let media = format!("Content-Type: application/connect+{kind}");
        let headers = [headers.as_slice(), &[media.as_str()]].concat();
        let answer = world.post_to(path, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.head.contains(&format!("application/connect+{kind}")), "{answer:?}");
        assert_eq!(answer.body.as_bytes()[0], 2, "the end of the stream");
        let end = answer.body.find('{').map(|at| &answer.body[at..]).unwrap();
        let end: serde_json::Value = serde_json::from_str(end).unwrap();
        assert_eq!(end["error"]["code"], code, "{end}");
    }
    let media = "Content-Type: application/grpc-web+proto";
    let answer = world.post_to(path, &[&bearer, media, late], &[0; 5]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.head.contains("grpc-status: 3"), "{answer:?}");
    assert!(answer.head.contains("content-type: application/grpc-web+proto"), "{answer:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_400() {
    let world =
        World::alone("max_body_bytes = 1000\nmax_inflated_bytes = 1000\nmax_events = 2").await;
    let large = format!(r#"{{"batch":["{}"]}}"#, "x".repeat(1_000));
    for body in ["", "no json", "{}", r#"{"batch":[1,2,3]}"#, &large] {
        let answer = world.send(body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(!answer.json()["message"].as_str().unwrap().is_empty());
    }
    let head = "POST /v1/batch HTTP/1.1\r\nTransfer-Encoding: chunked";
    let chunked = format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2_000));
    let answer = world.request(head, &[&basic(&world.key())], chunked.as_bytes()).await;
    assert_eq!(answer.status, 400, "without a length, too");
}

#[tokio::test]
async fn while_profile_is_away_it_is_503_and_to_be_repeated() {
    let world = World::alone("deadline_ms = 300").await;
    let answer = world.send(EVENT).await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
    assert_eq!(world.send(r#"{"batch":[]}"#).await.status, 200, "nothing to store");
}

#[tokio::test]
async fn health_says_when_the_gateway_stops() {
    let world = World::alone("").await;
    let answer = world.request("GET /healthz HTTP/1.1", &[], b"").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    assert_eq!(world.request("GET /v1/batch HTTP/1.1", &[], b"").await.status, 405);
    assert_eq!(world.request("GET /nothing HTTP/1.1", &[], b"").await.status, 404);
    world.house.drain.token().cancel();
    testkit::eventually(LIMIT, "the socket to close", async || {
        TcpStream::connect(world.address).await.is_err()
    })
    .await;
}
