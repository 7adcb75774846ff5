//! The memory of all requests at work together.
//!
//! A body pays for the bytes that have arrived, not for those that it announces: a slow sender
//! holds little. What it becomes when it is read is paid for when that is known. Who finds no
//! memory is told to come again, so nobody waits while he holds some.

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::answer::Refusal;

/// A request beside its body: its head, its task, its call to profile.
const REQUEST: usize = 4 * 1024;

/// What a body of so many bytes costs: a buffer that grows may be twice as large.
pub(crate) const fn of_body(bytes: usize) -> usize {
    2 * bytes
}

/// Bytes to be shared.
#[derive(Debug)]
pub(crate) struct Budget {
    free: Semaphore,
    in_use: Gauge,
}

impl Budget {
    pub(crate) fn new(bytes: usize, in_use: Gauge) -> Self {
        Self { free: Semaphore::new(bytes), in_use }
    }

    /// A place for a request.
    ///
    /// # Errors
    /// `Busy` when all is in use.
    pub(crate) fn begin(&self) -> Result<Share<'_>, Refusal> {
        self.share(REQUEST)
    }

    fn share(&self, bytes: usize) -> Result<Share<'_>, Refusal> {
        Ok(Share { permit: self.take(bytes)?, budget: self })
    }

    fn take(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Refusal> {
        const BUSY: Refusal = Refusal::Busy { retry_after_seconds: 1 };
        let permit = self.free.try_acquire_many(u32::try_from(bytes).map_err(|_| BUSY)?);
        let permit = permit.map_err(|_| BUSY)?;
        self.in_use.inc_by(bytes as i64); // fits 32 bits
        Ok(permit)
    }
}

/// What one request has of a budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share<'b> {
    budget: &'b Budget,
    permit: SemaphorePermit<'b>,
}

impl<'b> Share<'b> {
    /// So that it covers so many bytes beside the request itself.
    ///
    /// # Errors
    /// `Busy` when there are not so many.
    pub(crate) fn cover(&mut self, bytes: usize) -> Result<(), Refusal> {
        let missing = (REQUEST + bytes).saturating_sub(self.permit.num_permits());
        if missing > 0 {
            self.permit.merge(self.budget.take(missing)?);
        }
        Ok(())
    }

    /// The same from another budget.
    ///
    /// # Errors
    /// `Busy` when that has not so much.
    pub(crate) fn moved<'o>(self, to: &'o Budget) -> Result<Share<'o>, Refusal> {
        to.share(self.permit.num_permits())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.in_use.dec_by(self.permit.num_permits() as i64); // fits 32 bits, see `take`
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_grow_move_and_are_given_back() {
        let in_use = Gauge::default();
        let budget = Budget::new(10 * REQUEST, in_use.clone());
        let other = Budget::new(3 * REQUEST, in_use.clone());
        let mut share = budget.begin().unwrap();
        share.cover(REQUEST).unwrap();
        share.cover(10).unwrap();
        assert_eq!(budget.free.available_permits(), 8 * REQUEST, "it only grows");
        assert!(share.cover(10 * REQUEST).is_err());
        assert_eq!(budget.free.available_permits(), 8 * REQUEST, "a refusal takes nothing");
        let moved = share.moved(&other).unwrap();
        assert_eq!(budget.free.available_permits(), 10 * REQUEST);
        assert_eq!(other.free.available_permits(), REQUEST);
        assert!(budget.share(2 * REQUEST).unwrap().moved(&other).is_err());
        drop(moved);
        assert_eq!(other.free.available_permits(), 3 * REQUEST);
        assert_eq!(in_use.get(), 0);
    }
}
