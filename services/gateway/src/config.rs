//! The settings of the gateway; `config.default.toml` documents each.

use std::time::Duration;

use serde::Deserialize;
use server::settings;

use crate::budget::of_body;
use crate::forward::MAX_COST;

/// Table `[gateway]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.toml, which is the reference")]
pub struct Config {
    pub max_in_flight_bytes: usize,
    pub max_connections: usize,
    pub max_body_bytes: usize,
    pub max_inflated_bytes: usize,
    pub max_event_bytes: usize,
    pub max_events: usize,
    pub header_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub write_timeout_ms: u64,
    pub deadline_ms: u64,
    pub bare_paths: bool,
    pub max_api_buffer_bytes: usize,
    pub allowed_origins: Vec<String>,
    pub browser_scopes: Vec<String>,
    pub browser_token_seconds: u64,
}

impl Config {
    /// The documented defaults.
    pub const DEFAULTS: &str = include_str!("../config.default.toml");

    /// The defaults under `layers`, which may only hold `[gateway]`.
    ///
    /// # Errors
    /// Names the setting that is unknown or out of range.
    pub fn load(layers: &[settings::Layer]) -> Result<Self, settings::Error> {
        #[derive(Deserialize)]
        struct Whole {
            gateway: Config,
        }
        let config = settings::load::<Whole>(Self::DEFAULTS, layers)?.gateway;
        let counts = [
            config.max_connections,
            config.max_body_bytes,
            config.max_inflated_bytes,
            config.max_events,
        ];
        if counts.contains(&0) || config.deadline_ms == 0 || config.write_timeout_ms == 0 {
            return Err(settings::Error::Invalid("no setting of gateway may be 0".to_owned()));
        }
        // An event becomes up to six times as large as a protobuf message, which has its own cap.
        if !(1..=128 * 1024).contains(&config.max_event_bytes) {
            let text = "gateway.max_event_bytes must be 1 to 131072";
            return Err(settings::Error::Invalid(text.to_owned()));
        }
        crate::api::check(&config)?;
        let least = config.least_in_flight_bytes();
        if !(least..=u32::MAX as usize).contains(&config.max_in_flight_bytes) {
            return Err(settings::Error::Invalid(format!(
                "gateway.max_in_flight_bytes must be {least} to {}, so that a body as large as \
                 gateway.max_inflated_bytes fits into a quarter",
                u32::MAX
            )));
        }
        Ok(config)
    }

    /// Four of the largest bodies: those with a key in the body have a quarter of the memory.
    const fn least_in_flight_bytes(&self) -> usize {
        let bodies = of_body(self.max_body_bytes) + of_body(self.max_inflated_bytes);
        4 * (bodies + 2 * MAX_COST)
    }

    pub(crate) const fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    pub(crate) const fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    pub(crate) const fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    /// Streams that may be open at the same time: they leave connections to everybody else.
    pub(crate) const fn max_streams(&self) -> usize {
        self.max_connections.div_ceil(2)
    }

    pub(crate) const fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }
}
