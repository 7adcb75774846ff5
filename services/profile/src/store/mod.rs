//! The tables of the service: one file per subject, the SQL beside its method.

pub(crate) mod customer;
pub(crate) mod event;
pub(crate) mod fragment;
pub(crate) mod ledger;
pub(crate) mod profile;
pub(crate) mod redirect;
pub(crate) mod rejected;
pub(crate) mod snapshot;
pub(crate) mod traits;

use ::store::Error;
use sqlx::PgConnection;

/// The keys are there: nested loops over them. A plan made while a table was empty would
/// scan and hash it for ever after.
const GUARD: &str = "set local enable_seqscan = off; set local enable_bitmapscan = off; \
    set local enable_hashjoin = off; set local enable_mergejoin = off; \
    set local plan_cache_mode = force_generic_plan";

/// The first statement of a transaction that writes sets by key.
pub(crate) async fn guard_plans(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::raw_sql(GUARD).execute(connection).await?;
    Ok(())
}
