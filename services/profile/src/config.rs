//! Settings of the service; `config.default.toml` documents them.

use std::time::Duration;

use serde::Deserialize;
use server::settings::{Error, Layer};

/// See `config.default.toml`.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    pub(crate) committers: usize,
    pub(crate) batch_rows: usize,
    pub(crate) queue_rows: usize,
    pub(crate) stream_chunks: usize,
    pub(crate) known_evidence: u64,
    pub(crate) cached_profiles: u64,
    cache_seconds: u64,
    rejected_days: u32,
    feed_days: u64,
    feed_bytes: i64,
}

#[derive(Deserialize)]
struct File {
    profile: Config,
}

impl Config {
    /// The documented defaults, one table `[profile]`.
    pub const DEFAULTS: &str = include_str!("../config.default.toml");

    /// The defaults under `layers`.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn load(layers: &[Layer]) -> Result<Self, Error> {
        let File { profile } = server::settings::load(Self::DEFAULTS, layers)?;
        profile.checked()
    }

    fn checked(self) -> Result<Self, Error> {
        let within = [
            ("committers", (1..=16).contains(&self.committers), "1 to 16"),
            ("batch_rows", (1..=5_000).contains(&self.batch_rows), "1 to 5,000"),
            ("queue_rows", (1_000..=1_000_000).contains(&self.queue_rows), "1,000 to 1,000,000"),
            ("stream_chunks", (1..=64).contains(&self.stream_chunks), "1 to 64"),
            ("cache_seconds", (1..=3_600).contains(&self.cache_seconds), "1 to 3,600"),
            ("rejected_days", (1..=3_650).contains(&self.rejected_days), "1 to 3,650"),
            ("feed_days", (1..=365).contains(&self.feed_days), "1 to 365"),
            ("feed_bytes", self.feed_bytes >= 1 << 20, "at least 1,048,576"),
        ];
        for (name, is_good, expected) in within {
            if !is_good {
                return Err(Error::Invalid(format!("profile.{name} must be {expected}")));
            }
        }
        Ok(self)
    }

    pub(crate) fn committer(&self) -> ::store::committer::Options {
        ::store::committer::Options {
            committers: self.committers,
            max_batch: self.batch_rows,
            max_queued: self.queue_rows,
        }
    }

    pub(crate) fn retention(&self) -> feed::retention::Options {
        feed::retention::Options {
            max_age: Duration::from_secs(self.feed_days * 86_400),
            max_bytes: self.feed_bytes,
            ..feed::retention::Options::default()
        }
    }

    pub(crate) const fn cache_time(&self) -> Duration {
        Duration::from_secs(self.cache_seconds)
    }

    pub(crate) fn rejected_us(&self) -> i64 {
        i64::from(self.rejected_days) * 86_400_000_000
    }
}
