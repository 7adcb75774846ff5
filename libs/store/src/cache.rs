//! Redis, as a cache only: everything works without it, slower.
//!
//! Every call is bounded by a short time-out and answers "nothing" on any failure. After a
//! failure a circuit opens: for a while calls cost an atomic read, then one call tries again.
//! Callers must put nothing personal in keys or values (DESIGN 6.10); keys of one subject carry
//! a hash tag, `{…}`, so that they stay together in a cluster.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, RedisError, Script};

use crate::error::Error;

/// How long one call may take, unless told otherwise.
const TIMEOUT: Duration = Duration::from_millis(50);
/// How long the circuit stays open after a failure.
const OPEN_FOR: Duration = Duration::from_secs(1);
/// Versions are kept as this many digits before the value: `>` on text is `>` on numbers.
const DIGITS: usize = 20;

const SET_IF_NEWER: &str = "
local old = redis.call('GETRANGE', KEYS[1], 0, 19)
if #old == 20 and old >= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
return 1";

/// A handle on Redis, or on nothing; cheap to clone.
#[derive(Clone)]
pub struct Cache {
    redis: Option<Arc<Redis>>,
}

struct Redis {
    client: Client,
    connection: ConnectionManager,
    prefix: String,
    timeout: Duration,
    circuit: Circuit,
    set_if_newer: Script,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("enabled", &self.redis.is_some()).finish_non_exhaustive()
    }
}

impl Cache {
    /// A cache that never has anything.
    #[must_use]
    pub const fn disabled() -> Self {
        Self { redis: None }
    }

    /// A cache at `url` (`redis://host:port/0`, `redis+unix:///path`); it connects when first
    /// used, and again whenever Redis comes back. `prefix` begins every key and channel, e.g.
    /// `rapport:profile:`. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Internal`] for a malformed url.
    pub fn new(url: &str, prefix: impl Into<String>) -> Result<Self, Error> {
        Self::with_timeout(url, prefix, TIMEOUT)
    }

    /// [`Cache::new`] with another bound on each call than 50 ms.
    ///
    /// # Errors
    /// As [`Cache::new`].
    pub fn with_timeout(
        url: &str,
        prefix: impl Into<String>,
        timeout: Duration,
    ) -> Result<Self, Error> {
        // The error may quote the url, and with it a password.
        let malformed = |_: RedisError| Error::internal("the redis url is malformed");
        let client = Client::open(url).map_err(malformed)?;
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(timeout))
            .set_connection_timeout(Some(timeout * 5))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(10))
            .set_max_delay(Duration::from_millis(100));
        let connection =
            ConnectionManager::new_lazy_with_config(client.clone(), config).map_err(malformed)?;
        let redis = Redis {
            client,
            connection,
            prefix: prefix.into(),
            timeout,
            circuit: Circuit::new(),
            set_if_newer: Script::new(SET_IF_NEWER),
        };
        Ok(Self { redis: Some(Arc::new(redis)) })
    }

    /// The value, if Redis has it and answers in time.
    pub async fn get(&self, key: &str) -> Option<Vec<u8>> {
        let redis = self.redis.as_ref()?;
        redis.ask::<Option<Vec<u8>>>(redis::cmd("GET").arg(redis.key(key))).await.flatten()
    }

    /// Keeps a value for `time_to_live`, if Redis answers in time.
    pub async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) {
        let Some(redis) = &self.redis else { return };
        let mut command = redis::cmd("SET");
        command.arg(redis.key(key)).arg(value).arg("PX").arg(millis(time_to_live));
        redis.ask::<()>(&command).await;
    }

    /// The value and its version, as kept by [`Cache::set_if_newer`].
    pub async fn get_versioned(&self, key: &str) -> Option<(u64, Vec<u8>)> {
        let mut stored = self.get(key).await?;
        if stored.len() < DIGITS {
            return None;
        }
        let value = stored.split_off(DIGITS);
        let version = std::str::from_utf8(&stored).ok()?.parse().ok()?;
        Some((version, value))
    }

    /// Keeps a value unless one of the same or a higher version is there, so that a slow
    /// writer does not put back what was. Do not mix with [`Cache::set`] on one key.
    pub async fn set_if_newer(
        &self,
        key: &str,
        version: u64,
        value: &[u8],
        time_to_live: Duration,
    ) {
        let Some(redis) = &self.redis else { return };
        let mut call = redis.set_if_newer.key(redis.key(key));
        call.arg(format!("{version:020}")).arg(value).arg(millis(time_to_live));
        let mut connection = redis.connection.clone();
        redis.bounded(call.invoke_async::<i64>(&mut connection)).await;
    }

    /// Forgets a value. False if Redis did not say in time that it did: the value may be there
    /// until its time to live has passed.
    pub async fn delete(&self, key: &str) -> bool {
        let Some(redis) = &self.redis else { return true };
        redis.ask::<()>(redis::cmd("DEL").arg(redis.key(key))).await.is_some()
    }

    /// Forgets several values in one call, as [`Cache::delete`]; `keys` is not looked at
    /// without Redis.
    #[must_use = "what was not deleted may be read again"]
    pub async fn delete_many(&self, keys: impl IntoIterator<Item = String>) -> bool {
        let Some(redis) = &self.redis else { return true };
        let mut command = redis::cmd("DEL");
        let mut count = 0;
        for key in keys {
            command.arg(redis.key(&key));
            count += 1;
        }
        count == 0 || redis.ask::<()>(&command).await.is_some()
    }

    /// True if Redis answers now.
    pub async fn is_reachable(&self) -> bool {
        match &self.redis {
            Some(redis) => redis.ask::<String>(&redis::cmd("PING")).await.is_some(),
            None => false,
        }
    }

    pub(crate) async fn publish(&self, channel: &str, message: &str) {
        let Some(redis) = &self.redis else { return };
        let mut command = redis::cmd("PUBLISH");
        command.arg(redis.key(channel)).arg(message);
        redis.ask::<()>(&command).await;
    }

    /// A client for subscriptions and the full name of the channel.
    pub(crate) fn subscription(&self, channel: &str) -> Option<(Client, String)> {
        self.redis.as_ref().map(|redis| (redis.client.clone(), redis.key(channel)))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Redis {
    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Option<T> {
        let mut connection = self.connection.clone();
        self.bounded(command.query_async(&mut connection)).await
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<T, RedisError>>) -> Option<T> {
        if !self.circuit.allows() {
            return None;
        }
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(value)) => {
                self.circuit.close();
                Some(value)
            }
            Ok(Err(error)) => {
                // The kind only: an error of Redis may quote a key.
                tracing::debug!(kind = ?error.kind(), "redis call failed");
                self.circuit.open();
                None
            }
            Err(_) => {
                tracing::debug!("redis call timed out");
                self.circuit.open();
                None
            }
        }
    }
}

/// Closed: calls pass. Open: none pass until a time, then one.
struct Circuit {
    since: Instant,
    /// Milliseconds after `since` until which it is open; 0 means closed.
    open_until: AtomicU64,
}

impl Circuit {
    fn new() -> Self {
        Self { since: Instant::now(), open_until: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        millis(self.since.elapsed())
    }

    fn allows(&self) -> bool {
        let open_until = self.open_until.load(Ordering::Relaxed);
        if open_until == 0 {
            return true;
        }
        let now = self.now();
        // Whoever moves the time on is the one that tries.
        now >= open_until
            && self
                .open_until
                .compare_exchange(
                    open_until,
                    now + millis(OPEN_FOR),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    fn open(&self) {
        self.open_until.store(self.now() + millis(OPEN_FOR), Ordering::Relaxed);
    }

    fn close(&self) {
        if self.open_until.load(Ordering::Relaxed) != 0 {
            self.open_until.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_redis_answers_nothing_and_soon_costs_nothing() {
        // Port 1 of the loop-back address refuses connections.
        let cache = Cache::new("redis://127.0.0.1:1/0", "test:").expect("url");
        assert_eq!(cache.get("k").await, None);
        let started = Instant::now();
        for _ in 0..10_000 {
            cache.set("k", b"v", OPEN_FOR).await;
        }
        assert!(started.elapsed() < OPEN_FOR, "the circuit did not open");
        assert!(!cache.delete("k").await && !cache.delete_many(["k".to_owned()]).await);
        assert!(cache.delete_many([]).await, "nothing was to be deleted");
        assert!(Cache::disabled().delete_many(["k".to_owned()]).await, "nothing is kept");
    }

    #[test]
    fn an_open_circuit_lets_one_call_try() {
        let mut circuit = Circuit::new();
        assert!(circuit.allows());
        circuit.open();
        assert!(!circuit.allows());
        circuit.since -= OPEN_FOR * 2;
        assert!(circuit.allows());
        assert!(!circuit.allows(), "only one");
        circuit.close();
        assert!(circuit.allows());
    }
}
