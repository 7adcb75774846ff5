//! The keys of tenants: made on first use, kept wrapped in table `tenant_key` of each service.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kernel::TenantId;
use moka::future::Cache;

use crate::database::Database;
use crate::envelope::{DataKey, place};
use crate::error::Error;
use crate::keys::RootKeys;

const SELECT: &str = "select wrapped from tenant_key where tenant_id = $1";
const INSERT: &str =
    "insert into tenant_key (tenant_id, wrapped) values ($1, $2) on conflict do nothing";
const SELECT_PAGE: &str =
    "select tenant_id, wrapped from tenant_key where tenant_id > $1 order by tenant_id limit 100";
const REWRAP: &str = "update tenant_key set wrapped = $3 where tenant_id = $1 and wrapped = $2";

/// How many tenants are remembered.
const CAPACITY: u64 = 10_000;
/// A destroyed key is forgotten after this at the latest.
const TIME_TO_LIVE: Duration = Duration::from_secs(60);

/// The key of one tenant. It wraps data keys and does nothing else.
pub struct TenantKey(DataKey);

impl TenantKey {
    pub(crate) fn key(&self) -> &DataKey {
        &self.0
    }
}

impl fmt::Debug for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TenantKey")
    }
}

/// Finds, makes and remembers tenant keys; cheap to clone.
#[derive(Debug, Clone)]
pub struct TenantKeys {
    database: Database,
    root: Arc<RootKeys>,
    known: Cache<TenantId, Arc<TenantKey>>,
}

impl TenantKeys {
    /// Keys in `database`, wrapped by `root`.
    #[must_use]
    pub fn new(database: Database, root: Arc<RootKeys>) -> Self {
        let known = Cache::builder().max_capacity(CAPACITY).time_to_live(TIME_TO_LIVE).build();
        Self { database, root, known }
    }

    /// The tenant's key; made if there is none. Concurrent first uses agree on one key.
    ///
    /// Takes a connection of its own on a miss: call it before opening a transaction, so that
    /// a full pool cannot wait for itself.
    ///
    /// # Errors
    /// [`Error::Decrypt`] if no root key opens it, or the database is away.
    pub async fn get(&self, tenant: TenantId) -> Result<Arc<TenantKey>, Error> {
        let loaded = self.known.try_get_with(tenant, self.load_or_make(tenant)).await;
        loaded.map_err(|error: Arc<Error>| Error::clone(&error))
    }

    async fn load_or_make(&self, tenant: TenantId) -> Result<Arc<TenantKey>, Error> {
        let aad = place(tenant, "tenant_key", &[]);
        let mut connection = self.database.acquire().await?;
        let found: Option<Vec<u8>> =
            sqlx::query_scalar(SELECT).bind(tenant.uuid()).fetch_optional(&mut *connection).await?;
        let wrapped = match found {
            Some(wrapped) => wrapped,
            None => {
                let made = self.root.wrap(&DataKey::generate()?, &aad)?;
                sqlx::query(INSERT)
                    .bind(tenant.uuid())
                    .bind(made)
                    .execute(&mut *connection)
                    .await?;
                // Whoever was first: everybody reads what stands there.
                sqlx::query_scalar(SELECT).bind(tenant.uuid()).fetch_one(&mut *connection).await?
            }
        };
        Ok(Arc::new(TenantKey(self.root.unwrap(&wrapped, &aad)?)))
    }

    /// Wraps all tenant keys with the current root key; answers how many were not. May run
    /// while the service works, and again.
    ///
    /// # Errors
    /// [`Error::Decrypt`] if no root key opens one, or the database is away.
    pub async fn rewrap_all(&self) -> Result<u64, Error> {
        let mut rewrapped = 0;
        let mut after = uuid::Uuid::nil();
        loop {
            let page: Vec<(uuid::Uuid, Vec<u8>)> =
                sqlx::query_as(SELECT_PAGE).bind(after).fetch_all(self.database.pool()).await?;
            let Some((last, _)) = page.last() else { return Ok(rewrapped) };
            after = *last;
            for (tenant, wrapped) in page {
                if self.root.is_current(&wrapped) {
                    continue;
                }
                let aad = place(TenantId::new(tenant), "tenant_key", &[]);
                let anew = self.root.wrap(&self.root.unwrap(&wrapped, &aad)?, &aad)?;
                let update = sqlx::query(REWRAP).bind(tenant).bind(wrapped).bind(anew);
                rewrapped += update.execute(self.database.pool()).await?.rows_affected();
            }
        }
    }
}
