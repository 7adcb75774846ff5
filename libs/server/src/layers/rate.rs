//! How often one principal may call: a token bucket each, as GCRA (ITU-T I.371): one point in
//! time per bucket. Other services of the suite are exempt; the shed layer bounds them.
//!
//! The map is bounded: full buckets are forgotten, and when all are in use newcomers
//! share one.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kernel::TenantId;
use tonic::Code;

use super::{Around, Request, Response, Rpc, refuse};
use crate::status;
use crate::token::Principal;

const MAX_BUCKETS: usize = 50_000;
/// The bucket of all that find no place.
const OVERFLOW: u64 = 0;

/// See the module. Clones share the buckets.
#[derive(Debug, Clone)]
pub struct Rate {
    interval: Duration,
    burst: Duration,
    hasher: RandomState,
    /// By hash of the principal: when the bucket is full again.
    buckets: Arc<Mutex<HashMap<u64, Instant>>>,
}

impl Rate {
    /// `per_second` sustained, `burst` at once; both at least one.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            interval,
            burst: interval * burst.max(1),
            hasher: RandomState::new(),
            buckets: Arc::default(),
        }
    }

    fn admit(&self, tenant: TenantId, subject: &str, now: Instant) -> bool {
        let mut key = self.hasher.hash_one((tenant, subject));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(&key) {
            buckets.retain(|_, full_again| *full_again > now);
            if buckets.len() >= MAX_BUCKETS {
                key = OVERFLOW;
            }
        }
        let full_again = buckets.get(&key).copied().unwrap_or(now).max(now) + self.interval;
        if full_again > now + self.burst {
            return false;
        }
        buckets.insert(key, full_again);
        true
    }
}

impl Around for Rate {
    async fn around<R: Rpc>(&self, request: Request, rest: &R) -> Response {
        let caller = request.extensions().get::<Arc<Principal>>();
        let admitted = caller.is_none_or(|caller| {
            caller.internal || self.admit(caller.tenant, &caller.subject, Instant::now())
        });
        if !admitted {
            let message = "the caller has made too many calls";
            return refuse(status::plain(Code::ResourceExhausted, "OVERLOADED", message));
        }
        rest.call(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let (rate, now) = (Rate::new(10, 3), Instant::now());
        let tenant = TenantId::new(Uuid::from_u128(1));
        let admitted = |at: Instant| (0..10).filter(|_| rate.admit(tenant, "s", at)).count();
        assert_eq!(admitted(now), 3);
        assert_eq!(admitted(now + Duration::from_millis(100)), 1);
        assert_eq!(admitted(now + Duration::from_secs(60)), 3);
        assert!(rate.admit(tenant, "other", now), "buckets are apart");
    }

    #[test]
    fn the_map_of_buckets_is_bounded() {
        let (rate, now) = (Rate::new(1, 2), Instant::now());
        let tenant = TenantId::new(Uuid::from_u128(1));
        for n in 0..MAX_BUCKETS + 10 {
            rate.admit(tenant, &n.to_string(), now);
        }
        assert!(rate.buckets.lock().unwrap().len() <= MAX_BUCKETS + 1);
        assert!(!rate.admit(tenant, "newcomer", now), "newcomers share what is left");
        assert!(rate.admit(tenant, "newcomer", now + Duration::from_secs(60)));
    }
}
