//! The settings of the service.

use std::time::Duration;

use serde::Deserialize;
use server::settings::{Error, Layer, load};

/// Table `[scoring]`: see `config.default.toml` for what each means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.toml, which is the reference")]
pub struct Config {
    pub profile_lanes: i16,
    pub due_poll_ms: u64,
    pub chunk: u32,
    pub max_wait_ms: u64,
    pub learner_batch: u32,
    pub learner_lease_ms: u64,
    pub feed_max_age_hours: u64,
    pub feed_max_mib: i64,
}

impl Config {
    /// The documented defaults.
    pub const DEFAULTS: &str = include_str!("../config.default.toml");

    /// The defaults under `layers`, which may only hold `[scoring]`.
    ///
    /// # Errors
    /// The first setting that is wrong, with its key and source.
    pub fn load(layers: &[Layer]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Whole {
            scoring: Config,
        }
        load::<Whole>(Self::DEFAULTS, layers)?.scoring.checked()
    }

    fn checked(self) -> Result<Self, Error> {
        let bounds = [
            ("scoring.profile_lanes", i64::from(self.profile_lanes), 1..=64),
            ("scoring.chunk", i64::from(self.chunk), 1..=5_000),
            ("scoring.learner_batch", i64::from(self.learner_batch), 1..=10_000),
        ];
        for (key, value, range) in bounds {
            if !range.contains(&value) {
                let (low, high) = (range.start(), range.end());
                return Err(Error::Invalid(format!("{key} must be between {low} and {high}")));
            }
        }
        if self.due_poll_ms == 0 || self.learner_lease_ms < 1_000 {
            let text =
                "scoring.due_poll_ms must be positive, scoring.learner_lease_ms at least 1000";
            return Err(Error::Invalid(text.to_owned()));
        }
        Ok(self)
    }

    pub(crate) fn due_poll(&self) -> Duration {
        Duration::from_millis(self.due_poll_ms)
    }

    pub(crate) fn max_wait(&self) -> Duration {
        Duration::from_millis(self.max_wait_ms)
    }

    pub(crate) fn learner_lease(&self) -> Duration {
        Duration::from_millis(self.learner_lease_ms)
    }
}
