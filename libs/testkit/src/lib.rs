//! Infrastructure for tests: real servers, a database per test, polling with a deadline.
//!
//! - [`Stack::get`]: one private Postgres and Redis shared by all test processes of this
//!   checkout (nextest runs each test in its own), fast and not durable, started by
//!   whoever comes first, stopped by a watchdog a minute after the last one left.
//! - [`Stack::database`]: a clone of a migrated template, made in milliseconds.
//! - [`PrivateStack`]: servers of one test's own, to be killed and restarted.
//! - [`House`]: keys, tokens and a server around the services of one test.
//! - [`eventually`]: polls a condition; there is no reason to sleep in a test.
//!
//! `RAPPORT_TEST_DATABASE_URL` (a superuser's address) and `RAPPORT_TEST_REDIS_URL` replace
//! the shared servers by given ones. Deliberately absent: mocks. Development only: failures
//! of the infrastructure panic with a message where no caller could do better.

mod cache;
mod databases;
mod eventually;
mod house;
mod place;
mod private;
mod stack;
mod watchdog;

pub use cache::TestRedis;
pub use databases::{Databases, TestDatabase};
pub use eventually::{Probed, eventually};
pub use house::House;
pub use private::PrivateStack;
pub use stack::Stack;
