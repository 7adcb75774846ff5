//! Customers with their behaviour and scores.

use aggregate::Behaviour;
use feed::{Shards, SnapshotKey};
use kernel::{CustomerId, Shard, TenantId};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use store::Error;
use uuid::Uuid;

use super::codec;
use super::customer;
use crate::domain::Standing;

/// Which customer. Orders as rows are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) tenant: TenantId,
    pub(crate) shard: Shard,
    pub(crate) customer: CustomerId,
}

impl Key {
    pub(crate) fn new(tenant: TenantId, customer: CustomerId) -> Self {
        Self { tenant, shard: Shard::of(customer.uuid()), customer }
    }
}

/// A row.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) key: Key,
    /// 0 while only a redirect is known of it.
    pub(crate) profile_version: i64,
    pub(crate) behaviour: Vec<u8>,
    /// The customer that the id stands for, if not for itself.
    pub(crate) redirect_into: Option<CustomerId>,
    pub(crate) redirect_version: i64,
    pub(crate) scores: Vec<Standing>,
    pub(crate) score_version: i64,
    pub(crate) scored_us: i64,
    pub(crate) next_due_us: Option<i64>,
    /// Counts the writes of the row; 0 while there is none.
    pub(crate) writes: i64,
    /// The customer was erased; the id is never given out again.
    pub(crate) erased: bool,
}

impl Subject {
    /// Nothing known yet.
    pub(crate) fn new(key: Key) -> Self {
        Self {
            key,
            profile_version: 0,
            behaviour: Vec::new(),
            redirect_into: None,
            redirect_version: 0,
            scores: Vec::new(),
            score_version: 0,
            scored_us: 0,
            next_due_us: None,
            writes: 0,
            erased: false,
        }
    }

    /// The behaviour; nothing while none is known or the id stands for another customer.
    pub(crate) fn behaviour(&self) -> Result<Option<Behaviour>, Error> {
        if self.redirect_into.is_some() || self.behaviour.is_empty() {
            return Ok(None);
        }
        let decoded = Behaviour::decode(&self.behaviour);
        decoded.map(Some).map_err(|_| Error::damaged("a stored behaviour does not decode"))
    }
}

pub(super) fn subject(row: &PgRow) -> Result<Subject, Error> {
    let tenant = TenantId::new(row.try_get("tenant_id")?);
    let into: Option<Uuid> = row.try_get("redirect_into")?;
    Ok(Subject {
        key: Key::new(tenant, customer(row.try_get("customer_id")?)),
        profile_version: row.try_get("profile_version")?,
        behaviour: row.try_get("behaviour")?,
        redirect_into: into.map(CustomerId::new),
        redirect_version: row.try_get("redirect_version")?,
        scores: codec::decode_standings(row.try_get("scores")?)?,
        score_version: row.try_get("score_version")?,
        scored_us: row.try_get("scored_us")?,
        next_due_us: row.try_get("next_due_us")?,
        writes: row.try_get("writes")?,
        erased: row.try_get("erased")?,
    })
}

fn subjects(rows: Vec<PgRow>) -> Result<Vec<Subject>, Error> {
    rows.iter().map(subject).collect()
}

const KNOWN: &str = "select s.* from unnest($1::uuid[], $2::smallint[], $3::uuid[])
        as wanted(tenant_id, shard, customer_id)
    join subject s using (tenant_id, shard, customer_id)";

const LOCK: &str = "select s.* from unnest($1::uuid[], $2::smallint[], $3::uuid[])
        as wanted(tenant_id, shard, customer_id)
    join subject s using (tenant_id, shard, customer_id)
    order by s.tenant_id, s.shard, s.customer_id for no key update of s";

/// Locks those that are there, in the order of their keys.
pub(crate) async fn lock(
    connection: &mut PgConnection,
    keys: &[Key],
) -> Result<Vec<Subject>, Error> {
    by_keys(LOCK, connection, keys).await
}

/// Reads those that are there, without a lock: [`write`] finds out whether they have changed since.
pub(crate) async fn known(
    connection: &mut PgConnection,
    keys: &[Key],
) -> Result<Vec<Subject>, Error> {
    by_keys(KNOWN, connection, keys).await
}

async fn by_keys(
    sql: &'static str,
    connection: &mut PgConnection,
    keys: &[Key],
) -> Result<Vec<Subject>, Error> {
    let (tenants, shards, customers) = columns(keys);
    let query = sqlx::query(sql).bind(tenants).bind(shards).bind(customers);
    subjects(query.fetch_all(connection).await?)
}

pub(super) fn columns(keys: &[Key]) -> (Vec<Uuid>, Vec<i16>, Vec<Uuid>) {
    let tenants = keys.iter().map(|key| key.tenant.uuid()).collect();
    let shards = keys.iter().map(|key| key.shard.number()).collect();
    let customers = keys.iter().map(|key| key.customer.uuid()).collect();
    (tenants, shards, customers)
}

// Its own statement because an upsert locks each row before it updates it.
const UPDATE: &str = "update subject s set profile_version = u.profile_version,
        behaviour = u.behaviour, redirect_into = u.redirect_into,
        redirect_version = u.redirect_version, scores = u.scores,
        score_version = u.score_version, scored_us = u.scored_us, next_due_us = u.next_due_us,
        writes = s.writes + 1, shown = u.shown::json
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::bigint[], $5::bytea[], $6::uuid[],
        $7::bigint[], $8::bytea[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
        $13::text[])
        u(tenant_id, shard, customer_id, profile_version, behaviour, redirect_into,
          redirect_version, scores, score_version, scored_us, next_due_us, writes, shown)
    where s.tenant_id = u.tenant_id and s.shard = u.shard and s.customer_id = u.customer_id
        and s.writes = u.writes";

const INSERT: &str = "insert into subject (tenant_id, shard, customer_id, profile_version,
        behaviour, redirect_into, redirect_version, scores, score_version, scored_us, next_due_us,
        writes, shown)
    select tenant_id, shard, customer_id, profile_version, behaviour, redirect_into,
        redirect_version, scores, score_version, scored_us, next_due_us, writes + 1, shown::json
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::bigint[], $5::bytea[], $6::uuid[],
        $7::bigint[], $8::bytea[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
        $13::text[])
        u(tenant_id, shard, customer_id, profile_version, behaviour, redirect_into,
          redirect_version, scores, score_version, scored_us, next_due_us, writes, shown)
    on conflict do nothing";

/// Writes rows as they were read and changed, in the order of their keys.
///
/// # Errors
/// [`Error::Conflict`] when somebody else has written one of them since; then the whole
/// transaction is to be repeated.
pub(crate) async fn write(
    connection: &mut PgConnection,
    subjects: &[Subject],
) -> Result<(), Error> {
    let (new, stored): (Vec<&Subject>, Vec<&Subject>) =
        subjects.iter().partition(|subject| subject.writes == 0);
    let mut written = write_by(UPDATE, connection, &stored).await?;
    written += write_by(INSERT, connection, &new).await?;
    if written == subjects.len() as u64 {
        return Ok(());
    }
    Err(Error::conflict("a customer was scored by somebody else meanwhile"))
}

async fn write_by(
    sql: &'static str,
    connection: &mut PgConnection,
    subjects: &[&Subject],
) -> Result<u64, Error> {
    if subjects.is_empty() {
        return Ok(0);
    }
    let keys: Vec<Key> = subjects.iter().map(|subject| subject.key).collect();
    let (tenants, shards, customers) = columns(&keys);
    let numbers = |of: fn(&Subject) -> i64| subjects.iter().map(|it| of(it)).collect::<Vec<i64>>();
    let behaviours: Vec<&[u8]> = subjects.iter().map(|subject| &subject.behaviour[..]).collect();
    let into: Vec<Option<Uuid>> =
        subjects.iter().map(|subject| subject.redirect_into.map(CustomerId::uuid)).collect();
    let scores: Vec<Vec<u8>> =
        subjects.iter().map(|subject| codec::encode_standings(&subject.scores)).collect();
    let shown: Result<Vec<String>, Error> =
        subjects.iter().map(|subject| codec::show_standings(&subject.scores)).collect();
    let due: Vec<Option<i64>> = subjects.iter().map(|subject| subject.next_due_us).collect();
    let done = sqlx::query(sql)
        .bind(tenants)
        .bind(shards)
        .bind(customers)
        .bind(numbers(|subject| subject.profile_version))
        .bind(behaviours)
        .bind(into)
        .bind(numbers(|subject| subject.redirect_version))
        .bind(scores)
        .bind(numbers(|subject| subject.score_version))
        .bind(numbers(|subject| subject.scored_us))
        .bind(due)
        .bind(numbers(|subject| subject.writes))
        .bind(shown?)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

/// What a read of scores needs, of one instant.
#[derive(Debug)]
pub(crate) struct Reading {
    /// 0 if nobody ever configured or told anything of the tenant.
    pub(crate) revision: i64,
    /// The versions of what its models know.
    pub(crate) models: Vec<(String, i64)>,
    pub(crate) subjects: Vec<Subject>,
}

const READ: &str = "select s.*,
        coalesce((select revision from ruleset r where r.tenant_id = $1), 0) as revision,
        array(select model from model_state m where m.tenant_id = $1 order by model) as models,
        array(select version from model_state m where m.tenant_id = $1 order by model)
            as model_versions
    from unnest(array_fill($1::uuid, array[cardinality($2)]), $2::smallint[], $3::uuid[])
        as wanted(tenant_id, shard, customer_id)
    join subject s using (tenant_id, shard, customer_id)";

/// Reads customers, and which scorers are in force, in one statement.
pub(crate) async fn read_many(
    pool: &PgPool,
    tenant: TenantId,
    customers: &[CustomerId],
) -> Result<Reading, Error> {
    let keys: Vec<Key> = customers.iter().map(|customer| Key::new(tenant, *customer)).collect();
    let (_, shards, ids) = columns(&keys);
    let rows = sqlx::query(READ).bind(tenant.uuid()).bind(shards).bind(ids).fetch_all(pool).await?;
    let mut reading = Reading { revision: 0, models: Vec::new(), subjects: Vec::new() };
    for row in &rows {
        reading.subjects.push(subject(row)?);
    }
    if let Some(row) = rows.first() {
        let models: Vec<String> = row.try_get("models")?;
        let versions: Vec<i64> = row.try_get("model_versions")?;
        reading.revision = row.try_get("revision")?;
        reading.models = models.into_iter().zip(versions).collect();
    }
    Ok(reading)
}

/// As [`read_many`], for one.
pub(crate) async fn read(
    pool: &PgPool,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<Reading, Error> {
    read_many(pool, tenant, &[customer]).await
}

const PAGE: &str = "select * from subject
    where tenant_id = $1 and customer_id > $2 and score_version > 0 and not erased
        and redirect_into is null
    order by customer_id limit $3";

/// At most `limit` customers with scores after an id, in the order of their ids.
pub(crate) async fn after(
    pool: &PgPool,
    tenant: TenantId,
    after: Uuid,
    limit: usize,
) -> Result<Vec<Subject>, Error> {
    let query = sqlx::query(PAGE).bind(tenant.uuid()).bind(after).bind(limit as i64);
    subjects(query.fetch_all(pool).await?)
}

const SNAPSHOT: &str = "select * from subject
    where (tenant_id, customer_id) > ($1, $2) and shard = any($3) and score_version > 0
        and not erased
    order by tenant_id, customer_id limit $4";

/// Customers that were ever told of, in the order of (tenant, customer); none at the end. One
/// whose scores do not decode is passed over: a reader would never get past it.
pub(crate) async fn snapshot(
    pool: &PgPool,
    shards: Shards,
    after: Option<SnapshotKey>,
    limit: usize,
) -> Result<Vec<Subject>, Error> {
    let mut after = after.map_or_else(Default::default, |(tenant, id)| (tenant.uuid(), id));
    let numbers: Vec<i16> = shards.numbers().collect();
    loop {
        let rows = sqlx::query(SNAPSHOT)
            .bind(after.0)
            .bind(after.1)
            .bind(&numbers)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool)
            .await?;
        let Some(last) = rows.last() else { return Ok(Vec::new()) };
        after = (last.try_get("tenant_id")?, last.try_get("customer_id")?);
        let mut sound = Vec::with_capacity(rows.len());
        for row in &rows {
            match subject(row) {
                Ok(subject) => sound.push(subject),
                Err(error) => {
                    let tenant: Uuid = row.try_get("tenant_id")?;
                    let customer: Uuid = row.try_get("customer_id")?;
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(%tenant, %customer, error, "left out of a snapshot");
                }
            }
        }
        if !sound.is_empty() {
            return Ok(sound);
        }
    }
}
