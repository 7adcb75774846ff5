//! The place where backups are kept: sealed files, manifests, the archive of the write-ahead log,
//! and the ledger of erasures.
//!
//! Invariants:
//! - what is in the place can be read by nobody without the backup key, which is not in it;
//! - a sealed file opens whole, in order and under its own name, or not at all;
//! - a backup exists once its directory has its name: it is filled under another one, manifest
//!   last, and renamed; it ceases to exist in the same way. A kill leaves the old state or the new;
//! - the last backup that was restored successfully is never pruned; one life of a data directory
//!   prunes nothing of another life's that is younger than the greatest age;
//! - the ledger is only appended to; what was torn by a crash was never acknowledged.
//!
//! Deliberately absent: Postgres, processes and the network (`services/rapport`), object stores
//! (mount or copy the directory), incremental backups, rotation of the backup key.

pub mod archive;
mod error;
mod file;
mod key;
mod ledger;
mod manifest;
mod repository;
mod retention;
mod seal;

pub use error::Error;
pub use file::{Part, free_bytes, read_sealed, write_sealed};
pub use key::Key;
pub use ledger::{Erasure, Ledger};
pub use manifest::{Database, LedgerPosition, Manifest, Migration, Table, Verified};
pub use repository::{Draft, Listing, Pruned, Repository};
pub use retention::{Policy, condemned};
