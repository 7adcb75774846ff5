//! What are they worth, what will they do? Rule scorecards and learned models side by side.
//!
//! A map: [`service`] puts everything together, `api` speaks gRPC, `app` has one use case per
//! file, `domain` decides (with the engines `aggregate`, `predicate`, `learn`), `store` has the
//! SQL, [`events`] says what others hear of it.
//!
//! Invariants: a score is the sum of its contributions, to the last bit; it is current on
//! event, on read, by the clock where that crosses a threshold, and after every change of a
//! scorer; weights are the fold of the label log, whoever was killed; a model learns from what
//! was known when its score was used, never from later; nothing personal is stored here.
//!
//! Deliberately absent: batch training, import and promotion of models, forecasts,
//! recommendations (later issues), and attributes that are personal data.

mod api;
mod app;
mod clock;
pub mod config;
mod domain;
mod error;
pub mod events;
mod metrics;
pub mod service;
mod store;

pub use clock::Clock;
pub use config::Config;
pub use error::Error;
pub use service::{Deps, Peers, Service, build, build_with_clock};

use ::store::{Migration, schema};

/// The name of the service, as in commands, ports and logs.
pub const NAME: &str = "scoring";

/// The tables of the service, in order.
pub static MIGRATIONS: &[Migration] = &[
    schema::tenant_key(1),
    schema::request_log(2),
    schema::resource(3),
    Migration { version: 4, name: "feed", sql: feed::SCHEMA },
    Migration { version: 5, name: "scoring", sql: include_str!("../migrations/0001_scoring.sql") },
    schema::bi(6),
    Migration { version: 7, name: "bi_views", sql: include_str!("../migrations/bi.sql") },
];
