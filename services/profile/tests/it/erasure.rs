//! Erased evidence: key, events, ledger and refused events go, what comes late is refused, who
//! comes later is somebody new; also while events arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use contracts::identity::v1::EraseCustomerRequest;
use contracts::identity::v1::erase_customer_request::Key;
use contracts::profile::v1 as wire;
use contracts::profile::v1::EventStatus;
use jiff::Timestamp;
use sqlx::Row;
use testkit::eventually;
use tonic::Code;
use uuid::Uuid;

use crate::world::{BASE_US, Client, LIMIT, World, fields, text, track};

fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}

impl Client {
    async fn erase(&mut self, customer: &str) {
        let request = EraseCustomerRequest {
            key: Some(Key::CustomerId(customer.to_owned())),
            ..EraseCustomerRequest::default()
        };
        self.identity.erase_customer(request).await.unwrap();
    }

    /// Waits until profile has erased, too.
    async fn gone(&mut self, customer: &str) {
        eventually(LIMIT, "the profile is gone", async || {
            let mut client = self.clone();
            match client.get(customer).await {
                Err(status) if status.code() == Code::NotFound => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let query = sqlx::query_scalar(sql).bind(self.tenant.uuid());
        query.fetch_one(self.world.database.pool()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_erased_customer_is_left_and_nothing_late_brings_it_back() {
    let world = World::new().await;
    let mut client = world.tenant();
    let kept = client.take(track(2, "kept", "Page Viewed", BASE_US)).await;
    let mut order = track(1, "order", "Order Completed", BASE_US);
    order.properties = Some(crate::world::record(&[("order_id", text("canary-order"))]));
    let first = client.take(order).await;
    let other = client.take(track(3, "other", "Page Viewed", BASE_US)).await;
    client.merge(&first.customer_id, &other.customer_id).await.unwrap();
    client.until(&first.customer_id, |profile| profile.evidence_ids.len() == 2).await;
    // Refused, but whose it was can be read.
    let mut bad = track(1, "bad", "", BASE_US);
    bad.source = "x".repeat(100);
    assert_eq!(client.ingest(vec![bad]).await[0].status(), EventStatus::Rejected);
    assert_eq!(client.count("select count(*) from rejected_event where tenant_id = $1").await, 1);
    client.get(&first.customer_id).await.unwrap(); // into the caches

    client.erase(&other.customer_id).await;
    client.gone(&first.customer_id).await;
    client.gone(&other.customer_id).await;
    for (what, sql) in [
        ("events", "select count(*) from event where tenant_id = $1"),
        (
            "fragments with state",
            "select count(*) from fragment where tenant_id = $1 and
            (version > 0 or wrapped_key is not null or personal is not null)",
        ),
        ("customers", "select count(*) from customer where tenant_id = $1"),
    ] {
        assert_eq!(client.count(sql).await, 1, "{what}: only those of the one who was kept");
    }
    for sql in [
        "select count(*) from ledger_entry where tenant_id = $1",
        "select count(*) from rejected_event where tenant_id = $1",
        "select count(*) from redirect where tenant_id = $1",
    ] {
        assert_eq!(client.count(sql).await, 0, "{sql}");
    }
    client.get(&kept.customer_id).await.unwrap();

    // An SDK repeats, late; nothing of it is kept.
    let late = client.ingest(vec![track(1, "order", "Page Viewed", BASE_US)]).await.remove(0);
    assert_eq!(late.status(), EventStatus::Rejected);
    assert_eq!(fields(&late.violations), ["event_time"]);
    assert_eq!(client.count("select count(*) from rejected_event where tenant_id = $1").await, 0);
    // The same person later, in one call with something late.
    let later = track(1, "later", "Page Viewed", now_us() + 1);
    let both = client.ingest(vec![track(1, "late", "Page Viewed", BASE_US), later]).await;
    assert_eq!(both[0].status(), EventStatus::Rejected);
    assert_eq!(both[1].status(), EventStatus::Accepted, "{both:?}");
    assert_ne!(both[1].customer_id, first.customer_id);
    let back = client.get(&both[1].customer_id).await.unwrap();
    assert_eq!(back.evidence_ids, std::slice::from_ref(&first.evidence_id));
    let late = client.ingest(vec![track(1, "late", "Page Viewed", BASE_US)]).await.remove(0);
    assert_eq!(late.status(), EventStatus::Rejected, "also when somebody new is there");
    assert_eq!(client.count("select count(*) from event where tenant_id = $1").await, 2);
}

/// An event of a person that is refused, but whose identifiers can be read.
fn bad(person: usize, id: &str, us: i64) -> wire::Event {
    let mut bad = track(person, id, "", us);
    bad.source = "x".repeat(100);
    bad
}

const REJECTED: &str = "select count(*) from rejected_event where tenant_id = $1";

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_that_meets_an_erasure_is_not_kept() {
    let world = World::new().await;
    let mut client = world.tenant();
    let first = client.take(track(1, "first", "Page Viewed", BASE_US)).await;
    client.erase(&first.customer_id).await;
    client.gone(&first.customer_id).await;
    client.ingest(vec![bad(1, "late", BASE_US)]).await;
    assert_eq!(client.count(REJECTED).await, 0, "it happened before the erasure");
    client.ingest(vec![bad(1, "later", now_us())]).await;
    assert_eq!(client.count(REJECTED).await, 1, "it is of somebody new");

    // Another person's erasure is being written: its row is not there yet for others.
    let other = client.take(track(2, "other", "Page Viewed", BASE_US)).await;
    let evidence: Uuid = other.evidence_id.parse().unwrap();
    let mut erasing = world.database.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(7203, hashtext($1::uuid::text))")
        .bind(client.tenant.uuid())
        .execute(&mut *erasing)
        .await
        .unwrap();
    let mut other_client = client.clone();
    let keeping = tokio::spawn(async move {
        other_client.ingest(vec![bad(2, "meets", BASE_US)]).await;
    });
    eventually(LIMIT, "who keeps it waits", async || {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_locks where locktype = 'advisory' and not granted
                and classid = 7203 and objid::int8 & 4294967295 = hashtext($1::uuid::text)::int8 & 4294967295",
        )
        .bind(client.tenant.uuid())
        .fetch_one(world.database.pool())
        .await
        .unwrap();
        if waiting == 1 { Ok(()) } else { Err(waiting) }
    })
    .await;
    sqlx::query("update fragment set erased_us = $2 where tenant_id = $1 and evidence_id = $3")
        .bind(client.tenant.uuid())
        .bind(now_us())
        .bind(evidence)
        .execute(&mut *erasing)
        .await
        .unwrap();
    erasing.commit().await.unwrap();
    keeping.await.unwrap();
    assert_eq!(client.count(REJECTED).await, 1, "only the one of somebody new");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_events_go_with_an_erasure_whose_time_is_known_already() {
    let world = World::new().await;
    let mut client = world.tenant();
    client.ingest(vec![bad(1, "bad", BASE_US)]).await;
    let (_, customer) = client.who(1).await; // known to identity alone
    let evidence: Uuid =
        sqlx::query_scalar("select evidence_id from rejected_event where tenant_id = $1")
            .bind(client.tenant.uuid())
            .fetch_one(world.database.pool())
            .await
            .unwrap();
    // As an answer of identity leaves it that comes before the entry of the erasure.
    sqlx::query(
        "insert into fragment (tenant_id, shard, evidence_id, customer_id, map_version, erased_us)
        values ($1, $2, $3, $4, 1, $5)",
    )
    .bind(client.tenant.uuid())
    .bind(kernel::Shard::of(evidence).number())
    .bind(evidence)
    .bind(Uuid::nil())
    .bind(now_us() + 3_600_000_000)
    .execute(world.database.pool())
    .await
    .unwrap();
    client.erase(&customer).await;
    eventually(LIMIT, "the refused event is gone", async || match client.count(REJECTED).await {
        0 => Ok(()),
        left => Err(left),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn erasing_while_events_arrive_leaves_no_event_of_before_and_whole_customers() {
    const PERSONS: usize = 4;
    const ERASURES: usize = 12;
    let world = World::new().await;
    let mut client = world.tenant();
    let stop = Arc::new(AtomicBool::new(false));
    let ingesting: Vec<_> = (0..3)
        .map(|task| {
            let (mut client, stop) = (client.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    let events = (0..PERSONS).map(|person| {
                        let id = format!("{task}-{number}-{person}");
                        track(person, &id, "Page Viewed", now_us())
                    });
                    let request = wire::IngestEventsRequest { events: events.collect() };
                    // A call that meets an erasure four times is refused as a whole.
                    if let Err(status) = client.profile.ingest_events(request).await {
                        assert_eq!(status.code(), Code::Aborted, "{status:?}");
                    }
                    number += 1;
                }
            })
        })
        .collect();
    for number in 0..ERASURES {
        let before = client.count("select count(*) from event where tenant_id = $1").await;
        let mut customer = String::new();
        eventually(LIMIT, "events arrive", async || {
            let events = client.count("select count(*) from event where tenant_id = $1").await;
            if events != before { Ok(()) } else { Err(events) }
        })
        .await;
        while customer.is_empty() {
            customer = client.who(number % PERSONS).await.1;
        }
        client.erase(&customer).await;
        client.gone(&customer).await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in ingesting {
        task.await.unwrap();
    }
    // Nobody is left behind: void evidence has no key, no state and no events.
    let rows = sqlx::query(
        "select f.customer_id, f.erased_us, f.wrapped_key is null as keyless, f.version,
            (select count(*) from event e where e.tenant_id = f.tenant_id and e.shard = f.shard
                and e.evidence_id = f.evidence_id) as events,
            (select min(occurred_us) from event e where e.tenant_id = f.tenant_id
                and e.shard = f.shard and e.evidence_id = f.evidence_id) as first
        from fragment f where f.tenant_id = $1",
    )
    .bind(client.tenant.uuid())
    .fetch_all(world.database.pool())
    .await
    .unwrap();
    assert_eq!(rows.len(), PERSONS);
    for row in &rows {
        let customer: Uuid = row.get("customer_id");
        let (erased, first): (Option<i64>, Option<i64>) = (row.get("erased_us"), row.get("first"));
        let events: i64 = row.get("events");
        assert!(erased.is_some(), "each was erased");
        assert!(first.is_none_or(|first| Some(first) > erased), "{first:?} {erased:?}");
        if customer.is_nil() {
            assert!(
                row.get::<bool, _>("keyless") && events == 0 && row.get::<i64, _>("version") == 0
            );
        }
    }
    // And who came since is whole: every event opens and is counted once.
    for n in 0..PERSONS {
        let taken = client.take(track(n, "last", "Page Viewed", now_us() + 1)).await;
        let profile = client.get_at_least(&taken.customer_id, taken.profile_version).await.unwrap();
        let request = wire::GetTimelineRequest {
            customer_id: taken.customer_id.clone(),
            page_size: 1_000,
            ..wire::GetTimelineRequest::default()
        };
        let timeline = client.profile.get_timeline(request).await.unwrap().into_inner();
        assert_eq!(timeline.next_page_token, "");
        let events = client.count_of(&taken.evidence_id).await;
        assert_eq!(timeline.events.len() as i64, events, "{profile:?}");
    }
}

impl Client {
    async fn count_of(&self, evidence: &str) -> i64 {
        let evidence: Uuid = evidence.parse().unwrap();
        let sql = "select count(*) from event where tenant_id = $1 and evidence_id = $2";
        let query = sqlx::query_scalar(sql).bind(self.tenant.uuid()).bind(evidence);
        query.fetch_one(self.world.database.pool()).await.unwrap()
    }
}
