//! Scores that cross thresholds create demands, exactly once.

use std::sync::Arc;

use contracts::routing::v1::*;
use contracts::scoring::v1::{EventKind, ReachedThreshold, ScoreChanged, ScoreState};
use feed::{Entry, Error, FeedService, Metrics, Shards, SnapshotKey, SnapshotSource, Tail};
use kernel::TenantId;
use prost::Message;
use server::client::Endpoint;
use sqlx::Acquire;
use store::{Database, Migration};
use testkit::{House, TestDatabase};
use tonic::service::Routes;
use uuid::Uuid;

use crate::world::{LIMIT, World, demand, fields};

/// The log of scoring, without its service: its RPCs are away.
struct Log {
    database: Database,
    tail: Tail,
    endpoint: Endpoint,
    _clone: TestDatabase,
}

static MIGRATIONS: &[Migration] = &[Migration { version: 1, name: "feed", sql: feed::SCHEMA }];

struct Nobody;

impl SnapshotSource for Nobody {
    async fn snapshot(
        &self,
        _: Shards,
        _: Option<SnapshotKey>,
        _: usize,
    ) -> Result<Vec<Entry>, Error> {
        Ok(Vec::new())
    }
}

impl Log {
    async fn new(house: &House) -> Self {
        let (clone, database) = house.database("log", MIGRATIONS).await.unwrap();
        let tail = Tail::new(&database, None, Metrics::default());
        let (running, stop) = (tail.clone(), house.drain.token());
        tokio::spawn(async move { running.run(stop).await });
        let service = FeedService::new(tail.clone(), Nobody, house.drain.token());
        let endpoint = house.serve(Routes::new(service.into_server())).unwrap();
        Self { database, tail, endpoint, _clone: clone }
    }

    async fn erase(&self, tenant: TenantId, customer: Uuid) {
        let part = feed::receipt::Part {
            tenant,
            id: Uuid::now_v7(),
            customers: vec![kernel::CustomerId::new(customer)],
        };
        let mut transaction = self.database.begin().await.unwrap();
        let entry = part.entry(EventKind::CustomersErased as i16);
        feed::append(&mut transaction, &[entry]).await.unwrap();
        transaction.commit().await.unwrap();
        self.tail.wake();
    }

    async fn cross(&self, tenant: TenantId, customer: Uuid, version: i64) {
        let hot = ReachedThreshold { name: "hot".to_owned(), since_version: version };
        let score = ScoreState {
            scorer: "lead".to_owned(),
            value: 50.0,
            grade: "hot".to_owned(),
            reached: vec![hot],
            crossed_up: vec!["hot".to_owned()],
        };
        let data = ScoreChanged { scores: vec![score], profile_version: 1 };
        let kind = EventKind::ScoreChanged as i16;
        let entry = Entry::new(tenant, customer, kind, version, data.encode_to_vec().into());
        let mut connection = self.database.acquire().await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        feed::append(&mut transaction, &[entry]).await.unwrap();
        transaction.commit().await.unwrap();
        self.tail.wake();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crossing_creates_one_demand_however_often_it_is_heard() {
    let house = House::new(contracts::DESCRIPTORS).unwrap();
    let log = Log::new(&house).await;
    let world = Arc::new(World::of(house, "", log.endpoint.clone()).await);
    let mut client = world.tenant();
    let trigger = ThresholdTrigger {
        scorer: "lead".to_owned(),
        threshold: "hot".to_owned(),
        demand_kind: "win-back".to_owned(),
        priority: 9,
    };
    let policy =
        RoutingPolicy { name: "hot".to_owned(), triggers: vec![trigger], ..Default::default() };
    client.policy(policy).await.unwrap();

    let customer = Uuid::now_v7();
    log.cross(client.tenant, customer, 1).await;
    log.cross(client.tenant, customer, 1).await;
    log.cross(client.tenant, customer, 2).await;
    log.cross(TenantId::new(Uuid::new_v4()), Uuid::now_v7(), 1).await;
    let applied = async |position: i64| {
        let reached =
            "select coalesce(max(position), 0) from checkpoint where consumer = 'routing.scoring'";
        testkit::eventually(LIMIT, "the log to be applied", async || {
            world.count(reached).await >= position
        })
        .await;
    };
    applied(4).await;
    assert_eq!(world.count("select count(*) from demand").await, 2, "one for each crossing");

    // All over again, as after a restore of this database's checkpoint alone.
    sqlx::query("update checkpoint set position = 0, epoch = epoch + 1, lease_until = now()")
        .execute(world.database.pool())
        .await
        .unwrap();
    log.cross(client.tenant, customer, 3).await;
    applied(5).await;
    assert_eq!(world.count("select count(*) from demand").await, 3);

    let page = client.rpc.list_demands(ListDemandsRequest::default()).await.unwrap().into_inner();
    let demand = &page.demands[0];
    assert_eq!(
        (demand.kind.as_str(), demand.policy.as_str(), demand.priority),
        ("win-back", "hot", 9)
    );
    assert_eq!(demand.customer_id, customer.to_string());
    assert_eq!(client.causes(&demand.demand_id).await[0], "threshold_crossed");
    client.team().await;
    client.agent("ann", 5, &[]).await;
    client.online("ann").await;
    for demand in page.demands {
        client.until(&demand.demand_id, DemandState::Offered).await;
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_created_for_who_was_erased_and_nothing_put_aside_comes_back() {
    let house = House::new(contracts::DESCRIPTORS).unwrap();
    let log = Log::new(&house).await;
    let world = Arc::new(World::of(house, "", log.endpoint.clone()).await);
    let mut client = world.tenant();
    let customer = Uuid::now_v7();
    for subject in [customer, Uuid::now_v7()] {
        sqlx::query(
            "insert into dead_letter (consumer, tenant_id, subject, seq, entry, error, attempts,
                parked_us)
            values ('routing.scoring', $1, $2, 1, '', 'test', 1, 0)",
        )
        .bind(client.tenant.uuid())
        .bind(subject)
        .execute(world.database.pool())
        .await
        .unwrap();
    }
    let wanted = CreateDemandRequest { customer_id: customer.to_string(), ..demand() };
    client.create(wanted.clone()).await;
    log.erase(client.tenant, customer).await;
    testkit::eventually(LIMIT, "the erasure to be applied", async || {
        world.count("select count(*) from erased").await == 1
    })
    .await;
    assert_eq!(world.count("select count(*) from dead_letter").await, 1, "that of the other");
    let refused = client.try_create(wanted).await.unwrap_err();
    assert_eq!(fields(&refused), ["customer_id"]);
    let nobody = "select count(*) from demand where customer_id <> \
        '00000000-0000-0000-0000-000000000000'";
    assert_eq!(world.count(nobody).await, 0);
    client.create(demand()).await;
}
