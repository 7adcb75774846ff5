//! Callers that wait for a customer to change. Bounded by the calls in flight.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::store::Key;

/// Who waits for whom, in this process.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    waiting: Mutex<HashMap<Key, watch::Sender<()>>>,
}

/// A place in the queue; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    waiting: &'a Waiting,
    key: Key,
    changed: watch::Receiver<()>,
}

impl Waiting {
    fn locked(&self) -> MutexGuard<'_, HashMap<Key, watch::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits from now on: changes before the first [`Place::changed`] are not missed.
    pub(crate) fn join(&self, key: Key) -> Place<'_> {
        let mut waiting = self.locked();
        let sender = waiting.entry(key).or_insert_with(|| watch::Sender::new(()));
        Place { waiting: self, key, changed: sender.subscribe() }
    }

    /// These customers changed.
    pub(crate) fn wake(&self, keys: impl Iterator<Item = Key>) {
        let waiting = self.locked();
        if waiting.is_empty() {
            return;
        }
        for key in keys {
            if let Some(sender) = waiting.get(&key) {
                sender.send_replace(());
            }
        }
    }
}

impl Place<'_> {
    /// The customer changed since the last call.
    pub(crate) async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            // The sender stays while somebody waits; without it the caller's own poll remains.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiting.locked();
        let last = waiting.get(&self.key).is_some_and(|sender| sender.receiver_count() <= 1);
        if last {
            waiting.remove(&self.key);
        }
    }
}
