//! What the hot path knows of a tenant's resources of one kind, without SQL.
//!
//! A view holds, per tenant, something built from all resources of the kind (compiled
//! predicates, a sorted policy …). It is rebuilt only when one of them changed: once a second
//! at most, one caller asks for the database's revision (one row), and if that moved, which
//! (tenant, kind) it was. If the database is away, the last known stands. After a local change
//! call [`View::refresh`], and the next read sees it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kernel::TenantId;
use uuid::Uuid;

use crate::error::Error;
use crate::resource::{Resource, Resources, Stored};

/// How old the knowledge may be.
const MAX_AGE: Duration = Duration::from_secs(1);
/// More tenants than this and the memory starts afresh.
const REMEMBERED_TENANTS: usize = 10_000;
/// Resources of one kind that one tenant may have in a view.
const MAX_RESOURCES: usize = 10_000;

type Build<R, T> = dyn Fn(TenantId, Vec<Stored<R>>) -> T + Send + Sync;

/// `T`, built from a tenant's resources of kind `R`; cheap to clone.
pub struct View<R, T> {
    shared: Arc<Shared<R, T>>,
}

struct Shared<R, T> {
    resources: Resources,
    build: Box<Build<R, T>>,
    state: Mutex<State<T>>,
    polling: tokio::sync::Mutex<()>,
}

struct State<T> {
    /// Everything up to here has been looked at.
    revision: Option<i64>,
    checked: Option<Instant>,
    tenants: HashMap<TenantId, Arc<T>>,
    /// Counts the removals, so that a slow load does not put back what was removed meanwhile.
    removals: u64,
}

impl<R, T> Clone for View<R, T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<R, T> fmt::Debug for View<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View")
    }
}

impl<R: Resource> View<R, Vec<Stored<R>>> {
    /// The resources as they are, by name.
    #[must_use]
    pub fn of(resources: Resources) -> Self {
        Self::new(resources, |_, stored| stored)
    }
}

impl<R: Resource, T: Send + Sync + 'static> View<R, T> {
    /// A view that `build`s its value from all resources of a tenant, ordered by name (none
    /// for a tenant without).
    pub fn new(
        resources: Resources,
        build: impl Fn(TenantId, Vec<Stored<R>>) -> T + Send + Sync + 'static,
    ) -> Self {
        let state = State { revision: None, checked: None, tenants: HashMap::new(), removals: 0 };
        Self {
            shared: Arc::new(Shared {
                resources,
                build: Box::new(build),
                state: Mutex::new(state),
                polling: tokio::sync::Mutex::new(()),
            }),
        }
    }

    /// What is known of the tenant, at most a second old while the database answers.
    ///
    /// # Errors
    /// Those of the first load of a tenant.
    pub async fn get(&self, tenant: TenantId) -> Result<Arc<T>, Error> {
        let known = {
            let state = self.state();
            let known = state.tenants.get(&tenant).cloned();
            match known {
                Some(value) if state.is_fresh() => return Ok(value),
                known => known,
            }
        };
        let polled = self.poll(known.is_none()).await;
        match (polled, known) {
            (Ok(()), _) => {}
            (Err(error), Some(value)) => {
                tracing::warn!(kind = R::KIND, %error, "resources are not refreshed");
                return Ok(value);
            }
            (Err(error), None) => return Err(error),
        }
        let current = self.state().tenants.get(&tenant).cloned();
        match current {
            Some(value) => Ok(value),
            None => self.load(tenant).await,
        }
    }

    /// Forgets a tenant after a change made here, so that the next read sees it.
    pub fn refresh(&self, tenant: TenantId) {
        let mut state = self.state();
        state.tenants.remove(&tenant);
        state.removals += 1;
    }

    /// Has the next read ask the database whether anything changed, wherever it was changed;
    /// what did not stays known.
    pub fn recheck(&self) {
        self.state().checked = None;
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the tenants that changed. One caller at a time; the others go on with what is
    /// known unless they `must` wait.
    async fn poll(&self, must: bool) -> Result<(), Error> {
        let _one = match self.shared.polling.try_lock() {
            Ok(guard) => guard,
            Err(_) if !must => return Ok(()),
            Err(_) => self.shared.polling.lock().await,
        };
        let seen = {
            let mut state = self.state();
            if state.is_fresh() {
                return Ok(());
            }
            // Also when the database is away: asked once a second, not by every call.
            state.checked = Some(Instant::now());
            state.revision
        };
        let revision = self.shared.resources.revision().await?;
        if seen == Some(revision) {
            return Ok(());
        }
        let changed = match seen {
            Some(seen) => self.shared.resources.changed_since(seen).await?,
            None => Vec::new(),
        };
        self.forget(&changed, revision);
        Ok(())
    }

    fn forget(&self, changed: &[(Uuid, String, i64)], revision: i64) {
        let mut state = self.state();
        for (tenant, kind, _) in changed {
            if kind == R::KIND {
                state.tenants.remove(&TenantId::new(*tenant));
                state.removals += 1;
            }
        }
        // A restored database may have gone back: then nothing that is known counts.
        if state.revision.is_some_and(|seen| revision < seen) {
            state.tenants.clear();
            state.removals += 1;
        }
        state.revision = Some(revision);
    }

    async fn load(&self, tenant: TenantId) -> Result<Arc<T>, Error> {
        let removals = self.state().removals;
        let stored = self.shared.resources.list::<R>(tenant, "", MAX_RESOURCES).await?;
        let value = Arc::new((self.shared.build)(tenant, stored));
        let mut state = self.state();
        if state.removals == removals {
            if state.tenants.len() >= REMEMBERED_TENANTS {
                state.tenants.clear();
            }
            state.tenants.insert(tenant, Arc::clone(&value));
        }
        Ok(value)
    }
}

impl<T> State<T> {
    fn is_fresh(&self) -> bool {
        self.checked.is_some_and(|checked| checked.elapsed() < MAX_AGE)
    }
}
