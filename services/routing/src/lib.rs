//! Who should take care of them? A demand goes to the best agent and is never lost.
//!
//! A map: [`service`] puts everything together, `api` speaks gRPC, `app` has one use case per
//! file (the router among them), `domain` decides (state machine, eligibility, rank, hours),
//! `store` has the SQL, `events` says what others hear of it.
//!
//! Invariants, held by database constraints whoever writes: at most one pending offer and one
//! active assignment per demand; an agent's load never exceeds the capacity; a demand that is
//! not closed has a time at which something happens next. Every change of a demand is one
//! transition, one feed entry and one version more, in one transaction: its state is the fold of
//! its transitions. One router is at work at a time (lease with an epoch); two do no harm.
//!
//! Deliberately absent: broadcast offers, pauses, escalation, calendars with holidays, a global
//! optimum over the waiting set (later issues), and any knowledge of why a score is what it is.

mod api;
mod app;
pub mod config;
mod domain;
mod error;
mod events;
mod message;
pub mod service;
mod store;

pub use config::Config;
pub use error::Error;
pub use service::{Deps, Peers, Service, build};

use ::store::{Migration, schema};

/// The name of the service, as in commands, ports and logs.
pub const NAME: &str = "routing";

/// The tables of the service, in order.
pub static MIGRATIONS: &[Migration] = &[
    schema::tenant_key(1),
    schema::request_log(2),
    schema::resource(3),
    Migration { version: 4, name: "feed", sql: feed::SCHEMA },
    Migration { version: 5, name: "routing", sql: include_str!("../migrations/0001_routing.sql") },
    schema::bi(6),
    Migration { version: 7, name: "bi_views", sql: include_str!("../migrations/bi.sql") },
];
