//! Everything a service keeps, and the keys it keeps it under.
//!
//! Postgres is the truth: [`Database`] (pool), [`migrate`], [`transaction!`] (repeats what
//! certainly did not commit), [`committer`] (group commit without a timer), [`idempotency`],
//! [`resource`] (versioned configuration). Redis is a cache and a bell: [`cache`], [`bell`].
//! Keys: [`keys`] (the key ring file), [`envelope`] (tenant key wraps data key seals row),
//! [`blind`] (equality lookup without the value), [`page_token`].
//!
//! Invariants: `sqlx::Error` becomes [`Error`] here and nowhere else, by SQLSTATE and
//! constraint name; no row data enters an error text; no key enters a `Debug`.
//! Deliberately absent: an ORM, a query builder, any knowledge of protobuf or of gRPC codes,
//! any table of a service other than those in [`schema`].

pub mod bell;
pub mod blind;
pub mod cache;
pub mod committer;
pub mod database;
pub mod envelope;
pub mod error;
pub mod idempotency;
mod jitter;
pub mod key_file;
pub mod keys;
pub mod migrate;
pub mod page_token;
pub mod resource;
pub mod schema;
pub mod tenant_keys;
pub mod time;
pub mod transaction;
pub mod view;

pub use bell::Bell;
pub use cache::Cache;
pub use committer::Committer;
pub use database::Database;
pub use envelope::DataKey;
pub use error::{Cause, Error, FromStore};
pub use keys::{KeyRing, TenantLookup};
pub use migrate::Migration;
pub use page_token::TokenSealer;
pub use resource::{Resource, Resources};
pub use tenant_keys::{TenantKey, TenantKeys};
pub use view::View;
