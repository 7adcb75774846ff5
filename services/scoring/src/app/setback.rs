//! Who is left alone for a while because its own stored state is at fault, so that background
//! work goes on for everybody else.
//!
//! A fault of one's own is logged, counted and tried again later and later. A transient one
//! (the database is away, busy, a lost race) ends the round and is repeated soon; whom it
//! met first is not the first one again. Kept in memory: another replica finds out for itself.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kernel::{Fault, Kind};

use crate::error::Error;
use crate::metrics::Metrics;

/// The first pause, and that after a transient fault.
const FIRST: Duration = Duration::from_secs(1);
/// Doubled up to here.
const LONGEST: Duration = Duration::from_secs(300);
/// More than this and the memory starts afresh.
const REMEMBERED: usize = 10_000;

/// Those that are left alone, by tenant or by model.
pub(crate) struct Setbacks<K> {
    task: &'static str,
    metrics: Metrics,
    resting: Mutex<HashMap<K, Rest>>,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Instant,
    next: Duration,
}

impl<K: Eq + Hash + Clone + Debug> Setbacks<K> {
    pub(crate) fn new(task: &'static str, metrics: &Metrics) -> Self {
        metrics.pass_over(task, 0);
        Self { task, metrics: metrics.clone(), resting: Mutex::default() }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<K, Rest>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while it is to be left alone.
    pub(crate) fn rests(&self, who: &K, now: Instant) -> bool {
        self.locked().get(who).is_some_and(|rest| rest.until > now)
    }

    /// What a step came to: nothing if it failed by a fault of its own.
    ///
    /// # Errors
    /// The transient fault that ends the round.
    pub(crate) fn settle<T>(
        &self,
        who: &K,
        step: Result<T, Error>,
        now: Instant,
    ) -> Result<Option<T>, Error> {
        let error = match step {
            Ok(done) => {
                self.locked().remove(who);
                return Ok(Some(done));
            }
            Err(error) => error,
        };
        if is_transient(&error) {
            self.rest(who, now, true);
            return Err(error);
        }
        let pause = self.rest(who, now, false);
        self.metrics.pass_over(self.task, 1);
        tracing::error!(
            task = self.task,
            ?who,
            ?pause,
            error = &error as &dyn std::error::Error,
            "background work passes over what fails"
        );
        Ok(None)
    }

    /// Leaves it alone and says for how long.
    fn rest(&self, who: &K, now: Instant, is_transient: bool) -> Duration {
        let mut resting = self.locked();
        if resting.len() >= REMEMBERED && !resting.contains_key(who) {
            resting.clear();
        }
        let rest = resting.entry(who.clone()).or_insert(Rest { until: now, next: FIRST });
        let pause = if is_transient { FIRST } else { rest.next };
        rest.until = now + pause;
        if !is_transient {
            rest.next = (pause * 2).min(LONGEST);
        }
        pause
    }
}

fn is_transient(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unavailable | Kind::Exhausted | Kind::Conflict | Kind::Deadline)
}

#[cfg(test)]
mod tests {
    use ::store::Error as StoreError;
    use prometheus_client::registry::Registry;

    use super::*;

    fn damaged() -> Result<(), Error> {
        Err(StoreError::internal("does not decode").into())
    }

    fn away() -> Result<(), Error> {
        let retry_after = Duration::from_secs(9);
        Err(StoreError::Full { retry_after }.into())
    }

    #[test]
    fn a_fault_of_its_own_rests_longer_each_time_and_nobody_else() {
        let metrics = Metrics::default();
        let (setbacks, begin) = (Setbacks::new("test", &metrics), Instant::now());
        let mut now = begin;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert!(!setbacks.rests(&"a", now) && !setbacks.rests(&"b", now));
            assert!(matches!(setbacks.settle(&"a", damaged(), now), Ok(None)));
            let woken = (0..=301).find(|s| !setbacks.rests(&"a", now + Duration::from_secs(*s)));
            pauses.push(woken.unwrap());
            now += Duration::from_secs(woken.unwrap());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        // Success forgets.
        assert!(matches!(setbacks.settle(&"a", Ok(()), now), Ok(Some(()))));
        assert!(matches!(setbacks.settle(&"a", damaged(), now), Ok(None)));
        assert!(!setbacks.rests(&"a", now + FIRST));
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("scoring_passed_over_total{task=\"test\"} 13"), "{text}");
    }

    #[test]
    fn a_transient_fault_ends_the_round_and_the_next_begins_with_another() {
        let (setbacks, now) = (Setbacks::new("test", &Metrics::default()), Instant::now());
        for _ in 0..5 {
            assert!(setbacks.settle(&"a", away(), now).is_err());
            assert!(setbacks.rests(&"a", now));
            assert!(!setbacks.rests(&"a", now + FIRST), "never longer");
        }
    }
}
