//! The edge: events of Segment's SDKs over HTTP/1.1 become events of profile.
//!
//! A map: [`service`] puts everything together and listens, `batch` serves `POST /v1/batch`,
//! `body` reads what was sent, `segment` turns its events into ours, `forward` makes them durable.
//!
//! Invariants: an answer 200 follows the commit of every event that is not in its list of
//! rejected ones; a condition that passes is never answered with a 4xx other than 429, because
//! SDKs drop events for good on those; memory and time of a request are bounded.
//!
//! Deliberately absent: everything listed in the README.

pub mod config;
pub mod service;

pub use config::Config;
pub use service::{Deps, Error, Gateway, Peers, build};

/// The name of the gateway, as in commands, ports and logs.
pub const NAME: &str = "gateway";
