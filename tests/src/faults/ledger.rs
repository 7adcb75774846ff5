//! What the suite has acknowledged, and what it said that it must not say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use contracts::routing::v1::DemandResult;

/// Shared by all drivers.
#[derive(Debug, Default)]
pub struct Ledger {
    people: Mutex<BTreeMap<usize, Person>>,
    demands: Mutex<Vec<Acknowledged>>,
    wrong: Mutex<Vec<String>>,
    batches: AtomicU64,
    finished: AtomicU64,
    repeats: AtomicU64,
}

/// What was acknowledged about one person.
#[derive(Debug, Clone, Default)]
pub struct Person {
    /// The customer by the latest answer.
    pub customer_id: String,
    /// Message ids.
    pub events: BTreeSet<String>,
}

/// What was acknowledged about one demand.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// Its id.
    pub demand_id: String,
    /// Who accepted it.
    pub agent: String,
    /// How it was closed, if it was.
    pub result: Option<DemandResult>,
}

impl Ledger {
    /// Events of a person are durable.
    pub fn events(&self, person: usize, customer_id: &str, message_ids: &[String]) {
        let mut people = lock(&self.people);
        let known = people.entry(person).or_default();
        customer_id.clone_into(&mut known.customer_id);
        known.events.extend(message_ids.iter().cloned());
    }

    /// One more batch is durable.
    pub fn batch(&self) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// A demand has gone as far as its driver meant it to.
    pub fn demand(&self, demand: Acknowledged) {
        lock(&self.demands).push(demand);
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    /// A call was not acknowledged and is repeated.
    pub fn repeat(&self) {
        self.repeats.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer that must not be.
    pub fn wrong(&self, what: String) {
        lock(&self.wrong).push(what);
    }

    /// Batches and demands so far.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.batches.load(Ordering::Relaxed), self.finished.load(Ordering::Relaxed))
    }

    /// Repeated calls so far.
    #[must_use]
    pub fn repeats(&self) -> u64 {
        self.repeats.load(Ordering::Relaxed)
    }

    /// Everybody.
    #[must_use]
    pub fn people(&self) -> BTreeMap<usize, Person> {
        lock(&self.people).clone()
    }

    /// The customer of a person, once there is one.
    #[must_use]
    pub fn customer_of(&self, person: usize) -> Option<String> {
        lock(&self.people).get(&person).map(|known| known.customer_id.clone())
    }

    /// All demands.
    #[must_use]
    pub fn demands(&self) -> Vec<Acknowledged> {
        lock(&self.demands).clone()
    }

    /// All wrong answers.
    #[must_use]
    pub fn all_wrong(&self) -> Vec<String> {
        lock(&self.wrong).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
