//! The one thin HTTP door: a Segment library's batch becomes events of a customer.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contracts::common::v1::Identifier;
use contracts::identity::v1 as identity;
use contracts::profile::v1 as profile;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use testkit::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{Desk, PATIENCE, World, identifier, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn a_gzipped_batch_with_a_write_key_becomes_a_profile() {
    let world = World::start().await;
    let owner = tenant();
    let mut desk = world.desk(owner);
    let write_key = world.token(owner, &["profile:ingest"]);
    let batch = json!({"sentAt": "2026-01-01T00:00:00Z", "batch": [
        {"type": "identify", "messageId": "s1", "userId": "u1", "anonymousId": "browser-1",
         "traits": {"email": "Ada@Example.org"}, "timestamp": "2026-01-01T00:00:00Z"},
        {"type": "track", "event": "Pricing Viewed", "messageId": "s2", "userId": "u1",
         "anonymousId": null, "properties": {"plan": "gold"}},
        {"type": "page", "name": "Home", "messageId": "s3", "anonymousId": "browser-1"},
    ]});
    let (status, answer) = post(&world, Some(&write_key), &zipped(&batch), true).await;
    assert_eq!((status, &answer["success"]), (200, &json!(true)), "{answer}");
    assert!(rejected(&answer).is_empty(), "{answer}");

    // The three are one customer, found by any of the identifiers.
    for who in [
        identifier("email", "ada@example.org"),
        identifier("user_id", "u1"),
        identifier("anonymous_id", "browser-1"),
    ] {
        assert_eq!(events_of(&mut desk, who.clone()).await, 3, "{who:?}");
    }
    // A library sends again what it does not know to have arrived.
    let (status, _) = post(&world, Some(&write_key), &zipped(&batch), true).await;
    assert_eq!(status, 200);
    assert_eq!(events_of(&mut desk, identifier("user_id", "u1")).await, 3, "nothing doubled");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_events_of_a_batch_are_named_and_the_rest_arrives() {
    let world = World::start().await;
    let owner = tenant();
    let mut desk = world.desk(owner);
    let write_key = world.token(owner, &["profile:ingest"]);
    let batch = json!({"batch": [
        {"type": "track", "event": "Seen", "messageId": "g1", "userId": "u2"},
        {"type": "track", "event": "Seen", "messageId": "b1"},
        {"type": "track", "event": "Seen", "messageId": "b2", "userId": "u2",
         "timestamp": "2999-01-01T00:00:00Z"},
        {"type": "track", "event": "Seen", "messageId": "g2", "userId": "u2"},
    ]});
    let body = batch.to_string().into_bytes();
    let (status, answer) = post(&world, Some(&write_key), &body, false).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(rejected(&answer), [(1, "b1".to_owned()), (2, "b2".to_owned())], "{answer}");
    assert_eq!(events_of(&mut desk, identifier("user_id", "u2")).await, 2);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_and_a_broken_body_are_told_apart() {
    let world = World::start().await;
    let owner = tenant();
    let batch = json!({"batch": [{"type": "track", "event": "Seen", "userId": "u3"}]});
    let body = batch.to_string().into_bytes();
    assert_eq!(post(&world, None, &body, false).await.0, 401);
    assert_eq!(post(&world, Some("not-a-key"), &body, false).await.0, 401);
    let reader = world.token(owner, &["profile:read"]);
    let (status, _) = post(&world, Some(&reader), &body, false).await;
    assert!(matches!(status, 401 | 403), "{status}: a token that may not ingest");
    let write_key = world.token(owner, &["profile:ingest"]);
    assert_eq!(post(&world, Some(&write_key), b"{\"batch\": [", false).await.0, 400);
    assert_eq!(post(&world, Some(&write_key), b"not gzip", true).await.0, 400);
    let large = vec![b' '; 5 << 20];
    assert!(matches!(post(&world, Some(&write_key), &large, false).await.0, 400 | 413));
    world.stop().await;
}

/// The customer's number of events, once there is such a customer.
async fn events_of(desk: &mut Desk, who: Identifier) -> i64 {
    eventually(PATIENCE, "the customer of the identifier", || {
        let (mut desk, who) = (desk.clone(), who.clone());
        async move {
            let key = identity::get_customer_request::Key::Identifier(who);
            let request = identity::GetCustomerRequest { key: Some(key) };
            let customer = desk.identity.get_customer(request).await?.into_inner().customer;
            let customer_id = customer.unwrap_or_default().customer_id;
            let request = profile::GetProfileRequest { customer_id, ..Default::default() };
            let profile = desk.profile.get_profile(request).await?.into_inner().profile;
            Ok::<_, tonic::Status>(profile.unwrap_or_default().total_events)
        }
    })
    .await
}

/// Index and message id of what was refused.
fn rejected(answer: &Value) -> Vec<(u64, String)> {
    let Some(rejected) = answer["rejected"].as_array() else { return Vec::new() };
    let one = |one: &Value| {
        let index = one["index"].as_u64().expect("an index");
        (index, one["messageId"].as_str().unwrap_or_default().to_owned())
    };
    rejected.iter().map(one).collect()
}

fn zipped(body: &Value) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body.to_string().as_bytes()).expect("zipped");
    encoder.finish().expect("zipped")
}

/// `POST /v1/batch` as a library sends it: status and JSON.
async fn post(world: &World, key: Option<&str>, body: &[u8], is_gzip: bool) -> (u16, Value) {
    let address = world.suite.http_address();
    let host = address.strip_prefix("http://").expect("an address");
    let mut head = format!(
        "POST /v1/batch HTTP/1.1\r\nhost: {host}\r\ncontent-type: text/plain\r\n\
         connection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    if let Some(key) = key {
        let basic = STANDARD.encode(format!("{key}:"));
        head.push_str(&format!("authorization: Basic {basic}\r\n"));
    }
    if is_gzip {
        head.push_str("content-encoding: gzip\r\n");
    }
    head.push_str("\r\n");
    let (mut reader, mut writer) = TcpStream::connect(host).await.expect("connected").into_split();
    let request = [head.as_bytes(), body].concat();
    // A server that refuses a large body answers, and closes, before it has read all of it. The
    // writing half lives until the answer is there: a half-closed connection is a lost client.
    let sending = tokio::spawn(async move { (writer.write_all(&request).await, writer) });
    let mut answer = Vec::new();
    let _closed_early_is_fine = reader.read_to_end(&mut answer).await;
    drop(sending);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let status = status.unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}
