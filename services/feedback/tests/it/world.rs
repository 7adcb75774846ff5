//! Feedback, the log that it follows, and the words that tests speak to it. The log is
//! routing's by contract: a real feed with DemandChanged entries that a test appends.

use std::time::Duration;

use contracts::feedback::v1 as proto;
use contracts::feedback::v1::feedback_service_client::FeedbackServiceClient;
use contracts::routing::v1::{
    Demand, DemandChanged, DemandResult, DemandState, EventKind, UsedScore,
};
use feed::tail::{Position, Subscription};
use feed::{Entry, FeedService, Metrics, Shards, SnapshotKey, SnapshotSource, Tail};
use kernel::TenantId;
use prost::Message;
use prost_types::Timestamp;
use server::Peer;
use server::client::Endpoint;
use sqlx::Connection;
use store::{Database, Migration};
use testkit::{House, TestDatabase, eventually};
use tonic::service::Routes;
use tonic::{Code, Status};
use uuid::Uuid;

pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// 2026-01-01, in microseconds.
pub(crate) const DAY_ONE: i64 = 1_767_225_600_000_000;
pub(crate) const MINUTE: i64 = 60_000_000;

static LOG: &[Migration] = &[Migration { version: 1, name: "feed", sql: feed::SCHEMA }];

pub(crate) struct World {
    pub(crate) house: House,
    pub(crate) database: Database,
    pub(crate) endpoint: Endpoint,
    log: Database,
    log_tail: Tail,
    tail: Tail,
    _clones: [TestDatabase; 2],
}

/// A log without subjects: nobody reads its snapshot here.
struct NoSubjects;

impl SnapshotSource for NoSubjects {
    async fn snapshot(
        &self,
        _: Shards,
        _: Option<SnapshotKey>,
        _: usize,
    ) -> Result<Vec<Entry>, feed::Error> {
        Ok(Vec::new())
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// With these lines in `[feedback]`.
    pub(crate) async fn with(lines: &str) -> Self {
        let mut house = House::new(contracts::DESCRIPTORS).unwrap();
        let (log_clone, log) = house.database("routing_log", LOG).await.unwrap();
        let log_tail = started(&house, &log);
        let served =
            FeedService::new(log_tail.clone(), NoSubjects, house.drain.token()).into_server();
        let routing = house.serve(Routes::new(served)).unwrap();

        let (clone, database) = house.database("feedback", feedback::MIGRATIONS).await.unwrap();
        let deps = feedback::Deps {
            database: database.clone(),
            keys: house.keys.clone(),
            cache: house.cache().await.unwrap(),
            drain: house.drain.clone(),
            peers: feedback::Peers {
                routing: Peer::new(routing, house.internal_tokens("feedback")),
            },
        };
        let layer = server::settings::Layer::toml("test", format!("[feedback]\n{lines}"));
        let config = feedback::Config::load(&[layer]).unwrap();
        let service = feedback::build(config, deps, &mut house.registry).await.unwrap();
        let endpoint = house.serve(service.own).unwrap();
        let tail = started(&house, &database);
        Self { house, database, endpoint, log, log_tail, tail, _clones: [log_clone, clone] }
    }

    pub(crate) fn tenant(&self) -> Tenant {
        self.tenant_with(TenantId::new(Uuid::new_v4()))
    }

    pub(crate) fn tenant_with(&self, id: TenantId) -> Tenant {
        let client = FeedbackServiceClient::new(self.house.peer(&self.endpoint, id));
        Tenant { id, client }
    }

    /// Appends to routing's log.
    pub(crate) async fn tell(&self, entries: &[Entry]) {
        let mut connection = self.log.acquire().await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        feed::append(&mut transaction, entries).await.unwrap();
        transaction.commit().await.unwrap();
        self.log_tail.wake();
    }

    /// Listens to feedback's own feed from its beginning.
    pub(crate) async fn listen(&self) -> Labels {
        let from = Position { epoch: None, seq: 0 };
        Labels(self.tail.subscribe(from).await.unwrap())
    }

    /// Waits until so many demands are known.
    pub(crate) async fn known(&self, demands: i64) {
        eventually(LIMIT, "the facts", async || {
            let sql = "select count(*) from demand_fact";
            let count: i64 = sqlx::query_scalar(sql).fetch_one(self.database.pool()).await.unwrap();
            if count == demands { Ok(()) } else { Err(count) }
        })
        .await;
    }
}

fn started(house: &House, database: &Database) -> Tail {
    let tail = Tail::new(database, None, Metrics::default());
    let (running, stop) = (tail.clone(), house.drain.token());
    tokio::spawn(async move { running.run(stop).await });
    tail
}

/// Labels as other services hear them.
pub(crate) struct Labels(Subscription);

impl Labels {
    /// The next labels: demand, version, positive.
    pub(crate) async fn next(&mut self, count: usize) -> Vec<(Uuid, i64, bool)> {
        let mut labels = Vec::new();
        while labels.len() < count {
            let run = tokio::time::timeout(LIMIT, self.0.next()).await.unwrap().unwrap();
            labels.extend(run.entries().iter().map(read));
        }
        assert_eq!(labels.len(), count, "{labels:?}");
        labels
    }
}

pub(crate) fn read(entry: &Entry) -> (Uuid, i64, bool) {
    assert_eq!(i32::from(entry.kind), proto::EventKind::LabelRecorded as i32);
    let label = proto::LabelRecorded::decode(entry.data.clone()).unwrap();
    assert_eq!(&label.use_id[..], entry.subject.as_bytes());
    (entry.subject, entry.version, label.positive)
}

pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    pub(crate) client: FeedbackServiceClient<Peer>,
}

/// A demand as routing would describe it.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) id: Uuid,
    pub(crate) message: Demand,
}

impl Case {
    /// With a model's probability and a scorecard's points.
    pub(crate) fn scored(probability: f64, points: f64) -> Self {
        let mut case = Self::unscored();
        case.message.scores = vec![
            UsedScore {
                scorer: "propensity".to_owned(),
                scorer_version: 3,
                value: probability,
                probability: Some(probability),
            },
            UsedScore {
                scorer: "card".to_owned(),
                scorer_version: 1,
                value: points,
                probability: None,
            },
        ];
        case
    }

    pub(crate) fn unscored() -> Self {
        let id = Uuid::now_v7();
        let message = Demand {
            demand_id: id.to_string(),
            customer_id: Uuid::now_v7().to_string(),
            kind: "lead".to_owned(),
            event_time: Some(time(DAY_ONE)),
            create_time: Some(time(DAY_ONE)),
            ..Default::default()
        };
        Self { id, message }
    }

    /// The entry of a transition at an instant.
    pub(crate) fn at(&self, tenant: &Tenant, version: i64, state: DemandState, us: i64) -> Entry {
        let mut demand = self.message.clone();
        demand.version = version;
        demand.set_state(state);
        if state != DemandState::Queued {
            demand.team = "north".to_owned();
        }
        let changed = DemandChanged {
            demand: Some(demand),
            event_time: Some(time(us)),
            ..Default::default()
        };
        let kind = EventKind::DemandChanged as i16;
        Entry::new(tenant.id, self.id, kind, version, changed.encode_to_vec().into())
    }

    pub(crate) fn created(&self, tenant: &Tenant) -> Entry {
        self.at(tenant, 1, DemandState::Queued, DAY_ONE)
    }

    pub(crate) fn closed(
        &self,
        tenant: &Tenant,
        version: i64,
        result: DemandResult,
        us: i64,
    ) -> Entry {
        let mut case = self.clone();
        case.message.set_result(result);
        case.at(tenant, version, DemandState::Closed, us)
    }
}

pub(crate) fn time(us: i64) -> Timestamp {
    Timestamp { seconds: us / 1_000_000, nanos: (us % 1_000_000) as i32 * 1_000 }
}

impl Tenant {
    pub(crate) async fn record(
        &mut self,
        demand: Uuid,
        result: proto::OutcomeResult,
        event_us: i64,
    ) -> Result<proto::Outcome, Status> {
        self.record_request(proto::RecordOutcomeRequest {
            demand_id: demand.to_string(),
            result: result.into(),
            event_time: Some(time(event_us)),
            ..Default::default()
        })
        .await
    }

    pub(crate) async fn record_request(
        &mut self,
        request: proto::RecordOutcomeRequest,
    ) -> Result<proto::Outcome, Status> {
        Ok(self.client.record_outcome(request).await?.into_inner().outcome.unwrap())
    }

    pub(crate) async fn survey(
        &mut self,
        id: &str,
        demand: Uuid,
        kind: proto::SurveyKind,
        score: i32,
    ) -> Result<(), Status> {
        let request = proto::RecordSurveyRequest {
            survey_id: id.to_owned(),
            demand_id: demand.to_string(),
            kind: kind.into(),
            score,
            event_time: None,
        };
        self.client.record_survey(request).await.map(|_| ())
    }
}

/// The fields that a status complains about.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    use tonic_types::StatusExt;
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone());
    violations.unwrap_or_default().into_iter().map(|violation| violation.field).collect()
}
