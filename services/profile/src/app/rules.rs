//! The identity rules of a tenant, as identity has them: events are read by the same rules
//! that recognise their customers.
//!
//! They are asked for again after [`FRESH`]. While identity is away the last known ones hold,
//! so that known customers' events are taken; a tenant whose rules were never known waits.

use std::sync::Arc;
use std::time::Duration;

use contracts::identity::v1::identity_service_client::IdentityServiceClient;
use contracts::identity::v1::{GetIdentityRulesRequest, IdentityRules};
use kernel::TenantId;
use linkage::Rules;
use linkage::rules::{Draft, NamespaceDraft};
use moka::future::Cache;
use server::{Call, Peer};
use tokio_util::task::TaskTracker;

use crate::error::Error;

/// How long rules are trusted without asking.
const FRESH: Duration = Duration::from_secs(2);
/// How long identity may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);
const TENANTS: u64 = 10_000;

/// Follows the rules. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Follow {
    identity: Peer,
    tasks: TaskTracker,
    fresh: Cache<TenantId, Arc<Rules>>,
    last: Cache<TenantId, Arc<Rules>>,
}

impl Follow {
    pub(crate) fn new(identity: Peer, tasks: TaskTracker) -> Self {
        let fresh = Cache::builder().max_capacity(TENANTS).time_to_live(FRESH).build();
        Self { identity, tasks, fresh, last: Cache::builder().max_capacity(TENANTS).build() }
    }

    /// The rules in force, some seconds old at most while identity answers. Who has known
    /// rules never waits for identity: they are refreshed beside the call.
    ///
    /// # Errors
    /// For a tenant whose rules were never known, when identity does not answer.
    pub(crate) async fn of(&self, call: &Call) -> Result<Arc<Rules>, Error> {
        let tenant = call.tenant();
        if let Some(rules) = self.fresh.get(&tenant).await {
            return Ok(rules);
        }
        let Some(known) = self.last.get(&tenant).await else {
            let asked = self.last.try_get_with(tenant, self.ask(call)).await;
            let rules = asked.map_err(|status| Error::Identity(Box::new((*status).clone())))?;
            self.fresh.insert(tenant, Arc::clone(&rules)).await;
            return Ok(rules);
        };
        // Trusted again for a while, also if identity does not answer.
        self.fresh.insert(tenant, Arc::clone(&known)).await;
        let this = self.clone();
        self.tasks.spawn(async move { this.refresh(tenant).await });
        Ok(known)
    }

    async fn refresh(&self, tenant: TenantId) {
        let call = Call::background(tenant).within(PATIENCE);
        match self.ask(&call).await {
            Ok(rules) => {
                self.last.insert(tenant, Arc::clone(&rules)).await;
                self.fresh.insert(tenant, rules).await;
            }
            Err(status) => {
                tracing::debug!(code = ?status.code(), "identity rules are not refreshed");
            }
        }
    }

    async fn ask(&self, call: &Call) -> Result<Arc<Rules>, tonic::Status> {
        let mut client = IdentityServiceClient::new(self.identity.during(call).idempotent());
        let answer = client.get_identity_rules(GetIdentityRulesRequest {}).await?;
        let rules = answer.into_inner().rules.unwrap_or_default();
        let checked = Rules::check(&draft(rules));
        checked.map(Arc::new).map_err(|_| tonic::Status::internal("identity's rules are malformed"))
    }
}

fn draft(rules: IdentityRules) -> Draft {
    let namespace = |one: contracts::identity::v1::NamespaceRule| NamespaceDraft {
        namespace: one.namespace,
        unique: one.unique,
        max_companions: one.max_companions,
        ignore_case: one.ignore_case,
    };
    let blocked = |one: contracts::common::v1::Identifier| (one.namespace, one.value);
    Draft {
        namespaces: rules.namespaces.into_iter().map(namespace).collect(),
        blocked: rules.blocked.into_iter().map(blocked).collect(),
        default_region: rules.default_region,
    }
}
