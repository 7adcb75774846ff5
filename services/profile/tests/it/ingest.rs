//! Taking events: once each, or refused with every reason.

use std::time::Duration;

use contracts::common::v1::Identifier;
use contracts::identity::v1::{IdentityRules, UpsertIdentityRulesRequest};
use contracts::profile::v1 as wire;
use futures::StreamExt;
use prost_types::value::Kind;
use tonic::Code;

use crate::world::{BASE_US, World, fields, person, record, text, time, track};

const ACCEPTED: i32 = wire::EventStatus::Accepted as i32;
const DUPLICATE: i32 = wire::EventStatus::Duplicate as i32;
const REJECTED: i32 = wire::EventStatus::Rejected as i32;

#[tokio::test]
async fn a_repeated_event_has_no_effect_and_names_the_current_version() {
    let world = World::new().await;
    let mut client = world.tenant();
    let event = track(1, "m-1", "Signed In", BASE_US);
    let twice = client.ingest(vec![event.clone(), event.clone()]).await;
    assert_eq!((twice[0].status, twice[1].status), (ACCEPTED, DUPLICATE));
    assert_eq!(twice[0].customer_id, twice[1].customer_id);
    client.take(track(1, "m-2", "Signed In", BASE_US)).await;
    let again = client.ingest(vec![event]).await.remove(0);
    assert_eq!((again.status, again.profile_version), (DUPLICATE, 2));
    let profile = client.get(&again.customer_id).await.unwrap();
    assert_eq!((profile.total_events, profile.version), (2, 2));
    // Another evidence may use the same message id.
    let other = client.take(track(2, "m-1", "Signed In", BASE_US)).await;
    assert_ne!(other.customer_id, again.customer_id);
}

#[tokio::test]
async fn a_bad_event_fails_alone_with_every_reason_and_is_kept() {
    let world = World::new().await;
    let mut client = world.tenant();
    let bad = wire::Event {
        name: "n".repeat(129),
        identifiers: vec![Identifier { namespace: "E-Mail".to_owned(), value: "x".to_owned() }],
        event_time: Some(time(BASE_US * 2)),
        properties: Some(record(&[("long", text(&"x".repeat(40_000)))])),
        traits: Some(record(&[("age", text("old")), ("undeclared", Kind::BoolValue(true))])),
        ledger_entry: Some(wire::LedgerEntry { points: -1, ..wire::LedgerEntry::default() }),
        ..wire::Event::default()
    };
    let good = track(1, "m-1", "Signed In", BASE_US);
    let results = client.ingest(vec![bad.clone(), good]).await;
    assert_eq!((results[0].status, results[1].status), (REJECTED, ACCEPTED));
    let mut found = fields(&results[0].violations);
    found.sort_unstable();
    let expected = [
        "event_time",
        "identifiers[0].namespace",
        "ledger_entry.points",
        "ledger_entry.type",
        "message_id",
        "name",
        "properties",
        "traits.age",
        "type",
    ];
    assert_eq!(found, expected);
    // A repetition is kept once; another one is listed too.
    client.ingest(vec![bad.clone()]).await;
    let nobody = wire::Event {
        identifiers: vec![Identifier { namespace: "email".into(), value: "test@test.com".into() }],
        ..track(1, "m-2", "Signed In", BASE_US)
    };
    let refused = client.ingest(vec![nobody.clone()]).await.remove(0);
    assert_eq!(fields(&refused.violations), ["identifiers"]);

    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = wire::ListRejectedEventsRequest { page_size: 1, page_token };
        let page = client.profile.list_rejected_events(request).await.unwrap().into_inner();
        listed.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].event.as_ref(), Some(&nobody));
    assert_eq!(listed[1].event.as_ref(), Some(&bad));
    assert_eq!(listed[1].violations, results[0].violations);
}

#[tokio::test]
async fn a_page_of_large_refused_events_ends_early() {
    let world = World::new().await;
    let mut client = world.tenant();
    let large = "x".repeat(30_000);
    let bad = |n: i64| {
        let mut event = track(1, &format!("m-{n}"), &"n".repeat(129), BASE_US);
        event.properties = Some(record(&[("long", text(&large))]));
        event.context = Some(record(&[("long", text(&large))]));
        event
    };
    for from in [0, 30] {
        client.ingest((from..from + 30).map(bad).collect()).await;
    }
    let (mut listed, mut pages, mut page_token) = (0, 0, String::new());
    loop {
        let request = wire::ListRejectedEventsRequest { page_size: 1_000, page_token };
        let page = client.profile.list_rejected_events(request).await.unwrap().into_inner();
        assert!(prost::Message::encoded_len(&page) < 2_200_000, "{} events", page.events.len());
        (listed, pages) = (listed + page.events.len(), pages + 1);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!((listed, pages), (60, 2));
}

#[tokio::test]
async fn an_order_of_segment_enters_the_ledger() {
    let world = World::new().await;
    let mut client = world.tenant();
    let mut order = track(1, "o-1", "Order Completed", BASE_US);
    let number = |value| Kind::NumberValue(value);
    let properties =
        [("order_id", text("A-1")), ("revenue", number(120.5)), ("currency", text("CNY"))];
    order.properties = Some(record(&properties));
    let taken = client.take(order).await;
    let mut refund = track(1, "o-2", "Order Refunded", BASE_US);
    refund.properties = Some(record(&[("total", number(20.5)), ("currency", text("CNY"))]));
    client.take(refund).await;
    let ledger = client.get(&taken.customer_id).await.unwrap().ledger.unwrap();
    assert_eq!((ledger.orders, ledger.revenue[0].units), (1, 100));
    let sql = "select entry_id, type, amount_micros::bigint, currency from ledger_entry
        where tenant_id = $1 order by message_id";
    let rows: Vec<(String, i16, i64, String)> = sqlx::query_as(sql)
        .bind(client.tenant.uuid())
        .fetch_all(world.database.pool())
        .await
        .unwrap();
    let row = |id: &str, kind, micros| (id.to_owned(), kind, micros, "CNY".to_owned());
    assert_eq!(rows, [row("A-1", 1, 120_500_000), row("", 2, 20_500_000)]);
}

#[tokio::test]
async fn chunks_of_a_stream_are_answered_in_order_after_their_commit() {
    let world = World::new().await;
    let mut client = world.tenant();
    let chunks = (0..30_i64).map(|chunk_id| {
        let event = |n: i64| {
            let id = format!("{}", (chunk_id * 20 + n) % 500);
            track(n as usize % 7, &id, "Page Viewed", BASE_US - n)
        };
        let mut events: Vec<wire::Event> = (0..20).map(event).collect();
        events.push(wire::Event::default());
        wire::StreamEventsRequest { chunk_id, events }
    });
    let stream = futures::stream::iter(chunks.collect::<Vec<_>>());
    let answers = client.profile.stream_events(stream).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    assert_eq!(answers.iter().map(|it| it.chunk_id).collect::<Vec<_>>(), Vec::from_iter(0..30));
    assert!(answers.iter().all(|it| it.rejected.len() == 1 && it.rejected[0].index == 20));
    let accepted: i32 = answers.iter().map(|it| it.accepted).sum();
    let duplicates: i32 = answers.iter().map(|it| it.duplicates).sum();
    assert_eq!(accepted + duplicates, 600);
    let sql = "select count(*) from event where tenant_id = $1";
    let stored: i64 = sqlx::query_scalar(sql)
        .bind(client.tenant.uuid())
        .fetch_one(world.database.pool())
        .await
        .unwrap();
    assert_eq!(stored, i64::from(accepted));
}

#[tokio::test]
async fn a_draining_server_answers_what_it_committed_and_then_ends_the_stream() {
    let world = World::new().await;
    let mut client = world.tenant();
    let (chunks, receiver) = tokio::sync::mpsc::channel(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = client.profile.stream_events(stream).await.unwrap().into_inner();
    let events = vec![track(1, "m-1", "Signed In", BASE_US)];
    chunks.send(wire::StreamEventsRequest { chunk_id: 1, events }).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().accepted, 1);
    world.house.drain.token().cancel();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn an_empty_or_too_large_batch_is_refused_as_a_whole() {
    let world = World::new().await;
    let mut client = world.tenant();
    for events in [0, 501] {
        let events = vec![wire::Event { identifiers: person(1), ..Default::default() }; events];
        let request = wire::IngestEventsRequest { events };
        let status = client.profile.ingest_events(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn events_are_read_by_the_tenants_identity_rules() {
    let world = World::new().await;
    let mut client = world.tenant();
    // A national number belongs to the tenant's region, China if it says nothing.
    let local = Identifier { namespace: "phone".to_owned(), value: "13812345678".to_owned() };
    let full = Identifier { namespace: "phone".to_owned(), value: "+86 138 1234 5678".to_owned() };
    let seen = |message_id: &str, identifier: &Identifier| wire::Event {
        identifiers: vec![identifier.clone()],
        ..track(1, message_id, "Signed In", BASE_US)
    };
    let first = client.take(seen("m-1", &local)).await;
    let second = client.take(seen("m-2", &full)).await;
    assert_eq!((first.status, &first.evidence_id), (ACCEPTED, &second.evidence_id));

    let rules = IdentityRules { blocked: vec![full.clone()], ..IdentityRules::default() };
    let request = UpsertIdentityRulesRequest { rules: Some(rules), ..Default::default() };
    client.identity.upsert_identity_rules(request).await.unwrap();
    let refused = testkit::eventually(Duration::from_secs(20), "the new rules", || {
        let mut client = client.clone();
        let event = seen(&uuid::Uuid::new_v4().to_string(), &local);
        async move {
            let answer = client.ingest(vec![event]).await.remove(0);
            (answer.status == REJECTED).then_some(answer)
        }
    })
    .await;
    assert_eq!(fields(&refused.violations), ["identifiers"]);
}
