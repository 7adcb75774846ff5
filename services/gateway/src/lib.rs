//! The edge: events of Segment's SDKs over HTTP/1.1 become events of profile.
//!
//! A map: [`service`] puts everything together and listens, `batch` serves `POST /v1/batch`,
//! `write_key` finds out who sends, `body` reads what was sent, `segment` (pure) turns it into
//! events of ours, `forward` makes them durable, `answer` says what became of it.
//!
//! Invariants: an answer 200 follows the commit of every event that is not in its list of
//! rejected ones; a condition that passes is never answered with a 4xx that makes SDKs drop
//! events for good; memory and time of a request are bounded.
//!
//! Deliberately absent: see the README.

mod answer;
mod api;
mod batch;
mod body;
pub mod config;
mod forward;
mod metrics;
mod segment;
pub mod service;
mod write_key;

pub use api::{Error as ApiError, description};
pub use config::Config;
pub use service::{Deps, Error, Gateway, Peers, build};

/// The name of the gateway, as in commands, ports and logs.
pub const NAME: &str = "gateway";
