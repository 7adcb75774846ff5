//! Customers that background work locks, chunk by chunk: who is due, who comes next in a sweep.
//!
//! One whose row is damaged is told apart, so that it does not hold back those beside it.

use kernel::TenantId;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use store::Error;
use uuid::Uuid;

use super::customer;
use super::subject::{Key, Subject, columns, subject};

/// Customers of a tenant that a transaction has locked.
#[derive(Debug, Default)]
pub(crate) struct Locked {
    pub(crate) sound: Vec<Subject>,
    /// What is stored of these does not decode.
    pub(crate) damaged: Vec<Key>,
    /// The last of all, in the order in which they were asked for.
    pub(crate) last: Option<Key>,
}

impl Locked {
    fn of(tenant: TenantId, rows: &[PgRow]) -> Result<Self, Error> {
        let mut locked = Self::default();
        for row in rows {
            let key = Key::new(tenant, customer(row.try_get("customer_id")?));
            locked.last = Some(key);
            let sound = subject(row).and_then(|subject| subject.behaviour().map(|_| subject));
            match sound {
                Ok(subject) => locked.sound.push(subject),
                Err(_) => locked.damaged.push(key),
            }
        }
        Ok(locked)
    }
}

/// Mostly nobody is due, and the first condition says so at once. A customer who is due has
/// scorers, so its tenant has a ruleset; one probe of an index for each.
const DUE_TENANTS: &str = "select r.tenant_id from ruleset r
    where exists (select from subject where next_due_us <= $1) and r.tenant_id > $2
        and exists (select from subject s where s.tenant_id = r.tenant_id and s.next_due_us <= $1)
    order by r.tenant_id limit $3";

/// Tenants with customers whose time has come, after the given one.
pub(crate) async fn due_tenants(
    pool: &PgPool,
    now_us: i64,
    after: Uuid,
    limit: i64,
) -> Result<Vec<TenantId>, Error> {
    let query = sqlx::query_scalar(DUE_TENANTS).bind(now_us).bind(after).bind(limit);
    let tenants: Vec<Uuid> = query.fetch_all(pool).await?;
    Ok(tenants.into_iter().map(TenantId::new).collect())
}

const LOCK_DUE: &str = "select * from subject where tenant_id = $1 and next_due_us <= $2
    order by next_due_us limit $3 for no key update skip locked";

/// Locks customers whose time has come; those that somebody else scores just now are left.
pub(crate) async fn lock_due(
    connection: &mut PgConnection,
    tenant: TenantId,
    now_us: i64,
    limit: i64,
) -> Result<Locked, Error> {
    let query = sqlx::query(LOCK_DUE).bind(tenant.uuid()).bind(now_us).bind(limit);
    Locked::of(tenant, &query.fetch_all(connection).await?)
}

const PUT_OFF: &str = "update subject s set next_due_us = $4
    from unnest($1::uuid[], $2::smallint[], $3::uuid[]) as damaged(tenant_id, shard, customer_id)
    where s.tenant_id = damaged.tenant_id and s.shard = damaged.shard
        and s.customer_id = damaged.customer_id";

/// Looks at locked customers again later.
pub(crate) async fn put_off(
    connection: &mut PgConnection,
    keys: &[Key],
    until_us: i64,
) -> Result<(), Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let (tenants, shards, customers) = columns(keys);
    let query = sqlx::query(PUT_OFF).bind(tenants).bind(shards).bind(customers).bind(until_us);
    query.execute(connection).await?;
    Ok(())
}

const LOCK_AFTER: &str = "select * from subject
    where tenant_id = $1 and (shard, customer_id) > ($2, $3)
    order by shard, customer_id limit $4 for no key update";

/// Locks the next customers of a tenant in the order of their keys.
pub(crate) async fn lock_after(
    connection: &mut PgConnection,
    tenant: TenantId,
    after: (i16, Uuid),
    limit: i64,
) -> Result<Locked, Error> {
    let query = sqlx::query(LOCK_AFTER);
    let query = query.bind(tenant.uuid()).bind(after.0).bind(after.1).bind(limit);
    Locked::of(tenant, &query.fetch_all(connection).await?)
}
