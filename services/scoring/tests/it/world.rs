//! Scoring, the two logs that it follows, and the words that tests speak to it. The logs are
//! profile's and feedback's by contract: real feeds with entries that a test appends.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aggregate::{Behaviour, EventFacts, EventKind, TraitFact, TraitValue};
use contracts::feedback::v1 as feedback;
use contracts::profile::v1 as profile;
use contracts::scoring::v1 as proto;
use contracts::scoring::v1::scoring_service_client::ScoringServiceClient;
use feed::tail::{Position, Subscription};
use feed::{Entry, FeedService, Metrics, Shards, SnapshotKey, SnapshotSource, Tail};
use jiff::Timestamp;
use kernel::{EvidenceId, TenantId};
use prometheus_client::registry::Registry;
use prost::Message;
use scoring::Clock;
use server::Peer;
use server::client::Endpoint;
use sqlx::Connection;
use store::{Database, Migration};
use testkit::{House, TestDatabase, eventually};
use tonic::service::Routes;
use tonic::{Code, Status};
use uuid::Uuid;

pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// 2026-01-01, in microseconds.
pub(crate) const DAY_ONE: i64 = 1_767_225_600_000_000;
pub(crate) const DAY: i64 = 86_400_000_000;

static LOG: &[Migration] = &[Migration { version: 1, name: "feed", sql: feed::SCHEMA }];

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

/// The log of a service that scoring follows.
pub(crate) struct Log {
    database: Database,
    tail: Tail,
    endpoint: Endpoint,
    _clone: TestDatabase,
}

impl Log {
    async fn new(house: &House, name: &'static str) -> Self {
        let (clone, database) = house.database(name, LOG).await.unwrap();
        let tail = started(house, &database);
        let served = FeedService::new(tail.clone(), NoSubjects, house.drain.token()).into_server();
        let endpoint = house.serve(Routes::new(served)).unwrap();
        Self { database, tail, endpoint, _clone: clone }
    }

    pub(crate) async fn tell(&self, entries: &[Entry]) {
        for entries in entries.chunks(feed::MAX_APPEND) {
            let mut connection = self.database.acquire().await.unwrap();
            let mut transaction = connection.begin().await.unwrap();
            feed::append(&mut transaction, entries).await.unwrap();
            transaction.commit().await.unwrap();
        }
        self.tail.wake();
    }
}

pub(crate) struct World {
    pub(crate) house: House,
    pub(crate) database: Database,
    pub(crate) endpoint: Endpoint,
    pub(crate) profile: Log,
    pub(crate) feedback: Log,
    now_us: Arc<AtomicI64>,
    tail: Tail,
    clone: TestDatabase,
}

impl World {
    pub(crate) async fn new() -> Self {
        let house = House::new(contracts::DESCRIPTORS).unwrap();
        let profile = Log::new(&house, "profile_log").await;
        let feedback = Log::new(&house, "feedback_log").await;
        let (clone, database) = house.database("scoring", scoring::MIGRATIONS).await.unwrap();
        let tail = started(&house, &database);
        let endpoint = profile.endpoint.clone();
        let now_us = Arc::new(AtomicI64::new(DAY_ONE));
        let mut world = Self { house, database, endpoint, profile, feedback, now_us, tail, clone };
        world.endpoint = world.serve().await;
        world
    }

    async fn serve(&self) -> Endpoint {
        let deps = scoring::Deps {
            database: self.database.clone(),
            keys: self.house.keys.clone(),
            cache: self.house.cache().await.unwrap(),
            drain: self.house.drain.clone(),
            peers: self.peers(),
        };
        let now_us = Arc::clone(&self.now_us);
        let clock = Clock::from_fn(move || {
            Timestamp::from_microsecond(now_us.load(Ordering::SeqCst)).unwrap()
        });
        let mut registry = Registry::default();
        let built = scoring::build_with_clock(config(""), deps, &mut registry, clock).await;
        self.house.serve(built.unwrap().own).unwrap()
    }

    pub(crate) fn peers(&self) -> scoring::Peers {
        let tokens = || self.house.internal_tokens("scoring");
        scoring::Peers {
            profile: Peer::new(self.profile.endpoint.clone(), tokens()),
            feedback: Peer::new(self.feedback.endpoint.clone(), tokens()),
        }
    }

    /// The address of scoring's database.
    pub(crate) fn url(&self) -> String {
        self.clone.url().to_owned()
    }

    pub(crate) fn move_clock(&self, to_us: i64) {
        self.now_us.store(to_us, Ordering::SeqCst);
    }

    pub(crate) fn tenant(&self) -> Tenant {
        self.tenant_with(TenantId::new(Uuid::new_v4()))
    }

    pub(crate) fn tenant_with(&self, id: TenantId) -> Tenant {
        let client = ScoringServiceClient::new(self.house.peer(&self.endpoint, id));
        Tenant { id, client }
    }

    /// A tenant with the traits `job` (text), `age` (number) and `secret` (text, personal).
    pub(crate) async fn tenant_with_traits(&self) -> Tenant {
        let tenant = self.tenant();
        let traits = [("job", 1, false), ("age", 2, false), ("secret", 1, true)];
        let entries: Vec<Entry> = traits
            .iter()
            .map(|(name, kind, personal)| declared(&tenant, name, *kind, *personal, 1))
            .collect();
        self.profile.tell(&entries).await;
        eventually(LIMIT, "the traits", async || {
            let sql = "select count(*) = 3 from trait where tenant_id = $1";
            let query = sqlx::query_scalar(sql).bind(tenant.id.uuid());
            query.fetch_one(self.database.pool()).await.unwrap_or(false)
        })
        .await;
        tenant
    }

    /// Listens to scoring's own feed from its beginning.
    pub(crate) async fn listen(&self) -> Changes {
        let from = Position { epoch: None, seq: 0 };
        Changes(self.tail.subscribe(from).await.unwrap(), Vec::new())
    }
}

pub(crate) fn config(lines: &str) -> scoring::Config {
    let lines = format!("[scoring]\ndue_poll_ms = 25\nchunk = 50\n{lines}");
    scoring::Config::load(&[server::settings::Layer::toml("test", lines)]).unwrap()
}

fn started(house: &House, database: &Database) -> Tail {
    let tail = Tail::new(database, None, Metrics::default());
    let (running, stop) = (tail.clone(), house.drain.token());
    tokio::spawn(async move { running.run(stop).await });
    tail
}

/// Changes of scores as other services hear them.
pub(crate) struct Changes(Subscription, Vec<(Uuid, i64, proto::ScoreChanged)>);

impl Changes {
    /// The next change: customer, version, what it says.
    pub(crate) async fn next(&mut self) -> (Uuid, i64, proto::ScoreChanged) {
        while self.1.is_empty() {
            let run = tokio::time::timeout(LIMIT, self.0.next()).await.unwrap().unwrap();
            for entry in run.entries().iter().rev() {
                let changed = proto::ScoreChanged::decode(entry.data.clone()).unwrap();
                self.1.push((entry.subject, entry.version, changed));
            }
        }
        self.1.pop().unwrap()
    }
}

pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    pub(crate) client: ScoringServiceClient<Peer>,
}

/// A declaration as profile tells it.
pub(crate) fn declared(
    tenant: &Tenant,
    name: &str,
    kind: i32,
    personal: bool,
    version: i64,
) -> Entry {
    let data = profile::TraitChanged { name: name.to_owned(), r#type: kind, personal };
    let mut subject = [0; 16];
    subject[..name.len()].copy_from_slice(name.as_bytes());
    let kind = profile::EventKind::TraitChanged as i16;
    Entry::new(tenant.id, Uuid::from_bytes(subject), kind, version, data.encode_to_vec().into())
}

/// A label as feedback tells it.
pub(crate) fn label(tenant: &Tenant, id: Uuid, version: i64, positive: bool, kind: &str) -> Entry {
    let data = feedback::LabelRecorded {
        use_id: bytes::Bytes::copy_from_slice(id.as_bytes()),
        positive,
        demand_kind: kind.to_owned(),
        event_time: Some(time(DAY_ONE)),
    };
    let kind = feedback::EventKind::LabelRecorded as i16;
    Entry::new(tenant.id, id, kind, version, data.encode_to_vec().into())
}

pub(crate) fn time(us: i64) -> prost_types::Timestamp {
    let nanos = (us % 1_000_000) as i32 * 1_000;
    prost_types::Timestamp { seconds: us / 1_000_000, nanos }
}

/// A customer as profile knows it.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) behaviour: Behaviour,
}

impl Person {
    pub(crate) fn new() -> Self {
        Self { id: Uuid::now_v7(), version: 0, behaviour: Behaviour::default() }
    }

    pub(crate) fn did(mut self, name: &str, event_us: i64) -> Self {
        self.fold(name, event_us, &[]);
        self
    }

    pub(crate) fn with_job(mut self, job: &str) -> Self {
        let value = TraitValue::text(job).unwrap();
        self.attribute(TraitFact { name: "job", value: &value, personal: false });
        self
    }

    pub(crate) fn with_age(mut self, age: f64) -> Self {
        let value = TraitValue::number(age).unwrap();
        self.attribute(TraitFact { name: "age", value: &value, personal: false });
        self
    }

    /// Later than whatever was said before.
    fn attribute(&mut self, fact: TraitFact<'_>) {
        let event_us = DAY_ONE + self.behaviour.total_events() as i64;
        self.fold("", event_us, &[fact]);
    }

    fn fold(&mut self, name: &str, event_us: i64, traits: &[TraitFact<'_>]) {
        self.behaviour.fold(&EventFacts {
            name,
            kind: if traits.is_empty() { EventKind::Track } else { EventKind::Identify },
            event_us,
            ledger: None,
            traits,
            source: "test",
            evidence: EvidenceId::new(self.id),
            message_id: &self.behaviour.total_events().to_string(),
        });
    }

    /// The next version of the profile, as profile tells it.
    pub(crate) fn changed(&mut self, tenant: &Tenant) -> Entry {
        self.version += 1;
        let data = profile::ProfileChanged { state: self.behaviour.encode().into() };
        let kind = profile::EventKind::ProfileChanged as i16;
        Entry::new(tenant.id, self.id, kind, self.version, data.encode_to_vec().into())
    }

    /// The id leads to another customer from now on, or to itself.
    pub(crate) fn redirected(&self, tenant: &Tenant, into: Uuid, version: i64) -> Entry {
        let into_customer_id = bytes::Bytes::copy_from_slice(into.as_bytes());
        let data = profile::ProfileRedirected { into_customer_id };
        let kind = profile::EventKind::ProfileRedirected as i16;
        Entry::new(tenant.id, self.id, kind, version, data.encode_to_vec().into())
    }
}

impl Tenant {
    pub(crate) async fn card(
        &mut self,
        card: proto::Scorecard,
    ) -> Result<proto::Scorecard, Status> {
        let request = proto::UpsertScorecardRequest { scorecard: Some(card), ..Default::default() };
        Ok(self.client.upsert_scorecard(request).await?.into_inner().scorecard.unwrap())
    }

    pub(crate) async fn model(
        &mut self,
        policy: proto::ModelPolicy,
    ) -> Result<proto::ModelPolicy, Status> {
        let request =
            proto::UpsertModelPolicyRequest { policy: Some(policy), ..Default::default() };
        Ok(self.client.upsert_model_policy(request).await?.into_inner().policy.unwrap())
    }

    pub(crate) async fn progress(&mut self, model: &str) -> proto::Model {
        let request = proto::ListModelsRequest::default();
        let models = self.client.list_models(request).await.unwrap().into_inner().models;
        let is = |listed: &proto::Model| listed.policy.as_ref().unwrap().name == model;
        models.into_iter().find(is).unwrap()
    }

    /// Scores at a version of the profile.
    pub(crate) async fn score(&mut self, person: &Person) -> Result<Vec<proto::Score>, Status> {
        self.ask(proto::ScoreCustomerRequest {
            customer_id: person.id.to_string(),
            at_least_profile_version: person.version,
            ..Default::default()
        })
        .await
    }

    pub(crate) async fn ask(
        &mut self,
        request: proto::ScoreCustomerRequest,
    ) -> Result<Vec<proto::Score>, Status> {
        Ok(self.client.score_customer(request).await?.into_inner().scores)
    }

    pub(crate) async fn stored(&mut self, id: Uuid) -> Result<Vec<proto::Score>, Status> {
        let request = proto::GetScoresRequest { customer_id: id.to_string() };
        Ok(self.client.get_scores(request).await?.into_inner().scores)
    }
}

pub(crate) fn card(name: &str, rules: &[(&str, &str, f64)]) -> proto::Scorecard {
    let rule = |(name, when, points): &(&str, &str, f64)| proto::ScoreRule {
        name: (*name).to_owned(),
        when: (*when).to_owned(),
        points: *points,
        ..Default::default()
    };
    proto::Scorecard {
        name: name.to_owned(),
        rules: rules.iter().map(rule).collect(),
        ..Default::default()
    }
}

pub(crate) fn threshold(name: &str, value: f64) -> proto::Threshold {
    proto::Threshold { name: name.to_owned(), value }
}

pub(crate) fn policy(name: &str, features: &[&str]) -> proto::ModelPolicy {
    proto::ModelPolicy {
        name: name.to_owned(),
        features: features.iter().map(|name| (*name).to_owned()).collect(),
        learning: proto::LearningMode::On.into(),
        ..Default::default()
    }
}

/// The fields that a status complains about, with what it says.
pub(crate) fn complaints(status: &Status) -> Vec<(String, String)> {
    use tonic_types::StatusExt;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone());
    let pair = |violation: tonic_types::FieldViolation| (violation.field, violation.description);
    violations.unwrap_or_default().into_iter().map(pair).collect()
}
