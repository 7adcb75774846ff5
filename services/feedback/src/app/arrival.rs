//! Waiting for a demand that routing has created but whose feed entry is still on its way.
//!
//! An absent demand and another tenant's take the same time, so the wait tells nothing.

use std::time::Duration;

use ::store::bell;
use tokio::time::Instant;

use super::App;
use crate::error::Error;

/// The bell of another replica may be lost.
const FLOOR: Duration = Duration::from_millis(100);
/// The bell rings with every run of the consumer: not every ring is worth a look.
const LEAST_PAUSE: Duration = Duration::from_millis(10);

/// The patience of one call: look, and if the demand is not there, wait for a
/// [`Arrival::next_chance`] to look again.
pub(super) struct Arrival {
    listener: bell::Listener,
    limit: Instant,
}

impl App {
    /// Begins to listen; to be called before the first look.
    pub(super) fn arrival(&self) -> Arrival {
        Arrival { listener: self.arrivals.listen(), limit: Instant::now() + self.wait_for_demand }
    }
}

impl Arrival {
    /// Returns when facts have arrived.
    ///
    /// # Errors
    /// NOT_FOUND when the time is up.
    pub(super) async fn next_chance(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        let left = self.limit.saturating_duration_since(now);
        if left.is_zero() {
            return Err(Error::NotFound("the demand"));
        }
        self.listener.heard(left.min(FLOOR)).await;
        tokio::time::sleep_until(now + LEAST_PAUSE).await;
        Ok(())
    }
}
