//! The feed against a real Postgres.

mod consumer;
mod log;
mod retention;
mod tail;
mod trouble;
mod world;
