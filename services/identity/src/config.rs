//! Settings of the service; `config.default.toml` documents them.

use std::time::Duration;

use serde::Deserialize;
use server::settings::{Error, Layer};

/// See `config.default.toml`.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    committers: usize,
    batch_sets: usize,
    queue_sets: usize,
    feed_days: u64,
    feed_bytes: i64,
}

#[derive(Deserialize)]
struct File {
    identity: Config,
}

impl Config {
    /// The documented defaults, one table `[identity]`.
    pub const DEFAULTS: &str = include_str!("../config.default.toml");

    /// The defaults under `layers`.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn load(layers: &[Layer]) -> Result<Self, Error> {
        let File { identity } = server::settings::load(Self::DEFAULTS, layers)?;
        identity.checked()
    }

    fn checked(self) -> Result<Self, Error> {
        let within = [
            ("committers", (1..=16).contains(&self.committers), "1 to 16"),
            ("batch_sets", (1..=2_000).contains(&self.batch_sets), "1 to 2,000"),
            ("queue_sets", (1_000..=1_000_000).contains(&self.queue_sets), "1,000 to 1,000,000"),
            ("feed_days", (1..=365).contains(&self.feed_days), "1 to 365"),
            ("feed_bytes", self.feed_bytes >= 1 << 20, "at least 1,048,576"),
        ];
        for (name, is_good, expected) in within {
            if !is_good {
                return Err(Error::Invalid(format!("identity.{name} must be {expected}")));
            }
        }
        Ok(self)
    }

    pub(crate) fn committer(&self) -> ::store::committer::Options {
        ::store::committer::Options {
            committers: self.committers,
            max_batch: self.batch_sets,
            max_queued: self.queue_sets,
        }
    }

    pub(crate) fn retention(&self) -> feed::retention::Options {
        feed::retention::Options {
            max_age: Duration::from_secs(self.feed_days * 86_400),
            max_bytes: self.feed_bytes,
            ..feed::retention::Options::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_defaults_are_valid_and_bounds_hold() {
        assert!(Config::load(&[]).is_ok());
        let none = Layer::toml("a test", "[identity]\ncommitters = 0");
        let error = Config::load(&[none]).unwrap_err();
        assert!(error.to_string().contains("identity.committers"), "{error}");
    }
}
