//! The edge: events of Segment's SDKs over HTTP/1.1 become events of profile.
//!
//! A map: [`service`] puts everything together and listens (`stall` ends who does not read), `routes` has the paths (`cors` for
//! browsers, `project` for the settings they ask for), `intake` serves a body of events:
//! `write_key` finds out who sends, `body` reads what was sent within the memory of `budget`,
//! `reading` (pure) turns it into events of ours, `forward` makes them durable, `answer` says what
//! became of it. `snippet` serves the script for web pages. `api` is everything else: the RPCs by JSON and gRPC-Web, views, browser tokens.
//!
//! Invariants: an answer 200 follows the commit of every event that is not in its list of
//! rejected ones; a condition that passes is never answered with a 4xx that makes SDKs drop
//! events for good; memory and time of a request are bounded.
//!
//! Deliberately absent: see the README.

mod answer;
mod api;
mod body;
mod budget;
pub mod config;
mod cors;
mod forward;
mod intake;
mod metrics;
mod project;
mod reading;
mod routes;
pub mod service;
mod snippet;
mod stall;
mod write_key;

pub use api::{Error as ApiError, description};
pub use config::Config;
pub use service::{Deps, Error, Gateway, Peers, build};

/// The name of the gateway, as in commands, ports and logs.
pub const NAME: &str = "gateway";
