//! Waits between attempts, spread so that those who collided do not collide again.

use std::time::Duration;

/// Between nothing and `base · 2^attempt`, at most 64 times `base` ("full jitter").
pub(crate) fn wait(base: Duration, attempt: u32) -> Duration {
    let ceiling = base.saturating_mul(1 << attempt.min(6));
    let mut random = [0_u8; 2];
    // Without randomness everybody waits the whole time, which is still correct.
    if aws_lc_rs::rand::fill(&mut random).is_err() {
        return ceiling;
    }
    ceiling.mul_f64(f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX))
}
