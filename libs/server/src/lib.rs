//! The bootstrap that all servers of the suite share: layered settings, telemetry, the layers
//! of a call, tokens and rules, health, drain, and the client side of all that.
//!
//! Invariants: every RPC has a rule or the server does not start; the tenant comes from the
//! verified token only; a deadline answers DEADLINE_EXCEEDED and never drops work half-way;
//! client garbage is never INTERNAL; everything (connections, calls, streams, rates, retries,
//! drain) has a bound; nothing personal is logged.
//!
//! Deliberately absent: globals and the environment (only `services/rapport` installs or reads
//! them, by calling [`telemetry::install`], [`layers::panic::install_hook`], [`drain::signals`]),
//! TLS (the mesh or the load balancer ends it), and anything about one service.

pub mod admin;
pub mod auth;
pub mod client;
pub mod drain;
pub mod health;
pub mod layers;
pub mod listener;
pub mod request;
pub mod server;
pub mod settings;
pub mod status;
pub mod telemetry;
pub mod token;
pub mod watch;

pub use client::Peer;
pub use drain::Drain;
pub use health::Health;
pub use layers::deadline::Deadline;
pub use layers::route::Surface;
pub use request::Call;
pub use server::{Endpoint, Server};
pub use status::{invalid, not_found, status};
pub use token::Principal;
