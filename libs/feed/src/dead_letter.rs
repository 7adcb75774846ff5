//! Entries that could not be applied, and their way back.
//!
//! Not the entry but its *subject* is parked: later entries of it follow, so that a redrive keeps
//! their order. A subject is free again when its last letter is gone. Consumer and redrive meet on
//! the row lock of the subject's first letter: a consumer that finds it deleted applies the entry
//! itself, a redrive that had to wait finds the letter that was added.

use std::collections::HashSet;

use contracts::feed::v1::FeedEntry;
use kernel::TenantId;
use prost::Message;
use sqlx::{Acquire, PgConnection};
use store::Database;
use uuid::Uuid;

use crate::{Entry, Error, HandleError, Handler};

/// Why later entries of a parked subject are in here.
pub(crate) const FOLLOWS: &str = "an earlier entry of the subject is parked";
/// How many subjects a redrive lists at once.
const PAGE: i64 = 500;

type Subject = (Uuid, Uuid);

/// What a redrive did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Entries that are applied now.
    pub applied: u64,
    /// Subjects that are still parked, because an entry failed again.
    pub parked_subjects: u64,
}

const PARK: &str = "
    insert into dead_letter (consumer, tenant_id, subject, seq, entry, error, attempts, parked_us)
    select $1, e.tenant_id, e.subject, e.seq, e.entry, $6, 1,
           (extract(epoch from clock_timestamp()) * 1000000)::bigint
    from unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::bytea[])
        with ordinality as e(tenant_id, subject, seq, entry, ord)
    order by e.ord";

/// A repeated snapshot repeats its entries; the newer one is enough.
const REPLACE_SNAPSHOT: &str = "
    delete from dead_letter d using unnest($2::uuid[], $3::uuid[]) as s(tenant_id, subject)
    where d.consumer = $1 and d.tenant_id = s.tenant_id and d.subject = s.subject and d.seq = 0";

/// Puts entries aside, in order.
pub(crate) async fn park(
    connection: &mut PgConnection,
    consumer: &str,
    entries: &[Entry],
    error: &str,
) -> Result<(), Error> {
    let tenants: Vec<Uuid> = entries.iter().map(|entry| entry.tenant.uuid()).collect();
    let subjects: Vec<Uuid> = entries.iter().map(|entry| entry.subject).collect();
    let seqs: Vec<i64> = entries.iter().map(|entry| entry.seq).collect();
    let messages: Vec<Vec<u8>> =
        entries.iter().map(|entry| entry.to_message().encode_to_vec()).collect();
    if error != FOLLOWS && entries.iter().all(|entry| entry.seq == 0) {
        sqlx::query(REPLACE_SNAPSHOT)
            .bind(consumer)
            .bind(&tenants)
            .bind(&subjects)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(PARK)
        .bind(consumer)
        .bind(tenants)
        .bind(subjects)
        .bind(seqs)
        .bind(messages)
        .bind(error)
        .execute(connection)
        .await?;
    Ok(())
}

const PARKED: &str = "
    select s.tenant_id, s.subject from unnest($2::uuid[], $3::uuid[]) as s(tenant_id, subject)
    cross join lateral (
        select d.id from dead_letter d
        where d.consumer = $1 and d.tenant_id = s.tenant_id and d.subject = s.subject
        order by d.id limit 1 for share) first";

/// Which subjects of the entries are parked. Waits for a redrive of one of them.
pub(crate) async fn parked(
    connection: &mut PgConnection,
    consumer: &str,
    entries: &[Entry],
) -> Result<HashSet<Subject>, Error> {
    let mut asked: Vec<Subject> =
        entries.iter().map(|entry| (entry.tenant.uuid(), entry.subject)).collect();
    asked.sort_unstable();
    asked.dedup();
    let (tenants, subjects): (Vec<Uuid>, Vec<Uuid>) = asked.into_iter().unzip();
    let found: Vec<Subject> = sqlx::query_as(PARKED)
        .bind(consumer)
        .bind(tenants)
        .bind(subjects)
        .fetch_all(connection)
        .await?;
    Ok(found.into_iter().collect())
}

const COUNT: &str = "select count(*) from dead_letter where consumer = $1";

/// How many entries of a consumer are parked.
///
/// # Errors
/// [`Error::Database`].
pub async fn count(database: &Database, consumer: &str) -> Result<i64, Error> {
    let mut connection = database.acquire().await?;
    Ok(sqlx::query_scalar(COUNT).bind(consumer).fetch_one(&mut *connection).await?)
}

const SUBJECTS: &str = "
    select distinct tenant_id, subject from dead_letter
    where consumer = $1 and (tenant_id, subject) > ($2, $3) and ($4::uuid is null or tenant_id = $4)
    order by tenant_id, subject limit $5";

/// Applies the parked entries of a consumer, of all tenants or of one, in the order of each
/// subject. A subject whose entry fails again stays parked with one attempt more.
///
/// # Errors
/// [`HandleError::Transient`] when it could not go on; what was applied stays applied.
pub async fn redrive<H: Handler>(
    database: &Database,
    consumer: &str,
    tenant: Option<TenantId>,
    handler: &H,
) -> Result<Redriven, HandleError> {
    let mut done = Redriven::default();
    let mut after = (Uuid::nil(), Uuid::nil());
    loop {
        let subjects: Vec<Subject> = {
            let mut connection = database.acquire().await?;
            sqlx::query_as(SUBJECTS)
                .bind(consumer)
                .bind(after.0)
                .bind(after.1)
                .bind(tenant.map(TenantId::uuid))
                .bind(PAGE)
                .fetch_all(&mut *connection)
                .await?
        };
        let Some(last) = subjects.last() else { return Ok(done) };
        after = *last;
        for subject in subjects {
            redrive_subject(database, consumer, subject, handler, &mut done).await?;
        }
    }
}

async fn redrive_subject<H: Handler>(
    database: &Database,
    consumer: &str,
    subject: Subject,
    handler: &H,
    done: &mut Redriven,
) -> Result<(), HandleError> {
    loop {
        match redrive_first(database, consumer, subject, handler).await {
            Ok(true) => done.applied += 1,
            Ok(false) => return Ok(()),
            Err(HandleError::Poison(text)) => {
                note_failure(database, consumer, subject, &text).await?;
                done.parked_subjects += 1;
                return Ok(());
            }
            Err(transient) => return Err(transient),
        }
    }
}

const FIRST: &str = "
    select id, entry from dead_letter where consumer = $1 and tenant_id = $2 and subject = $3
    order by id limit 1 for update";

const DELETE: &str = "delete from dead_letter where id = $1";

/// Applies the first letter of a subject and deletes it; false when there is none.
async fn redrive_first<H: Handler>(
    database: &Database,
    consumer: &str,
    (tenant, subject): Subject,
    handler: &H,
) -> Result<bool, HandleError> {
    let mut connection = database.acquire().await?;
    let mut transaction = connection.begin().await?;
    let first: Option<(i64, Vec<u8>)> = sqlx::query_as(FIRST)
        .bind(consumer)
        .bind(tenant)
        .bind(subject)
        .fetch_optional(&mut *transaction)
        .await?;
    let Some((id, bytes)) = first else { return Ok(false) };
    let message = FeedEntry::decode(bytes.as_slice()).map_err(|_| Error::Malformed("entry"))?;
    let entry = Entry::from_message(message)?;
    // Before the handler: its own append is the last statement.
    sqlx::query(DELETE).bind(id).execute(&mut *transaction).await?;
    handler.handle(&mut transaction, std::slice::from_ref(&entry)).await?;
    transaction.commit().await?;
    handler.committed(&[entry]);
    Ok(true)
}

const NOTE_FAILURE: &str = "
    update dead_letter set attempts = attempts + 1, error = $4
    where id = (select min(id) from dead_letter
                where consumer = $1 and tenant_id = $2 and subject = $3)";

async fn note_failure(
    database: &Database,
    consumer: &str,
    (tenant, subject): Subject,
    error: &str,
) -> Result<(), HandleError> {
    let mut connection = database.acquire().await?;
    sqlx::query(NOTE_FAILURE)
        .bind(consumer)
        .bind(tenant)
        .bind(subject)
        .bind(error)
        .execute(&mut *connection)
        .await?;
    Ok(())
}
