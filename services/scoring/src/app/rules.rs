//! The compiled scorers of tenants and what their models know, kept in memory.
//!
//! Nothing is polled: whoever scores has read the revision of the set and the versions of the
//! models in the same statement or transaction as the customer, and asks for exactly those (or
//! newer). A change made anywhere is seen by the next read everywhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::store::{Database, Error, Resources};
use kernel::TenantId;
use sqlx::PgConnection;

use crate::domain::{
    Knowledge, MAX_SCORERS, ModelSpec, ScorecardSpec, ScorerSet, TraitSchema, Weights,
};
use crate::store;

/// More than this and the memory starts afresh.
const REMEMBERED: usize = 2_000;

/// Something with the number by which it is asked for; numbers only grow.
struct Numbered<T> {
    number: i64,
    value: Arc<T>,
}

type Memory<K, T> = Mutex<HashMap<K, Numbered<T>>>;

pub(crate) struct Rules {
    database: Database,
    resources: Resources,
    sets: Memory<TenantId, ScorerSet>,
    knowledge: Memory<(TenantId, String), Knowledge>,
}

fn locked<K, T>(memory: &Memory<K, T>) -> MutexGuard<'_, HashMap<K, Numbered<T>>> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remember<K: Eq + std::hash::Hash, T>(memory: &Memory<K, T>, key: K, number: i64, value: Arc<T>) {
    let mut memory = locked(memory);
    if memory.get(&key).is_some_and(|known| known.number >= number) {
        return;
    }
    if memory.len() >= REMEMBERED {
        memory.clear();
    }
    memory.insert(key, Numbered { number, value });
}

fn recall<K: Eq + std::hash::Hash, T>(
    memory: &Memory<K, T>,
    key: &K,
    at_least: i64,
) -> Option<Arc<T>> {
    let memory = locked(memory);
    let known = memory.get(key).filter(|known| known.number >= at_least)?;
    Some(Arc::clone(&known.value))
}

impl Rules {
    pub(crate) fn new(database: Database) -> Self {
        let resources = Resources::new(database.clone());
        Self { database, resources, sets: Memory::default(), knowledge: Memory::default() }
    }

    /// The scorers of a tenant at a revision that was read from the database, or later.
    pub(crate) async fn set(
        &self,
        tenant: TenantId,
        revision: i64,
    ) -> Result<Arc<ScorerSet>, Error> {
        if let Some(set) = recall(&self.sets, &tenant, revision) {
            return Ok(set);
        }
        let traits = store::traits(self.database.pool(), tenant).await?;
        let set = Arc::new(self.compile(tenant, traits).await?);
        remember(&self.sets, tenant, revision, Arc::clone(&set));
        Ok(set)
    }

    /// The scorers as the transaction of `connection` sees them: it changed attributes, so
    /// they are not kept.
    pub(crate) async fn uncommitted_set(
        &self,
        connection: &mut PgConnection,
        tenant: TenantId,
    ) -> Result<Arc<ScorerSet>, Error> {
        let traits = store::traits(connection, tenant).await?;
        Ok(Arc::new(self.compile(tenant, traits).await?))
    }

    async fn compile(&self, tenant: TenantId, traits: TraitSchema) -> Result<ScorerSet, Error> {
        let cards = self.resources.list::<ScorecardSpec>(tenant, "", MAX_SCORERS).await?;
        let models = self.resources.list::<ModelSpec>(tenant, "", MAX_SCORERS).await?;
        let cards: Vec<_> =
            cards.into_iter().map(|stored| (stored.name, stored.version, stored.body)).collect();
        let models: Vec<_> = models.into_iter().map(|stored| (stored.name, stored.body)).collect();
        Ok(ScorerSet::compile(&cards, &models, traits))
    }

    /// What models know, at these versions or later.
    pub(crate) async fn weights(
        &self,
        tenant: TenantId,
        versions: &[(String, i64)],
    ) -> Result<Weights, Error> {
        let mut weights = Weights::new();
        let mut missing = Vec::new();
        for (model, version) in versions {
            match recall(&self.knowledge, &(tenant, model.clone()), *version) {
                Some(knowledge) => drop(weights.insert(model.clone(), knowledge)),
                None => missing.push(model.clone()),
            }
        }
        if missing.is_empty() {
            return Ok(weights);
        }
        for row in store::load(self.database.pool(), tenant, &missing).await? {
            let knowledge = Arc::new(row.knowledge);
            self.learned(tenant, &row.model, row.version, Arc::clone(&knowledge));
            weights.insert(row.model, knowledge);
        }
        Ok(weights)
    }

    /// A model of this process has learned.
    pub(crate) fn learned(
        &self,
        tenant: TenantId,
        model: &str,
        version: i64,
        knowledge: Arc<Knowledge>,
    ) {
        remember(&self.knowledge, (tenant, model.to_owned()), version, knowledge);
    }
}
