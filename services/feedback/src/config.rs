//! The settings of the service; `config.default.toml` documents each.

use std::time::Duration;

use serde::Deserialize;
use server::settings;

/// Table `[feedback]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.toml, which is the reference")]
pub struct Config {
    pub wait_for_demand_ms: u64,
    pub consumer_lanes: i16,
    pub report_max_rows: u32,
    pub reports_at_once: usize,
    pub feed_max_age_hours: u64,
    pub feed_max_bytes: i64,
}

impl Config {
    /// The documented defaults.
    pub const DEFAULTS: &str = include_str!("../config.default.toml");

    /// The defaults under `layers`, which may only hold `[feedback]`.
    ///
    /// # Errors
    /// Names the setting that is unknown or out of range.
    pub fn load(layers: &[settings::Layer]) -> Result<Self, settings::Error> {
        #[derive(Deserialize)]
        struct Whole {
            feedback: Config,
        }
        let config = settings::load::<Whole>(Self::DEFAULTS, layers)?.feedback;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), settings::Error> {
        let wrong = |text: &str| Err(settings::Error::Invalid(text.to_owned()));
        if !(1..=64).contains(&self.consumer_lanes) {
            return wrong("feedback.consumer_lanes must be 1 to 64");
        }
        if self.report_max_rows == 0 || self.reports_at_once == 0 {
            return wrong(
                "feedback.report_max_rows and feedback.reports_at_once must be at least 1",
            );
        }
        if self.wait_for_demand_ms > 5_000 {
            return wrong("feedback.wait_for_demand_ms must be at most 5000");
        }
        if self.feed_max_age_hours == 0 || self.feed_max_bytes <= 0 {
            return wrong(
                "feedback.feed_max_age_hours and feedback.feed_max_bytes must be positive",
            );
        }
        Ok(())
    }

    /// How long an outcome waits for its demand.
    #[must_use]
    pub const fn wait_for_demand(&self) -> Duration {
        Duration::from_millis(self.wait_for_demand_ms)
    }
}
