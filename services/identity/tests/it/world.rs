//! The identity service of one test, and the words that tests speak to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use contracts::common::v1::Identifier;
use contracts::identity::v1::batch_resolve_result::Result as Outcome;
use contracts::identity::v1::get_customer_request::Key;
use contracts::identity::v1::identity_service_client::IdentityServiceClient;
use contracts::identity::v1::{
    BatchResolveRequest, Customer, GetCustomerRequest, MergeCustomersRequest,
    MergeCustomersResponse, Resolution, ResolveRequest, SplitCustomerRequest,
    SplitCustomerResponse,
};
use kernel::TenantId;
use server::Peer;
use server::client::Endpoint;
use store::Database;
use testkit::{House, TestDatabase};
use tonic::Status;
use uuid::Uuid;

/// Namespace and value.
pub(crate) type Raw<'a> = (&'a str, &'a str);

pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) endpoint: Endpoint,
    pub(crate) house: House,
    _clone: TestDatabase,
}

impl World {
    pub(crate) async fn new() -> Arc<Self> {
        let mut house = House::new(contracts::DESCRIPTORS).unwrap();
        let (clone, database) = house.database("identity", identity::MIGRATIONS).await.unwrap();
        let deps = identity::Deps {
            database: database.clone(),
            keys: Arc::clone(&house.keys),
            cache: house.cache().await.unwrap(),
            drain: house.drain.clone(),
        };
        let config = identity::Config::load(&[]).unwrap();
        let service = identity::build(config, deps, &mut house.registry).await.unwrap();
        let endpoint = house.serve(service.own).unwrap();
        Arc::new(Self { database, endpoint, house, _clone: clone })
    }

    /// A client of a tenant that nobody else has.
    pub(crate) fn tenant(&self) -> Client {
        self.client(TenantId::new(Uuid::new_v4()))
    }

    pub(crate) fn client(&self, tenant: TenantId) -> Client {
        Client(IdentityServiceClient::new(self.house.peer(&self.endpoint, tenant)))
    }
}

#[derive(Clone)]
pub(crate) struct Client(pub(crate) IdentityServiceClient<Peer>);

pub(crate) fn identifier((namespace, value): Raw<'_>) -> Identifier {
    Identifier { namespace: namespace.to_owned(), value: value.to_owned() }
}

fn request(set: &[Raw<'_>]) -> ResolveRequest {
    let identifiers = set.iter().map(|raw| identifier(*raw)).collect();
    ResolveRequest { identifiers, event_time: None }
}

impl Client {
    pub(crate) async fn try_resolve(&mut self, set: &[Raw<'_>]) -> Result<Resolution, Status> {
        Ok(self.0.resolve(request(set)).await?.into_inner().resolution.unwrap())
    }

    pub(crate) async fn resolve(&mut self, set: &[Raw<'_>]) -> Resolution {
        self.try_resolve(set).await.unwrap()
    }

    /// The customer of a set.
    pub(crate) async fn who(&mut self, set: &[Raw<'_>]) -> String {
        self.resolve(set).await.customer_id
    }

    pub(crate) async fn batch(&mut self, sets: &[Vec<Raw<'_>>]) -> Vec<Result<Resolution, String>> {
        let requests = sets.iter().map(|set| request(set)).collect();
        let response = self.0.batch_resolve(BatchResolveRequest { requests }).await.unwrap();
        let outcome = |outcome| match outcome {
            Outcome::Resolution(resolution) => Ok(resolution),
            Outcome::Error(error) => Err(error),
            Outcome::Erased(_) => Err("erased".to_owned()),
        };
        response.into_inner().results.into_iter().map(|one| outcome(one.result.unwrap())).collect()
    }

    /// Evidence, customer and map version of sets that were resolved before.
    pub(crate) async fn map(&mut self, sets: &[Vec<Raw<'_>>]) -> BTreeMap<String, (String, i64)> {
        let resolved = self.batch(sets).await.into_iter().map(Result::unwrap);
        resolved.map(|one| (one.evidence_id, (one.customer_id, one.map_version))).collect()
    }

    pub(crate) async fn customer(&mut self, id: &str) -> Result<Customer, Status> {
        self.get(Key::CustomerId(id.to_owned())).await
    }

    pub(crate) async fn by_identifier(&mut self, raw: Raw<'_>) -> Result<Customer, Status> {
        self.get(Key::Identifier(identifier(raw))).await
    }

    async fn get(&mut self, key: Key) -> Result<Customer, Status> {
        let request = GetCustomerRequest { key: Some(key) };
        Ok(self.0.get_customer(request).await?.into_inner().customer.unwrap())
    }

    pub(crate) async fn merge(
        &mut self,
        left: &str,
        right: &str,
    ) -> Result<MergeCustomersResponse, Status> {
        self.merge_as(left, right, "").await
    }

    pub(crate) async fn merge_as(
        &mut self,
        left: &str,
        right: &str,
        request_id: &str,
    ) -> Result<MergeCustomersResponse, Status> {
        let request = MergeCustomersRequest {
            customer_id: left.to_owned(),
            other_customer_id: right.to_owned(),
            reason: "the same person called".to_owned(),
            request_id: request_id.to_owned(),
        };
        Ok(self.0.merge_customers(request).await?.into_inner())
    }

    pub(crate) async fn split(
        &mut self,
        customer: &str,
        evidence: &[&str],
    ) -> Result<SplitCustomerResponse, Status> {
        self.split_as(customer, evidence, "").await
    }

    pub(crate) async fn split_as(
        &mut self,
        customer: &str,
        evidence: &[&str],
        request_id: &str,
    ) -> Result<SplitCustomerResponse, Status> {
        let request = SplitCustomerRequest {
            customer_id: customer.to_owned(),
            evidence_ids: evidence.iter().map(|id| (*id).to_owned()).collect(),
            reason: "two persons at one counter".to_owned(),
            request_id: request_id.to_owned(),
        };
        Ok(self.0.split_customer(request).await?.into_inner())
    }
}

/// The fields that a status complains about.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    use tonic_types::StatusExt;
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone());
    violations.unwrap_or_default().into_iter().map(|violation| violation.field).collect()
}
