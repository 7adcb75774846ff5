//! What do we know? One live profile per customer, the same in whatever order events arrive.
//!
//! A map: [`service`] puts everything together, `api` speaks gRPC, `app` has one use case per
//! file, `domain` folds (with the engine `aggregate`), `store` has the SQL, [`events`] says what
//! others hear of it and what is heard from identity.
//!
//! Invariants: a fragment is the fold of the distinct events of one evidence, a profile the
//! merge of its customer's fragments; every writer locks in the order events, fragments,
//! customers, feed, each sorted by key, and takes the customer from the locked fragment; the
//! version of a customer only grows, under the lock of its row; an acknowledged event is
//! committed; personal data is sealed under the key of its evidence, and behaviour, which travels
//! in the feed, has none.
//!
//! Deliberately absent: segments, consent, imports, mappings and webhooks (later issues),
//! subtraction of events, and any knowledge of how evidence is linked.

mod api;
mod app;
pub mod config;
mod domain;
mod error;
pub mod events;
mod metrics;
pub mod service;
mod store;

pub use config::Config;
pub use error::Error;
pub use service::{BuildError, Deps, Peers, Service, build};

use ::store::{Migration, schema};

/// The name of the service, as in commands, ports and logs.
pub const NAME: &str = "profile";

/// The tables of the service, in order.
pub static MIGRATIONS: &[Migration] = &[
    schema::tenant_key(1),
    schema::resource(2),
    Migration { version: 3, name: "feed", sql: feed::SCHEMA },
    Migration { version: 4, name: "profile", sql: include_str!("../migrations/0001_profile.sql") },
    schema::bi(5),
    Migration { version: 6, name: "bi_views", sql: include_str!("../migrations/bi.sql") },
];
