//! The tables of the service: one file per subject, the SQL beside its method. All statements go
//! by key, on sessions that plan them so ([`::store::Database::keyed`]).

pub(crate) mod customer;
pub(crate) mod erase;
pub(crate) mod event;
pub(crate) mod fragment;
pub(crate) mod ledger;
pub(crate) mod profile;
pub(crate) mod redirect;
pub(crate) mod rejected;
pub(crate) mod snapshot;
pub(crate) mod traits;
