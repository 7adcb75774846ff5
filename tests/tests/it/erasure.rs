//! Erasing a customer goes through the whole house: nothing personal is left anywhere, every
//! service says so, and what comes late does not bring anybody back.

use std::collections::BTreeSet;

use contracts::identity::v1 as identity;
use contracts::profile::v1 as profile;
use contracts::routing::v1 as routing;
use contracts::scoring::v1 as scoring;
use rapport::suite::SERVICES;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use testkit::eventually;
use tonic::Code;

use crate::world::{Desk, PATIENCE, World, event, identifier, identify, tenant};

const HOUSE: &str = r"
kind: Scorecard
name: interest
rules:
  - {name: seen, when: 'events.total >= 1', points: 80}
thresholds: [{name: hot, value: 70}]
---
kind: RoutingPolicy
name: default
triggers:
  - {scorer: interest, threshold: hot, demand_kind: lead, priority: 10}
";

/// In every field that may hold something personal.
const CANARIES: [&str; 3] = ["canary.erase@example.org", "Kanarienvogel", "13912340000"];

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_customer_is_nowhere_and_every_service_says_so() {
    let world = World::start().await;
    let owner = tenant();
    let mut desk = world.desk(owner);
    desk.apply(HOUSE).await;
    let email = identifier("email", CANARIES[0]);
    let named = identify("c1", email.clone(), &[("name", CANARIES[1]), ("email", CANARIES[0])]);
    let first = desk.ingest(named).await;
    let phone = identifier("phone", CANARIES[2]);
    desk.ingest(event("c2", "Seen", vec![email.clone(), phone.clone()])).await;
    let bystander = desk.ingest(event("b1", "Seen", vec![identifier("user_id", "kept")])).await;
    let demand = demand_of(&mut desk, &first.customer_id).await;
    let kept_demand = demand_of(&mut desk, &bystander.customer_id).await;

    let would = erase(&mut desk, &first.customer_id, true).await.expect("only asked");
    assert_eq!((would.evidence_count, would.erasure_id.is_empty()), (2, true));
    let mut stranger = world.desk(tenant());
    let foreign = erase(&mut stranger, &first.customer_id, false).await.expect_err("foreign");
    assert_eq!(foreign.code(), Code::NotFound);
    let erasure = erase(&mut desk, &first.customer_id, false).await.expect("erased");
    let done = receipts(&mut desk, &erasure.erasure_id).await;
    let services: Vec<&str> = done.receipts.iter().map(|it| it.service.as_str()).collect();
    assert_eq!(services, ["identity", "profile", "scoring", "routing", "feedback"]);

    is_gone(&mut desk, &first.customer_id).await;
    let closed = get_demand(&mut desk, &demand).await;
    assert_eq!(closed.state(), routing::DemandState::Closed);
    assert_eq!(closed.result(), routing::DemandResult::Erased);
    assert!(closed.scores.is_empty() && closed.customer_id != first.customer_id);
    assert_ne!(get_demand(&mut desk, &kept_demand).await.state(), routing::DemandState::Closed);
    let get = profile::GetProfileRequest {
        customer_id: bystander.customer_id.clone(),
        ..Default::default()
    };
    desk.profile.get_profile(get).await.expect("the other one is untouched");
    leaves_nothing(&world, &first.customer_id, &first.evidence_id).await;

    // Twice, and late.
    let again = erase(&mut desk, &first.customer_id, false).await.expect("erased before");
    assert_eq!(again.erasure_id, erasure.erasure_id);
    let mut late = event("c1", "Seen", vec![email.clone()]);
    let before = erasure.erase_time.expect("a time").seconds - 1;
    late.event_time = Some(prost_types::Timestamp { seconds: before, nanos: 0 });
    let request = profile::IngestEventsRequest { events: vec![late] };
    let answer = desk.profile.ingest_events(request).await.expect("answered").into_inner();
    assert_eq!(answer.results[0].status(), profile::EventStatus::Rejected);
    is_gone(&mut desk, &first.customer_id).await;
    let back = desk.ingest(event("c9", "Seen", vec![email])).await;
    assert_ne!(back.customer_id, first.customer_id, "who comes back is somebody new");
    demand_of(&mut desk, &back.customer_id).await;
    world.stop().await;
}

async fn erase(
    desk: &mut Desk,
    customer: &str,
    validate_only: bool,
) -> Result<identity::Erasure, tonic::Status> {
    let key = identity::erase_customer_request::Key::CustomerId(customer.to_owned());
    let request =
        identity::EraseCustomerRequest { key: Some(key), validate_only, ..Default::default() };
    let answer = desk.identity.erase_customer(request).await?.into_inner();
    Ok(answer.erasure.expect("an erasure"))
}

/// Waits for the receipts of all services.
async fn receipts(desk: &mut Desk, id: &str) -> identity::Erasure {
    eventually(PATIENCE, "all services have erased", async || {
        let request = identity::GetErasureRequest { erasure_id: id.to_owned() };
        let answer = desk.identity.clone().get_erasure(request).await.expect("known").into_inner();
        let erasure = answer.erasure.expect("an erasure");
        if erasure.state() == identity::ErasureState::Done { Ok(erasure) } else { Err(erasure) }
    })
    .await
}

/// The demand that a threshold created for a customer.
async fn demand_of(desk: &mut Desk, customer: &str) -> String {
    eventually(PATIENCE, "a demand", async || {
        let request =
            routing::ListDemandsRequest { customer_id: customer.to_owned(), ..Default::default() };
        let answer = desk.routing.clone().list_demands(request).await.expect("listed").into_inner();
        answer.demands.first().map(|demand| demand.demand_id.clone()).ok_or("none yet")
    })
    .await
}

async fn get_demand(desk: &mut Desk, id: &str) -> routing::Demand {
    let request = routing::GetDemandRequest { demand_id: id.to_owned() };
    let answer = desk.routing.get_demand(request).await.expect("it stays").into_inner();
    answer.demand.expect("a demand")
}

async fn is_gone(desk: &mut Desk, customer: &str) {
    let id = || customer.to_owned();
    let get = profile::GetProfileRequest { customer_id: id(), ..Default::default() };
    let status = desk.profile.get_profile(get).await.expect_err("no profile");
    assert_eq!(status.code(), Code::NotFound);
    let list = profile::GetTimelineRequest { customer_id: id(), ..Default::default() };
    let timeline = desk.profile.get_timeline(list).await;
    assert!(timeline.map_or(true, |timeline| timeline.into_inner().events.is_empty()));
    let key = Some(identity::get_customer_request::Key::CustomerId(id()));
    let status = desk.identity.get_customer(identity::GetCustomerRequest { key }).await;
    assert_eq!(status.expect_err("no customer").code(), Code::NotFound);
    let score = scoring::ScoreCustomerRequest { customer_id: id(), ..Default::default() };
    let status = desk.scoring.score_customer(score).await.expect_err("no scores");
    assert_eq!(status.code(), Code::NotFound);
    let list = routing::ListDemandsRequest { customer_id: id(), ..Default::default() };
    assert!(desk.routing.list_demands(list).await.expect("listed").into_inner().demands.is_empty());
}

/// Looks into every column of every table: no canary in clear; the customer's id and evidence
/// only where an erasure needs them.
async fn leaves_nothing(world: &World, customer: &str, evidence: &str) {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for service in SERVICES {
        let url = world.database_url(service);
        let mut connection = PgConnection::connect(url).await.expect("a connection");
        let tables = "select relname::text from pg_class where relkind = 'r'
            and relnamespace = 'public'::regnamespace";
        let tables: Vec<String> =
            sqlx::query_scalar(tables).fetch_all(&mut connection).await.expect("tables");
        for table in tables {
            let select = AssertSqlSafe(format!("select row_to_json(t)::text from {table} t"));
            for row in sqlx::query(select).fetch_all(&mut connection).await.expect("rows") {
                let text: String = row.get(0);
                for canary in CANARIES {
                    let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
                    assert!(!text.contains(canary) && !text.contains(&hex), "{table}: {text}");
                }
                if text.contains(customer) || text.contains(evidence) {
                    seen.insert(format!("{service}.{table}"));
                }
            }
        }
    }
    let logs = |name: &String| name.contains(".feed_p") || name.ends_with(".feed");
    seen.retain(|name| !logs(name));
    let expected = [
        "feedback.erased",
        "identity.erasure",
        "identity.tombstone",
        "profile.erased",
        "profile.fragment",
        "routing.erased",
        "scoring.erased",
        "scoring.subject",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
