//! The settings of routing.

use std::time::Duration;

use serde::Deserialize;
use server::settings::{self, Error, Layer};

/// See `config.default.toml`.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    pub(crate) batch: i64,
    retry_min_ms: i64,
    retry_max_ms: i64,
    exclusion_s: i64,
    reoffer_pause_s: i64,
    reminder_s: i64,
    scoring_timeout_ms: u64,
    rescore_min_ms: i64,
    rescore_max_ms: i64,
    lease_ms: i64,
}

#[derive(Deserialize)]
struct Whole {
    routing: Config,
}

impl Config {
    /// The documented defaults, one table `[routing]`.
    pub const DEFAULTS: &str = include_str!("../config.default.toml");

    /// The defaults with the layers over them.
    ///
    /// # Errors
    /// Names the setting that is wrong.
    pub fn load(layers: &[Layer]) -> Result<Self, Error> {
        let Whole { routing } = settings::load(Self::DEFAULTS, layers)?;
        routing.validate()?;
        Ok(routing)
    }

    fn validate(&self) -> Result<(), Error> {
        let within = |name: &str, value: i64, least: i64, most: i64| {
            let fits = (least..=most).contains(&value);
            let text = format!("routing.{name} must be {least} to {most}");
            if fits { Ok(()) } else { Err(Error::Invalid(text)) }
        };
        within("batch", self.batch, 1, 1_000)?;
        within("retry_min_ms", self.retry_min_ms, 10, self.retry_max_ms)?;
        within("retry_max_ms", self.retry_max_ms, 10, 86_400_000)?;
        within("exclusion_s", self.exclusion_s, 0, 86_400)?;
        within("reoffer_pause_s", self.reoffer_pause_s, 0, self.exclusion_s)?;
        within("reminder_s", self.reminder_s, 60, 31 * 86_400)?;
        within("rescore_min_ms", self.rescore_min_ms, 10, self.rescore_max_ms)?;
        within("rescore_max_ms", self.rescore_max_ms, 10, 86_400_000)?;
        within("lease_ms", self.lease_ms, 100, 60_000)
    }

    /// The times that the state machine and the router go by.
    pub(crate) fn timing(&self) -> crate::domain::Timing {
        crate::domain::Timing {
            retry_min_us: self.retry_min_ms * 1_000,
            retry_max_us: self.retry_max_ms * 1_000,
            exclusion_us: self.exclusion_s * 1_000_000,
            reoffer_pause_us: self.reoffer_pause_s * 1_000_000,
            reminder_us: self.reminder_s * 1_000_000,
        }
    }

    pub(crate) fn scoring_timeout(&self) -> Duration {
        Duration::from_millis(self.scoring_timeout_ms)
    }

    pub(crate) fn rescore_after_us(&self, attempts: u32) -> i64 {
        let doubled = self.rescore_min_ms.saturating_mul(1 << attempts.min(20));
        doubled.min(self.rescore_max_ms) * 1_000
    }

    pub(crate) fn lease_us(&self) -> i64 {
        self.lease_ms * 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_load_and_nonsense_is_refused() {
        assert!(Config::load(&[]).is_ok());
        let layer = Layer::toml("test", "[routing]\nbatch = 0");
        let error = Config::load(&[layer]).expect_err("zero demands per batch");
        assert!(error.to_string().contains("routing.batch"), "{error}");
    }
}
