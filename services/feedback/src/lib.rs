//! Did it work, what should change? Outcomes and surveys, joined to the scores and assignments
//! that led to them; labels for the models.
//!
//! A map: [`service`] puts everything together, `api` speaks gRPC, `app` has one use case per
//! file, `domain` decides, `store` has the SQL, `events` hears routing and tells scoring.
//!
//! Invariants: facts are a fold of routing's feed by version; the outcome in force is the latest
//! by event time, whatever the order of arrival; a label goes out once per change of polarity,
//! in the transaction of the outcome; a tenant's demand is absent for every other tenant.
//!
//! Deliberately absent: messages and sentiment, flow reports, experiments, proposals, alerts
//! (later issues), and anything personal: a customer is an id here.

mod api;
mod app;
pub mod config;
mod domain;
mod error;
mod events;
mod money;
pub mod service;
mod store;
mod time;

pub use config::Config;
pub use service::{Deps, Error, Peers, Service, build};

use ::store::{Migration, schema};

/// The name of the service, as in commands, ports and logs.
pub const NAME: &str = "feedback";

/// The tables of the service, in order.
pub static MIGRATIONS: &[Migration] = &[
    schema::tenant_key(1),
    schema::request_log(2),
    schema::resource(3),
    Migration { version: 4, name: "feed", sql: feed::SCHEMA },
    Migration {
        version: 5,
        name: "feedback",
        sql: include_str!("../migrations/0001_feedback.sql"),
    },
    schema::bi(6),
    Migration { version: 7, name: "bi_views", sql: include_str!("../migrations/bi.sql") },
];
