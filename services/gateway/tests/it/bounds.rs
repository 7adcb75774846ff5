//! Memory and time are bounded, and what is in bounds goes on.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::world::{LIMIT, World, basic};

const EMPTY: &str = r#"{"batch":[]}"#;
/// The least that the settings allow for bodies of 4 MiB.
const LITTLE: &str = "max_in_flight_bytes = 134217728\nbody_timeout_ms = 1000";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Connections that send nearly 4 MiB and then nothing.
async fn hold(world: &World, count: usize, header: &str) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let head = format!(
            "POST /v1/batch HTTP/1.1\r\nHost: t\r\n{header}Content-Length: 4194304\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // One that is refused before is not read to the end.
        let _ = stream.write_all(&vec![b' '; 4_000_000]).await;
        held.push(stream);
    }
    held
}

async fn eventually_answers(world: &World, status: u16, headers: &[&str], body: &str) -> String {
    testkit::eventually(LIMIT, "another answer", async || {
        let answer = world.post(headers, body.as_bytes()).await;
        if answer.status == status { Ok(answer.head) } else { Err(answer) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_memory_is_429_and_slow_bodies_give_theirs_back() {
    let world = World::alone(LITTLE).await;
    let key = basic(&world.key());
    let mut held = hold(&world, 20, &format!("{key}\r\n")).await;
    // Larger than what is left, if anything is.
    let padded = format!("{EMPTY}{}", " ".repeat(4_000_000));
    let head = eventually_answers(&world, 429, &[&key], &padded).await;
    assert!(head.contains("retry-after: 1"), "{head}");
    let mut first = Vec::new();
    tokio::time::timeout(LIMIT, held[0].read_to_end(&mut first)).await.unwrap().unwrap();
    assert!(first.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&first));
    eventually_answers(&world, 200, &[&key], &padded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_no_key_takes_no_memory_of_those_who_do() {
    let world = World::alone(&format!("{LITTLE}\nheader_timeout_ms = 20000")).await;
    let held = hold(&world, 8, "").await;
    let padded = " ".repeat(4_000_000);
    let in_body = format!("{padded}{{\"writeKey\":\"{}\",\"batch\":[]}}", world.key());
    eventually_answers(&world, 429, &[], &in_body).await;
    assert_eq!(world.send(&format!("{EMPTY}{padded}")).await.status, 200, "a key in the header");
    drop(held);
    eventually_answers(&world, 200, &[], &in_body).await;
}

fn memory(world: &World) -> u64 {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &world.house.registry).unwrap();
    let line = text.lines().find(|line| line.starts_with("memory_bytes "));
    line.and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_does_not_free_the_memory_of_work_that_goes_on() {
    let world = World::alone("max_connections = 1\ndeadline_ms = 3000").await;
    let event = r#"{"type":"track","userId":"u","event":"e"}"#;
    let body = format!(r#"{{"batch":[{event}]}}{}"#, " ".repeat(1_000_000));
    let mut leaving = TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "POST /v1/batch HTTP/1.1\r\nHost: t\r\n{}\r\nContent-Length: {}\r\n\r\n",
        basic(&world.key()),
        body.len()
    );
    leaving.write_all(head.as_bytes()).await.unwrap();
    leaving.write_all(body.as_bytes()).await.unwrap();
    testkit::eventually(LIMIT, "the body to be there", async || memory(&world) > 2_000_000).await;
    drop(leaving);
    // The only place for a connection is free again: the first one has ended.
    assert_eq!(world.request("GET /healthz HTTP/1.1", &[], b"").await.status, 200);
    assert!(memory(&world) > 2_000_000, "profile is still waited for");
    testkit::eventually(LIMIT, "the end of the work", async || memory(&world) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_stranger_is_read() {
    let world = World::alone("").await;
    let path = "/rapport.profile.v1.ProfileService/IngestEvents";
    let garbage = format!("{{{}", "[1,".repeat(20_000));
    let json = "Content-Type: application/json";
    assert_eq!(world.post_to(path, &[json], garbage.as_bytes()).await.status, 401);
    let bearer = format!("Authorization: Bearer {}", world.key());
    let values = format!(r#"{{"events":[{{"properties":{{"a":[{}1]}}}}]}}"#, "1,".repeat(400_000));
    let refused = world.post_to(path, &[json, &bearer], values.as_bytes()).await;
    assert_eq!(refused.status, 429, "800 kB would take 400 MB");
    assert!(!refused.head.contains("retry-after"), "it would be the same again: {refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_connections_are_all_at_work() {
    let world = std::sync::Arc::new(World::alone("deadline_ms = 1500").await);
    let event = r#"{"userId":"u","event":"e"}"#;
    let mut tasks = JoinSet::new();
    for number in 0..64 {
        let world = std::sync::Arc::clone(&world);
        tasks.spawn(async move {
            let key = basic(&world.key());
            let compressed = gzip(event.as_bytes());
            let body = if number % 2 == 0 { event.as_bytes() } else { &compressed };
            world.post_to("/v1/track", &[&key], body).await.status
        });
    }
    while let Some(status) = tasks.join_next().await {
        assert_eq!(status.unwrap(), 503, "let in, and told that profile is away");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_is_refused_whatever_it_says_of_its_size() {
    let world = World::alone("").await;
    let mut bomb = gzip(&vec![b' '; 100 * 1024 * 1024]);
    let answer = world.post(&[&basic(&world.key())], &bomb).await;
    assert_eq!(answer.status, 400);
    let reason = answer.json()["message"].as_str().unwrap().to_owned();
    assert_eq!(reason, "the body is larger than 4194304 bytes after gzip");
    let size = bomb.len();
    bomb[size - 4..].copy_from_slice(&100_u32.to_le_bytes());
    assert_eq!(world.post(&[&basic(&world.key())], &bomb).await.status, 400);
    // Two members, as `cat a.gz b.gz` makes them: the last one's size is not the whole.
    let mut members = gzip(b"{\"batch\":");
    members.extend(gzip(b"[]}"));
    assert_eq!(world.post(&[&basic(&world.key())], &members).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_too_deep_or_too_large_are_refused_alone() {
    let world = World::new().await;
    let levels = 10_000;
    let deep = format!(
        r#"{{"type":"track","messageId":"deep","userId":"u","event":"e","properties":{}1{}}}"#,
        "{\"a\":".repeat(levels),
        "}".repeat(levels)
    );
    let large = format!(
        r#"{{"type":"track","messageId":"large","userId":"u","event":"e","properties":{{"a":"{}"}}}}"#,
        "x".repeat(3_900_000)
    );
    let number = r#"{"type":"track","messageId":"number","userId":"u","event":"e","properties":{"a":1e999}}"#;
    let good = r#"{"type":"track","messageId":"good","userId":"u","event":"e"}"#;
    let body = format!(r#"{{"batch":[{deep},{large},{number},{good}]}}"#);
    let answer = world.post(&[&basic(&world.key())], &gzip(body.as_bytes())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    let rejected = json["rejected"].as_array().unwrap();
    let ids: Vec<_> = rejected.iter().map(|one| one["messageId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["deep", "large", "number"]);
    assert!(json["rejected"][1]["reason"].as_str().unwrap().contains("larger than 32768 bytes"));
    assert_eq!(world.profile_of("u").await.total_events, 2, "the good one, and the one that asks");
    // A request that is one such event is refused as a whole: it will never be better.
    for (body, status) in [(&large, 400), (&deep, 400)] {
        let answer = world.post_to("/v1/track", &[&basic(&world.key())], body.as_bytes()).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let levels = 5_000;
    let deep = format!("{{\"properties\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let answer = world.post_to("/v1/track", &[&basic(&world.key())], deep.as_bytes()).await;
    assert!(answer.body.contains("nested deeper than 16 levels"), "{answer:?}");
}
