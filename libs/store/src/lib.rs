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
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use store::{Committer, Database, DataKey, Error, KeyRing, Migration, TenantKeys};
//! use store::{committer, database, envelope, migrate, schema};
//! use tokio_util::{sync::CancellationToken, task::TaskTracker};
//!
//! const MIGRATIONS: &[Migration] = &[schema::tenant_key(1), schema::request_log(2),
//!     Migration { version: 10, name: "note", sql: "create table note (tenant_id uuid, body bytea)" }];
//!
//! # async fn run(tenant: kernel::TenantId) -> Result<(), Box<dyn std::error::Error>> {
//! let ring = KeyRing::load_or_generate(Path::new("data/keys.toml"))?;
//! let database = Database::connect(&database::Options::new("postgres:///notes", "notes")).await?;
//! migrate::apply(&database, MIGRATIONS).await?;
//!
//! let keys = TenantKeys::new(database.clone(), ring.root().clone());
//! let data_key = DataKey::generate()?;
//! let tenant_key = keys.get(tenant).await?;
//! let wrapped = data_key.wrap(&tenant_key, &envelope::place(tenant, "note_key", b"n1"))?;
//! let sealed = envelope::seal(&data_key, &envelope::place(tenant, "note", b"n1"), b"hello")?;
//!
//! let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
//! let write = move |batch: Vec<Arc<Vec<u8>>>| {
//!     let database = database.clone();
//!     async move {
//!         let rows: Vec<&[u8]> = batch.iter().map(|item| item.as_slice()).collect();
//!         store::transaction!(&database, async |connection| {
//!             sqlx::query("insert into note select $1, unnest($2::bytea[])")
//!                 .bind(tenant.uuid()).bind(&rows).execute(&mut *connection).await?;
//!             Ok::<_, Error>(vec![(); rows.len()])
//!         })
//!     }
//! };
//! let notes = Committer::start(committer::Options::default(), &tasks, stop.clone(), write);
//! notes.submit(sealed, 1).await?; // committed
//! # drop(wrapped); Ok(()) }
//! ```

pub mod bell;
pub mod blind;
pub mod cache;
mod change;
pub mod committer;
pub mod database;
pub mod envelope;
pub mod error;
pub mod history;
pub mod idempotency;
mod jitter;
pub mod key_file;
pub mod keys;
pub mod migrate;
pub mod page_token;
mod pool_metrics;
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
