//! The whole suite in this process, on real servers: cloned databases, a corner of Redis,
//! free ports, keys of its own.

use std::path::PathBuf;
use std::time::Duration;

use contracts::common::v1::{Identifier, TraitValue, trait_value};
use contracts::feedback::v1::feedback_service_client::FeedbackServiceClient;
use contracts::identity::v1::identity_service_client::IdentityServiceClient;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use contracts::profile::v1::{Event, EventResult, EventStatus, EventType, IngestEventsRequest};
use contracts::routing::v1::routing_service_client::RoutingServiceClient;
use contracts::scoring::v1::scoring_service_client::ScoringServiceClient;
use kernel::TenantId;
use prost_reflect::DescriptorPool;
use rapport::client::{Client, WithToken};
use rapport::suite::private::migrations;
use rapport::suite::{ALL_SCOPES, Databases, Keys, Listeners, Options, SERVICES, Suite, assemble};
use server::settings::Layer;
use server::token::Signer;
use store::{Cache, Database};
use testkit::{PrivateStack, Stack, TestDatabase, TestRedis};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use uuid::Uuid;

/// How long anything may take that happens in its own time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Servers whose drain does not wait for load balancers, and callers in a hurry.
const SETTINGS: &str = "[server]\nrate_per_second = 1000000\nrate_burst = 1000000\n\
    drain_lag_ms = 0\ndrain_grace_ms = 5000\n\
    [gateway]\nallowed_origins = [\"https://desk.example\"]\n";

pub(crate) type Authorised = InterceptedService<Channel, WithToken>;

/// A running suite and what it runs on.
pub(crate) struct World {
    pub(crate) suite: Suite,
    directory: PathBuf,
    databases: Vec<TestDatabase>,
}

impl World {
    /// On the servers that all tests share.
    pub(crate) async fn start() -> Self {
        let stack = Stack::get().await;
        let mut databases = Vec::new();
        for service in SERVICES {
            databases.push(database(service).await);
        }
        Self::on(databases, stack.redis()).await
    }

    /// On servers of its own, which the test may kill.
    pub(crate) async fn start_on(stack: &PrivateStack) -> Self {
        let mut databases = Vec::new();
        for service in SERVICES {
            let made = stack.database(service, &key(service), |url| migrate(service, url)).await;
            databases.push(made.expect("a database"));
        }
        Self::on(databases, stack.redis().expect("redis")).await
    }

    async fn on(databases: Vec<TestDatabase>, redis: TestRedis) -> Self {
        let name = format!("rapport-journey-{}", Uuid::new_v4().simple());
        let directory = std::env::temp_dir().join(name);
        let options = Options {
            directory: directory.clone(),
            pg_bin: None,
            rpc_port: 0,
            http_port: 0,
            admin_port: 0,
            layers: vec![Layer::toml("journeys", SETTINGS)],
            durable: false,
        };
        let keys = Keys::load_or_generate(&directory.join("keys")).expect("keys");
        let mut opened = Vec::new();
        for (service, database) in SERVICES.iter().zip(&databases) {
            let mut options = store::database::Options::new(database.url(), *service);
            // Two cores run several suites at once: a connection may take its time.
            options.acquire_timeout = Duration::from_secs(5);
            options.max_connections = 12;
            opened.push(Database::connect(&options).await.expect("a connection"));
        }
        let opened = Databases::from_five(opened).expect("five databases");
        let cache = |service: &str| -> anyhow::Result<Cache> {
            Ok(Cache::new(redis.url(), format!("{}{service}:", redis.prefix()))?)
        };
        let listeners = Listeners::bind(&options).await.expect("free ports");
        let suite = assemble(&options, keys, opened, cache, listeners).await.expect("the suite");
        Self { suite, directory, databases }
    }

    /// The address of a service's database.
    pub(crate) fn database_url(&self, service: &str) -> &str {
        let position = SERVICES.iter().position(|name| *name == service).expect("a service");
        self.databases[position].url()
    }

    /// Everything that a tenant with all scopes can call.
    pub(crate) fn desk(&self, tenant: TenantId) -> Desk {
        Desk::of(self.suite.client(tenant).expect("a client"))
    }

    /// A token of a tenant with these scopes.
    pub(crate) fn token(&self, tenant: TenantId, scopes: &[&str]) -> String {
        let hour = Duration::from_secs(3_600);
        self.suite.token(tenant, "journeys", scopes, hour).expect("a token")
    }

    /// A token of a tenant with every scope.
    pub(crate) fn full_token(&self, tenant: TenantId) -> String {
        self.token(tenant, ALL_SCOPES)
    }

    /// What signs the tokens of callers.
    pub(crate) fn signer(&self) -> Signer {
        Keys::load(&self.directory.join("keys")).expect("the keys").signer
    }

    /// A connection that carries no token.
    pub(crate) fn channel(&self) -> Channel {
        let address = self.suite.rpc_address();
        Channel::from_shared(address).expect("an address").connect_lazy()
    }

    /// Ends the suite in order.
    pub(crate) async fn stop(self) {
        self.suite.stop().await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _absent_is_fine = std::fs::remove_dir_all(&self.directory);
    }
}

/// The clients of one tenant.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) client: Client,
    pub(crate) identity: IdentityServiceClient<Authorised>,
    pub(crate) profile: ProfileServiceClient<Authorised>,
    pub(crate) scoring: ScoringServiceClient<Authorised>,
    pub(crate) routing: RoutingServiceClient<Authorised>,
    pub(crate) feedback: FeedbackServiceClient<Authorised>,
}

impl Desk {
    /// What this client can call.
    pub(crate) fn of(client: Client) -> Self {
        Self {
            identity: IdentityServiceClient::new(client.service()),
            profile: ProfileServiceClient::new(client.service()),
            scoring: ScoringServiceClient::new(client.service()),
            routing: RoutingServiceClient::new(client.service()),
            feedback: FeedbackServiceClient::new(client.service()),
            client,
        }
    }

    /// Saves resources as `rapport apply` would.
    pub(crate) async fn apply(&mut self, yaml: &str) {
        let pool = pool();
        let file = std::path::Path::new("journey.yaml");
        let resources = rapport::apply::read_text(file, yaml, &pool).expect("valid YAML");
        rapport::apply::apply(&mut self.client, &pool, &resources, false).await.expect("saved");
    }

    /// Ingests one event that must be new.
    pub(crate) async fn ingest(&mut self, event: Event) -> EventResult {
        let request = IngestEventsRequest { events: vec![event] };
        let answer = self.profile.ingest_events(request).await.expect("ingested").into_inner();
        let result = answer.results.into_iter().next().expect("a result");
        assert_eq!(result.status(), EventStatus::Accepted, "{:?}", result.violations);
        result
    }
}

/// The descriptors of all contracts.
pub(crate) fn pool() -> DescriptorPool {
    DescriptorPool::decode(contracts::DESCRIPTORS).expect("the contracts")
}

/// A tenant that nobody else has.
pub(crate) fn tenant() -> TenantId {
    TenantId::new(Uuid::new_v4())
}

pub(crate) fn identifier(namespace: &str, value: &str) -> Identifier {
    Identifier { namespace: namespace.to_owned(), value: value.to_owned() }
}

/// A `track` event now.
pub(crate) fn event(message_id: &str, name: &str, identifiers: Vec<Identifier>) -> Event {
    Event {
        message_id: message_id.to_owned(),
        r#type: EventType::Track.into(),
        name: name.to_owned(),
        identifiers,
        source: "journeys".to_owned(),
        ..Default::default()
    }
}

/// An `identify` event with text traits.
pub(crate) fn identify(message_id: &str, who: Identifier, traits: &[(&str, &str)]) -> Event {
    let field = |(name, value): &(&str, &str)| {
        let kind = prost_types::value::Kind::StringValue((*value).to_owned());
        ((*name).to_owned(), prost_types::Value { kind: Some(kind) })
    };
    let fields = traits.iter().map(field).collect();
    Event {
        r#type: EventType::Identify.into(),
        name: String::new(),
        traits: Some(prost_types::Struct { fields }),
        ..event(message_id, "", vec![who])
    }
}

pub(crate) fn text(value: &str) -> TraitValue {
    TraitValue { kind: Some(trait_value::Kind::StringValue(value.to_owned())) }
}

/// Now, plus so many seconds.
pub(crate) fn in_seconds(seconds: i64) -> prost_types::Timestamp {
    let now = jiff::Timestamp::now();
    prost_types::Timestamp {
        seconds: now.as_second() + seconds,
        nanos: now.subsec_nanosecond().max(0),
    }
}

/// A service's database on the shared server, with its schema and nothing in it.
pub(crate) async fn database(service: &'static str) -> TestDatabase {
    let stack = Stack::get().await;
    let made = stack.database(service, &key(service), |url| migrate(service, url)).await;
    made.expect("a database")
}

async fn migrate(service: &'static str, url: String) -> anyhow::Result<()> {
    let options = store::database::Options::new(url, service);
    let database = Database::connect(&options).await?;
    store::migrate::apply(&database, migrations(service)).await?;
    database.close().await;
    Ok(())
}

/// What names the version of a service's schema.
fn key(service: &str) -> String {
    store::migrate::fingerprint(migrations(service))
}
