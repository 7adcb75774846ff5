//! Request ids: a repeated mutation has one effect.
//!
//! [`begin`] (or [`begin_many`]) is the first statement of the transaction of the effect,
//! [`complete`] belongs to it too. A concurrent repeat waits at the primary key until the first
//! commits or rolls back (at most the lock time-out, then [`Error::Busy`]). Kept are a keyed
//! fingerprint of the body and result ids, never a body or a response. [`sweep`] forgets what is
//! older than a day.

use std::collections::{BTreeMap, HashMap, HashSet};

use kernel::{RequestId, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::blind;
use crate::database::Database;
use crate::error::Error;
use crate::keys::TenantLookup;

/// Request ids are remembered at least this long, in microseconds.
pub const REMEMBERED_US: i64 = 24 * 60 * 60 * 1_000_000;

/// Rows per statement of [`sweep`], so that no lock is held for long.
const CHUNK: i64 = 1_000;

/// In one order, so that two groups with the same calls wait for each other only one way.
const INSERT: &str = "insert into request_log
    (tenant_id, principal, method, request_id, fingerprint, created_us)
    select tenant_id, principal, method, request_id, fingerprint, created_us
    from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::bytea[], $6::bigint[])
        n(tenant_id, principal, method, request_id, fingerprint, created_us)
    order by tenant_id, principal, method, request_id
    on conflict do nothing returning tenant_id, principal, method, request_id";
const SELECT: &str = "select l.tenant_id, l.principal, l.method, l.request_id, l.fingerprint,
        l.result
    from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[])
        n(tenant_id, principal, method, request_id)
    join request_log l using (tenant_id, principal, method, request_id)";
const COMPLETE: &str = "update request_log set result = $5
    where tenant_id = $1 and principal = $2 and method = $3 and request_id = $4";
const SWEEP: &str = "delete from request_log where ctid = any(array(
    select ctid from request_log where created_us < $1 order by created_us limit $2
    for update skip locked))";

/// A mutation that its caller may repeat.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Whose.
    pub tenant: TenantId,
    /// The subject of the caller's token.
    pub principal: &'a str,
    /// The full name of the method.
    pub method: &'a str,
    /// Chosen by the caller.
    pub request_id: RequestId,
    /// [`fingerprint`] of the request.
    pub fingerprint: [u8; 32],
    /// The time of the call, in microseconds since 1970.
    pub now_us: i64,
}

/// Whether there is something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Carry it out, then [`complete`].
    Fresh,
    /// It was carried out: answer from these result ids.
    Replay(Vec<u8>),
}

/// The keyed hash of an encoded request, so that a guessable body cannot be confirmed from
/// the table.
#[must_use]
pub fn fingerprint(lookup: &TenantLookup, encoded_request: &[u8]) -> [u8; 32] {
    blind::mac(&lookup.fingerprint, "request", encoded_request)
}

/// Claims the request id in the caller's transaction.
///
/// # Errors
/// [`Error::RequestIdReused`] when it was used with another body.
pub async fn begin(connection: &mut PgConnection, call: &Call<'_>) -> Result<Begun, Error> {
    let begun = begin_many(connection, std::slice::from_ref(call)).await?.pop();
    begun.unwrap_or_else(|| Err(Error::internal("a call was not begun")))
}

/// [`begin`] for a group, in one statement where none is a repetition. A repetition within the
/// group replays the empty result: the first one is carried out, and answers for both.
///
/// # Errors
/// Of one call [`Error::RequestIdReused`]; of all, those of the database.
pub async fn begin_many(
    connection: &mut PgConnection,
    calls: &[Call<'_>],
) -> Result<Vec<Result<Begun, Error>>, Error> {
    let mut first: BTreeMap<Key, &Call<'_>> = BTreeMap::new();
    for call in calls {
        first.entry(call.key()).or_insert(call);
    }
    let mut fresh = insert(connection, first.values().copied()).await?;
    let repeated = first.values().copied().filter(|call| !fresh.contains(&call.key()));
    let mut known = select(connection, repeated).await?;
    for (key, call) in &first {
        // What was inserted here is known to whoever repeats it within the group.
        if fresh.contains(key) {
            known.insert(key.clone(), (call.fingerprint.to_vec(), Vec::new()));
        }
    }
    calls
        .iter()
        .map(|call| {
            let key = call.key();
            if fresh.remove(&key) {
                return Ok(Ok(Begun::Fresh));
            }
            match known.get(&key) {
                Some((fingerprint, result)) if *fingerprint == call.fingerprint => {
                    Ok(Ok(Begun::Replay(result.clone())))
                }
                Some(_) => Ok(Err(Error::RequestIdReused)),
                // Swept between the two statements: the repetition of the transaction will insert.
                None => Err(Error::Conflict(crate::Cause::new("the request log was swept"))),
            }
        })
        .collect()
}

/// What a request id is unique within, and itself.
type Key = (Uuid, String, String, Uuid);

impl Call<'_> {
    fn key(&self) -> Key {
        let (principal, method) = (self.principal.to_owned(), self.method.to_owned());
        (self.tenant.uuid(), principal, method, self.request_id.uuid())
    }
}

/// Answers those that were not there.
async fn insert<'a>(
    connection: &mut PgConnection,
    calls: impl Iterator<Item = &'a Call<'a>>,
) -> Result<HashSet<Key>, Error> {
    let calls: Vec<&Call<'_>> = calls.collect();
    if calls.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<Key> = sqlx::query_as(INSERT)
        .bind(calls.iter().map(|call| call.tenant.uuid()).collect::<Vec<_>>())
        .bind(calls.iter().map(|call| call.principal).collect::<Vec<_>>())
        .bind(calls.iter().map(|call| call.method).collect::<Vec<_>>())
        .bind(calls.iter().map(|call| call.request_id.uuid()).collect::<Vec<_>>())
        .bind(calls.iter().map(|call| call.fingerprint.as_slice()).collect::<Vec<_>>())
        .bind(calls.iter().map(|call| call.now_us).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().collect())
}

type Row = (Uuid, String, String, Uuid, Vec<u8>, Vec<u8>);

/// Fingerprints and results of those that are there.
async fn select<'a>(
    connection: &mut PgConnection,
    calls: impl Iterator<Item = &'a Call<'a>>,
) -> Result<HashMap<Key, (Vec<u8>, Vec<u8>)>, Error> {
    let calls: Vec<&Call<'_>> = calls.collect();
    if calls.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Row> = sqlx::query_as(SELECT)
        .bind(calls.iter().map(|call| call.tenant.uuid()).collect::<Vec<_>>())
        .bind(calls.iter().map(|call| call.principal).collect::<Vec<_>>())
        .bind(calls.iter().map(|call| call.method).collect::<Vec<_>>())
        .bind(calls.iter().map(|call| call.request_id.uuid()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let known = |(tenant, principal, method, id, fingerprint, result)| {
        ((tenant, principal, method, id), (fingerprint, result))
    };
    Ok(rows.into_iter().map(known).collect())
}

/// Keeps the result ids of a [`Begun::Fresh`] call, in the same transaction.
///
/// # Errors
/// [`Error::NotFound`] without a [`begin`] before it.
pub async fn complete(
    connection: &mut PgConnection,
    call: &Call<'_>,
    result: &[u8],
) -> Result<(), Error> {
    let updated = sqlx::query(COMPLETE)
        .bind(call.tenant.uuid())
        .bind(call.principal)
        .bind(call.method)
        .bind(call.request_id.uuid())
        .bind(result)
        .execute(connection)
        .await?;
    if updated.rows_affected() == 1 { Ok(()) } else { Err(Error::NotFound) }
}

/// Forgets calls older than [`REMEMBERED_US`], in small chunks; answers how many.
///
/// # Errors
/// Those of the database.
pub async fn sweep(database: &Database, now_us: i64) -> Result<u64, Error> {
    let mut swept = 0;
    loop {
        let deleted = sqlx::query(SWEEP)
            .bind(now_us.saturating_sub(REMEMBERED_US))
            .bind(CHUNK)
            .execute(database.pool())
            .await?
            .rows_affected();
        swept += deleted;
        if deleted < CHUNK as u64 {
            return Ok(swept);
        }
    }
}
