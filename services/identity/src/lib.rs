//! Who is this? One stable customer id out of many identifiers.
//!
//! A map: [`service`] puts everything together, `api` speaks gRPC, `app` has one use case per
//! file, `domain` decides (with the engine `linkage`), `store` has the SQL, [`events`] says what
//! others hear of it.
//!
//! Invariants: known evidence is answered by one read without a lock; structure changes one at a
//! time per tenant, under its advisory lock; clusters are a function of evidence and decisions,
//! never of the order of arrival; a customer id leads to the customer that holds its founder, for
//! ever; a value at rest is a keyed hash, or sealed under the key of its evidence.
//!
//! Deliberately absent: fuzzy matching of records, review cases and the public watch
//! (later issues), and any knowledge of profiles.

mod api;
mod app;
pub mod config;
mod domain;
pub mod erasure;
mod error;
pub mod events;
pub mod service;
mod store;

pub use config::Config;
pub use error::Error;
pub use service::{BuildError, Deps, Service, build};

use ::store::{Migration, schema};

/// The name of the service, as in commands, ports and logs.
pub const NAME: &str = "identity";

/// The tables of the service, in order.
pub static MIGRATIONS: &[Migration] = &[
    schema::tenant_key(1),
    schema::request_log(2),
    schema::resource(3),
    Migration { version: 4, name: "feed", sql: feed::SCHEMA },
    Migration {
        version: 5,
        name: "identity",
        sql: include_str!("../migrations/0001_identity.sql"),
    },
];
