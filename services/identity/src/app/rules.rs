//! The tenants' rules: one versioned resource each, compiled once per version.
//!
//! Blocked values may be somebody's phone number, so they are sealed inside the resource. Saving
//! the same rules again keeps the sealed bytes, so that it changes nothing.

use std::sync::Arc;
use std::time::Duration;

use ::store::resource::{self, Change};
use ::store::{Error as StoreError, Resource, Resources, TenantKeys, View};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use kernel::{TenantId, Violations};
use linkage::rules::{DEFAULT_MAX_COMPANIONS, Draft, NamespaceDraft};
use linkage::{Namespace, Rules};
use moka::future::Cache;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::seal::{What, open, seal};
use crate::Error;
use crate::domain::Sealed;

/// A tenant has one set of rules.
const NAME: &str = "default";
/// How many tenants' rules are kept compiled.
const CAPACITY: u64 = 1_000;
const TIME_TO_IDLE: Duration = Duration::from_secs(3_600);

/// Rules as they were sent.
pub(crate) type RuleDraft = Draft;

/// What is known of saved rules besides their content; version 0 for the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RulesMeta {
    pub(crate) version: i64,
    pub(crate) etag: String,
    pub(crate) update_time: Option<Timestamp>,
}

/// Rules at rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IdentityRules {
    namespaces: Vec<NamespaceBody>,
    default_region: String,
    /// Key and content in base64: the JSON of a list of namespaces and values.
    blocked: Option<(String, String)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct NamespaceBody {
    namespace: String,
    unique: bool,
    max_companions: i32,
    ignore_case: bool,
}

impl Resource for IdentityRules {
    const KIND: &'static str = "IdentityRules";
}

type Stored = resource::Stored<IdentityRules>;

/// Finds, saves and remembers rules; cheap to clone.
#[derive(Clone)]
pub(crate) struct RuleBook {
    resources: Resources,
    tenant_keys: TenantKeys,
    view: View<IdentityRules, Vec<Stored>>,
    compiled: Cache<(TenantId, i64), Arc<Rules>>,
    defaults: Arc<Rules>,
}

impl RuleBook {
    pub(super) fn new(resources: Resources, tenant_keys: TenantKeys) -> Self {
        let compiled = Cache::builder().max_capacity(CAPACITY).time_to_idle(TIME_TO_IDLE).build();
        let view = View::of(resources.clone());
        Self { resources, tenant_keys, view, compiled, defaults: Arc::default() }
    }

    /// The rules in force, at most a second old.
    pub(crate) async fn get(&self, tenant: TenantId) -> Result<Arc<Rules>, StoreError> {
        let stored = self.view.get(tenant).await?;
        let Some(stored) = stored.first() else { return Ok(Arc::clone(&self.defaults)) };
        let compile = async {
            let draft = self.draft(tenant, &stored.body).await?;
            let rules = Rules::check(&draft);
            rules.map(Arc::new).map_err(|_| StoreError::internal("stored rules are not valid"))
        };
        let compiled = self.compiled.try_get_with((tenant, stored.version), compile).await;
        compiled.map_err(|error: Arc<StoreError>| StoreError::clone(&error))
    }

    /// The rules as they were saved, or the defaults spelt out.
    pub(crate) async fn read(
        &self,
        tenant: TenantId,
    ) -> Result<(RuleDraft, RulesMeta), StoreError> {
        match self.resources.get::<IdentityRules>(tenant, NAME).await {
            Ok(stored) => {
                let draft = self.draft(tenant, &stored.body).await?;
                let update_time = Some(stored.update_time);
                Ok((draft, RulesMeta { version: stored.version, etag: stored.etag, update_time }))
            }
            Err(StoreError::NotFound) => Ok((defaults(), RulesMeta::default())),
            Err(error) => Err(error),
        }
    }

    /// A version of the rules as it was stored; nothing if it does not read back.
    pub(crate) async fn reread(
        &self,
        tenant: TenantId,
        body: &serde_json::Value,
    ) -> Option<RuleDraft> {
        let body: IdentityRules = serde_json::from_value(body.clone()).ok()?;
        self.draft(tenant, &body).await.ok()
    }

    /// Checks and saves rules.
    ///
    /// # Errors
    /// Everything that is wrong with them, or another etag than the one in force.
    pub(crate) async fn upsert(
        &self,
        tenant: TenantId,
        draft: &RuleDraft,
        change: Change<'_>,
    ) -> Result<RulesMeta, Error> {
        if let Err(violations) = Rules::check(draft) {
            let mut below = Violations::new();
            below.add_below("rules", violations);
            return Err(below.into());
        }
        let body = self.body(tenant, draft).await?;
        let saved = self.resources.upsert(tenant, NAME, &body, change).await?;
        self.view.refresh(tenant);
        let update_time = Some(saved.update_time);
        Ok(RulesMeta { version: saved.version, etag: saved.etag, update_time })
    }

    async fn body(&self, tenant: TenantId, draft: &RuleDraft) -> Result<IdentityRules, StoreError> {
        let namespace = |one: &NamespaceDraft| NamespaceBody {
            namespace: one.namespace.clone(),
            unique: one.unique,
            max_companions: one.max_companions,
            ignore_case: one.ignore_case,
        };
        let blocked = match self.resources.get::<IdentityRules>(tenant, NAME).await {
            Ok(stored) if self.blocked(tenant, &stored.body).await? == draft.blocked => {
                stored.body.blocked
            }
            Ok(_) | Err(StoreError::NotFound) => self.seal(tenant, &draft.blocked).await?,
            Err(error) => return Err(error),
        };
        Ok(IdentityRules {
            namespaces: draft.namespaces.iter().map(namespace).collect(),
            default_region: draft.default_region.clone(),
            blocked,
        })
    }

    async fn draft(&self, tenant: TenantId, body: &IdentityRules) -> Result<RuleDraft, StoreError> {
        let namespace = |one: &NamespaceBody| NamespaceDraft {
            namespace: one.namespace.clone(),
            unique: one.unique,
            max_companions: one.max_companions,
            ignore_case: one.ignore_case,
        };
        Ok(RuleDraft {
            namespaces: body.namespaces.iter().map(namespace).collect(),
            blocked: self.blocked(tenant, body).await?,
            default_region: body.default_region.clone(),
        })
    }

    async fn seal(
        &self,
        tenant: TenantId,
        blocked: &[(String, String)],
    ) -> Result<Option<(String, String)>, StoreError> {
        if blocked.is_empty() {
            return Ok(None);
        }
        let key = self.tenant_keys.get(tenant).await?;
        // The error of serde_json may quote a value.
        let plain = serde_json::to_vec(blocked)
            .map_err(|_| StoreError::internal("blocked values do not encode"))?;
        let sealed = seal(What::Blocked, (tenant, &key), Uuid::nil(), &plain)?;
        Ok(Some((STANDARD.encode(sealed.wrapped_key), STANDARD.encode(sealed.content))))
    }

    async fn blocked(
        &self,
        tenant: TenantId,
        body: &IdentityRules,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let Some((wrapped_key, content)) = &body.blocked else { return Ok(Vec::new()) };
        let bytes = |text: &str| STANDARD.decode(text).map_err(|_| StoreError::Decrypt);
        let sealed = Sealed { wrapped_key: bytes(wrapped_key)?, content: bytes(content)? };
        let key = self.tenant_keys.get(tenant).await?;
        let plain = open(What::Blocked, (tenant, &key), Uuid::nil(), &sealed)?;
        serde_json::from_slice(&plain).map_err(|_| StoreError::Decrypt)
    }
}

/// What holds when nothing was saved.
fn defaults() -> RuleDraft {
    let unique = [Namespace::USER_ID, Namespace::WECHAT_UNIONID, Namespace::MEMBER_NO];
    let namespace = |namespace: &Namespace| NamespaceDraft {
        namespace: namespace.to_string(),
        unique: true,
        max_companions: i32::from(DEFAULT_MAX_COMPANIONS),
        ignore_case: false,
    };
    RuleDraft {
        namespaces: unique.iter().map(namespace).collect(),
        blocked: Vec::new(),
        default_region: "CN".to_owned(),
    }
}
