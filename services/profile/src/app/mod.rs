//! Use cases, one per file, over what they share.

pub(crate) mod cache;
mod commit;
pub(crate) mod declare;
pub(crate) mod erase;
pub(crate) mod ingest;
pub(crate) mod list;
pub(crate) mod moves;
pub(crate) mod read;
mod recognise;
pub(crate) mod rules;
pub(crate) mod seal;
pub(crate) mod snapshot;
pub(crate) mod timeline;

use std::sync::Arc;

use ::store::keys::LookupKeys;
use ::store::{Database, Resources, TenantKeys, View};
use feed::Tail;
use kernel::{EvidenceId, TenantId};
use moka::future::Cache;

use crate::domain::schema::{Declaration, Schema};
use crate::error::Error;
use crate::metrics::Metrics;

/// What every use case works with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) database: Database,
    pub(crate) tenant_keys: TenantKeys,
    pub(crate) lookup: Arc<LookupKeys>,
    pub(crate) schemas: View<Declaration, Schema>,
    pub(crate) profiles: cache::Profiles,
    /// Evidence with its key, by the id that was computed here.
    pub(crate) known: Cache<(TenantId, EvidenceId), recognise::Known>,
    pub(crate) tail: Tail,
    pub(crate) metrics: Metrics,
}

impl Shared {
    /// The declarations in force.
    pub(crate) async fn schema(&self, tenant: TenantId) -> Result<Arc<Schema>, Error> {
        Ok(self.schemas.get(tenant).await?)
    }

    /// A view of the declarations in `database`.
    pub(crate) fn schemas(database: &Database) -> View<Declaration, Schema> {
        View::new(Resources::new(database.clone()), |_, stored| {
            Schema::new(stored.into_iter().map(|stored| (stored.name, stored.body)))
        })
    }
}

/// All use cases.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) shared: Shared,
    pub(crate) ingest: ingest::Ingest,
    pub(crate) rules: rules::Follow,
}
