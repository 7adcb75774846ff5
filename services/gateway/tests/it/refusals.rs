//! Batches that are refused, and how: SDKs drop events on a 4xx and repeat on a 5xx.

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
