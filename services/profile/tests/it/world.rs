//! profile and identity of one test, and the words that tests speak to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::common::v1::{Identifier, trait_value};
use contracts::identity::v1::identity_service_client::IdentityServiceClient;
use contracts::identity::v1::{
    MergeCustomersRequest, ResolveRequest, SplitCustomerRequest, SplitCustomerResponse,
};
use contracts::profile::v1 as wire;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use kernel::TenantId;
use prost_types::value::Kind;
use prost_types::{Struct, Timestamp, Value};
use server::Peer;
use server::client::Endpoint;
use store::Database;
use testkit::{House, TestDatabase};
use tonic::Status;
use uuid::Uuid;

pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// 2026-11-01T00:00:00Z
pub(crate) const BASE_US: i64 = 1_793_491_200_000_000;

pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) endpoint: Endpoint,
    identity: Endpoint,
    pub(crate) house: House,
    _clones: [TestDatabase; 2],
}

impl World {
    pub(crate) async fn new() -> Arc<Self> {
        Self::with_cache(true).await
    }

    pub(crate) async fn with_cache(redis: bool) -> Arc<Self> {
        let house = House::new(contracts::DESCRIPTORS).unwrap();
        let cache = if redis { house.cache().await.unwrap() } else { store::Cache::disabled() };
        Self::over(house, cache).await
    }

    pub(crate) async fn over(mut house: House, cache: store::Cache) -> Arc<Self> {
        let (identity_clone, identity_database) =
            house.database("identity", identity::MIGRATIONS).await.unwrap();
        let deps = identity::Deps {
            database: identity_database,
            keys: Arc::clone(&house.keys),
            cache: store::Cache::disabled(),
            drain: house.drain.clone(),
        };
        let config = identity::Config::load(&[]).unwrap();
        let built = identity::build(config, deps, &mut house.registry).await.unwrap();
        let identity = house.serve(built.own).unwrap();

        let (clone, database) = house.database("profile", profile::MIGRATIONS).await.unwrap();
        let peer = Peer::new(identity.clone(), house.internal_tokens("profile"));
        let deps = profile::Deps {
            database: database.clone(),
            keys: Arc::clone(&house.keys),
            cache,
            drain: house.drain.clone(),
            peers: profile::Peers { identity: peer },
        };
        let config = profile::Config::load(&[]).unwrap();
        let built = profile::build(config, deps, &mut house.registry).await.unwrap();
        let endpoint = house.serve(built.own).unwrap();
        Arc::new(Self { database, endpoint, identity, house, _clones: [identity_clone, clone] })
    }

    /// A client of a tenant that nobody else has.
    pub(crate) fn tenant(self: &Arc<Self>) -> Client {
        let tenant = TenantId::new(Uuid::new_v4());
        Client {
            profile: ProfileServiceClient::new(self.house.peer(&self.endpoint, tenant)),
            identity: IdentityServiceClient::new(self.house.peer(&self.identity, tenant)),
            tenant,
            world: Arc::clone(self),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) profile: ProfileServiceClient<Peer>,
    pub(crate) identity: IdentityServiceClient<Peer>,
    pub(crate) tenant: TenantId,
    pub(crate) world: Arc<World>,
}

/// The identifiers of person `n`, as one evidence.
pub(crate) fn person(n: usize) -> Vec<Identifier> {
    let value = format!("person-{n}@example.org");
    vec![Identifier { namespace: "email".to_owned(), value }]
}

pub(crate) fn time(us: i64) -> Timestamp {
    let nanos = us.rem_euclid(1_000_000) as i32 * 1_000;
    Timestamp { seconds: us.div_euclid(1_000_000), nanos }
}

pub(crate) fn text(value: &str) -> Kind {
    Kind::StringValue(value.to_owned())
}

pub(crate) fn record(pairs: &[(&str, Kind)]) -> Struct {
    let pairs =
        pairs.iter().map(|(key, kind)| ((*key).to_owned(), Value { kind: Some(kind.clone()) }));
    Struct { fields: pairs.collect() }
}

/// A track event of a person.
pub(crate) fn track(n: usize, message_id: &str, name: &str, us: i64) -> wire::Event {
    wire::Event {
        message_id: message_id.to_owned(),
        r#type: wire::EventType::Track as i32,
        name: name.to_owned(),
        identifiers: person(n),
        event_time: Some(time(us)),
        source: "web".to_owned(),
        ..wire::Event::default()
    }
}

impl Client {
    pub(crate) async fn ingest(&mut self, events: Vec<wire::Event>) -> Vec<wire::EventResult> {
        let request = wire::IngestEventsRequest { events };
        self.profile.ingest_events(request).await.unwrap().into_inner().results
    }

    /// One event that is taken.
    pub(crate) async fn take(&mut self, event: wire::Event) -> wire::EventResult {
        let result = self.ingest(vec![event]).await.remove(0);
        assert_eq!(result.status, wire::EventStatus::Accepted as i32, "{result:?}");
        result
    }

    pub(crate) async fn get(&mut self, customer: &str) -> Result<wire::Profile, Status> {
        self.get_at_least(customer, 0).await
    }

    pub(crate) async fn get_at_least(
        &mut self,
        customer: &str,
        at_least_version: i64,
    ) -> Result<wire::Profile, Status> {
        let request = wire::GetProfileRequest {
            customer_id: customer.to_owned(),
            as_of_time: Some(time(BASE_US)),
            at_least_version,
        };
        Ok(self.profile.get_profile(request).await?.into_inner().profile.unwrap())
    }

    /// The profile once something holds of it: moves are seen a moment after their commit.
    pub(crate) async fn until(
        &mut self,
        customer: &str,
        holds: impl Fn(&wire::Profile) -> bool,
    ) -> wire::Profile {
        testkit::eventually(LIMIT, "the profile", async || {
            let mut client = self.clone();
            let profile = client.get(customer).await.map_err(|status| status.to_string())?;
            if holds(&profile) { Ok(profile) } else { Err(format!("{profile:?}")) }
        })
        .await
    }

    /// (evidence, customer) of a person, as identity has it.
    pub(crate) async fn who(&mut self, n: usize) -> (String, String) {
        let request = ResolveRequest { identifiers: person(n), event_time: None };
        let answer = self.identity.resolve(request).await.unwrap().into_inner();
        let resolution = answer.resolution.unwrap();
        (resolution.evidence_id, resolution.customer_id)
    }

    pub(crate) async fn merge(&mut self, left: &str, right: &str) -> Result<(), Status> {
        let request = MergeCustomersRequest {
            customer_id: left.to_owned(),
            other_customer_id: right.to_owned(),
            ..MergeCustomersRequest::default()
        };
        self.identity.merge_customers(request).await.map(|_| ())
    }

    pub(crate) async fn split(
        &mut self,
        customer: &str,
        evidence: &str,
    ) -> Result<SplitCustomerResponse, Status> {
        let request = SplitCustomerRequest {
            customer_id: customer.to_owned(),
            evidence_ids: vec![evidence.to_owned()],
            ..SplitCustomerRequest::default()
        };
        Ok(self.identity.split_customer(request).await?.into_inner())
    }

    /// Waits until profile has the same map as identity for these persons; answers it.
    pub(crate) async fn settled(&mut self, persons: usize) -> BTreeMap<Uuid, Uuid> {
        let mut map = BTreeMap::new();
        for n in 0..persons {
            let (evidence, customer) = self.who(n).await;
            map.insert(evidence.parse().unwrap(), customer.parse().unwrap());
        }
        let (database, tenant) = (self.world.database.clone(), self.tenant);
        testkit::eventually(LIMIT, "the map of identity", async || {
            let sql = "select evidence_id, customer_id from fragment where tenant_id = $1";
            let rows: Vec<(Uuid, Uuid)> =
                sqlx::query_as(sql).bind(tenant.uuid()).fetch_all(database.pool()).await.unwrap();
            let same = rows.iter().all(|(evidence, customer)| map.get(evidence) == Some(customer));
            if same { Ok(()) } else { Err(rows) }
        })
        .await;
        map
    }
}

/// The text of an attribute.
pub(crate) fn text_of(profile: &wire::Profile, name: &str) -> Option<String> {
    match profile.traits.get(name)?.value.as_ref()?.kind.as_ref()? {
        trait_value::Kind::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

/// The fields that are complained about.
pub(crate) fn fields(violations: &[wire::FieldViolation]) -> Vec<&str> {
    violations.iter().map(|violation| violation.field.as_str()).collect()
}
