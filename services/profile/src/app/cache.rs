//! Profiles that were read, in this process and in Redis.
//!
//! Each entry of this process carries the generation that its customer had before it was read;
//! every change counts the generation up, so an entry that was read too early is never served,
//! also if it is put in late. Changes of other replicas arrive by the own change log, within
//! milliseconds. Redis keeps what Postgres keeps, personal parts sealed; it is emptied of a
//! customer before the change is acknowledged, and after a time in any case. When it did not
//! confirm that, nothing is read of it until that time has passed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::store::Cache as Redis;
use aggregate::{Behaviour, Personal};
use kernel::{CustomerId, EvidenceId, TenantId};
use moka::future::Cache;
use tokio::sync::watch;

use crate::store::profile::Stored;

/// A profile as it is: decoded, personal attributes in clear. Never leaves the process as such.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) customer: CustomerId,
    pub(crate) version: i64,
    pub(crate) behaviour: Behaviour,
    pub(crate) personal: Personal,
    pub(crate) evidence: Vec<EvidenceId>,
    /// The version of the id that was asked for: another one's, if it leads elsewhere.
    pub(crate) asked_version: i64,
}

/// The generations of the ids that an entry depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    epoch: u64,
    asked: u64,
}

struct Entry {
    profile: Arc<Profile>,
    stamp: Stamp,
    led_to: Stamp,
}

/// Customers share generations when their ids end alike: harmless, they are read again.
const SLOTS: usize = 1 << 16;

/// Profiles that were read. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Profiles {
    known: Cache<(TenantId, CustomerId), Arc<Entry>>,
    redis: Redis,
    time_to_live: Duration,
    generations: Arc<Generations>,
    doubt: Arc<Doubt>,
    changed: watch::Sender<u64>,
}

/// What is put into Redis after a change was read before it: no statement takes longer.
const LATE: Duration = Duration::from_secs(10);

/// Whether Redis may hold what has changed since.
struct Doubt {
    since: Instant,
    /// Milliseconds after `since` until which it may.
    until: AtomicU64,
}

impl Doubt {
    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_there(&self) -> bool {
        self.now() < self.until.load(Ordering::Acquire)
    }

    /// A value with this time to live was not deleted.
    fn raise(&self, time_to_live: Duration) {
        let lasts = u64::try_from((time_to_live + LATE).as_millis()).unwrap_or(u64::MAX);
        self.until.fetch_max(self.now().saturating_add(lasts), Ordering::AcqRel);
    }
}

struct Generations {
    epoch: AtomicU64,
    slots: Box<[AtomicU64]>,
}

impl Generations {
    fn slot(&self, customer: CustomerId) -> &AtomicU64 {
        // The last bytes of a UUID v7 are random.
        let [.., high, low] = customer.as_bytes();
        &self.slots[usize::from(u16::from_be_bytes([*high, *low]))]
    }
}

impl Profiles {
    pub(crate) fn new(redis: Redis, capacity: u64, time_to_live: Duration) -> Self {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self {
            known: Cache::builder().max_capacity(capacity).time_to_live(time_to_live).build(),
            redis,
            time_to_live,
            generations: Arc::new(Generations { epoch: AtomicU64::new(0), slots }),
            doubt: Arc::new(Doubt { since: Instant::now(), until: AtomicU64::new(0) }),
            changed: watch::Sender::new(0),
        }
    }

    /// To be taken before the database is read.
    pub(crate) fn stamp(&self, customer: CustomerId) -> Stamp {
        Stamp {
            epoch: self.generations.epoch.load(Ordering::Acquire),
            asked: self.generations.slot(customer).load(Ordering::Acquire),
        }
    }

    /// The profile, unless it has changed since.
    pub(crate) async fn get(&self, tenant: TenantId, customer: CustomerId) -> Option<Arc<Profile>> {
        let entry = self.known.get(&(tenant, customer)).await?;
        let is_current = entry.stamp == self.stamp(customer)
            && entry.led_to == self.stamp(entry.profile.customer);
        is_current.then(|| Arc::clone(&entry.profile))
    }

    /// Keeps a profile that was read after the stamps were taken.
    pub(crate) async fn put(
        &self,
        tenant: TenantId,
        (asked, stamp): (CustomerId, Stamp),
        led_to: Stamp,
        profile: &Arc<Profile>,
    ) {
        let entry = Entry { profile: Arc::clone(profile), stamp, led_to };
        self.known.insert((tenant, asked), Arc::new(entry)).await;
    }

    /// What Redis has of a customer, unless that is in doubt.
    pub(crate) async fn get_stored(
        &self,
        tenant: TenantId,
        customer: CustomerId,
    ) -> Option<Stored> {
        if self.doubt.is_there() {
            return None;
        }
        let (_, bytes) = self.redis.get_versioned(&redis_key(tenant, customer)).await?;
        Stored::from_bytes(&bytes)
    }

    /// Gives Redis what was read after `stamp`.
    pub(crate) async fn put_stored(
        &self,
        tenant: TenantId,
        (customer, stamp): (CustomerId, Stamp),
        stored: &Stored,
    ) {
        let key = redis_key(tenant, customer);
        let version = stored.version.unsigned_abs();
        self.redis.set_if_newer(&key, version, &stored.to_bytes(), self.time_to_live).await;
        if self.stamp(customer) != stamp && !self.redis.delete(&key).await {
            self.doubt.raise(self.time_to_live);
        }
    }

    /// Forgets customers, here and in Redis.
    pub(crate) async fn forget(&self, customers: &[(TenantId, CustomerId)]) {
        // Before Redis, so that who reads meanwhile takes back what it puts in; and after, so
        // that nobody keeps here what it read of Redis meanwhile.
        self.bump(customers);
        let keys = customers.iter().map(|(tenant, customer)| redis_key(*tenant, *customer));
        if !self.redis.delete_many(keys).await {
            self.doubt.raise(self.time_to_live);
        }
        self.bump(customers);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Forgets customers in this process at once.
    pub(crate) fn bump(&self, customers: &[(TenantId, CustomerId)]) {
        for (_, customer) in customers {
            self.generations.slot(*customer).fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Forgets everything in this process: changes may have been missed.
    pub(crate) fn forget_all(&self) {
        self.generations.epoch.fetch_add(1, Ordering::AcqRel);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Hears of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// Keys of one customer stay together in a cluster.
fn redis_key(tenant: TenantId, customer: CustomerId) -> String {
    format!("1:{{{customer}}}:{tenant}")
}
