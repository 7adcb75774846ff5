//! The one router at work. Times are the database's, so that replicas need no common clock.

use sqlx::{PgConnection, PgExecutor};
use store::Error;
use uuid::Uuid;

const TAKE: &str = "insert into router_lease as l (holder, epoch, until_us)
    values ($1, 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint + $2)
    on conflict (one) do update set holder = $1, until_us = excluded.until_us,
        epoch = l.epoch + case when l.holder = $1 then 0 else 1 end
      where l.holder = $1
         or l.until_us < (extract(epoch from clock_timestamp()) * 1000000)::bigint
    returning epoch";
const HOLDS: &str = "select exists (select from router_lease where epoch = $1)";
const GIVE_BACK: &str = "update router_lease set until_us = 0 where holder = $1";

/// Takes or keeps the lease; the epoch, or nothing while another holder is alive.
pub(crate) async fn take(
    executor: impl PgExecutor<'_>,
    holder: Uuid,
    lease_us: i64,
) -> Result<Option<i64>, Error> {
    let query = sqlx::query_scalar(TAKE).bind(holder).bind(lease_us);
    Ok(query.fetch_optional(executor).await?)
}

/// True unless somebody else took over: asked in each transaction of the router.
pub(crate) async fn holds(connection: &mut PgConnection, epoch: i64) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(HOLDS).bind(epoch).fetch_one(connection).await?)
}

/// Lets the next one begin at once.
pub(crate) async fn give_back(executor: impl PgExecutor<'_>, holder: Uuid) -> Result<(), Error> {
    sqlx::query(GIVE_BACK).bind(holder).execute(executor).await?;
    Ok(())
}
