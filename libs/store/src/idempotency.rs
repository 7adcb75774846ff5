//! Request ids: a repeated mutation has one effect.
//!
//! [`begin`] is the first statement of the transaction of the effect, [`complete`] belongs to
//! it too. A concurrent repeat waits at the primary key until the first commits or rolls back
//! (at most the lock time-out, then [`Error::Busy`]). Kept are a keyed fingerprint of the body
//! and result ids, never a body or a response. [`sweep`] forgets what is older than a day.

use kernel::{RequestId, TenantId};
use sqlx::PgConnection;

use crate::blind;
use crate::database::Database;
use crate::error::Error;
use crate::keys::TenantLookup;

/// Request ids are remembered at least this long, in microseconds.
pub const REMEMBERED_US: i64 = 24 * 60 * 60 * 1_000_000;

/// Rows per statement of [`sweep`], so that no lock is held for long.
const CHUNK: i64 = 1_000;

const INSERT: &str = "insert into request_log
    (tenant_id, principal, method, request_id, fingerprint, created_us)
    values ($1, $2, $3, $4, $5, $6) on conflict do nothing";
const SELECT: &str = "select fingerprint, result from request_log
    where tenant_id = $1 and principal = $2 and method = $3 and request_id = $4";
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
    let inserted = sqlx::query(INSERT)
        .bind(call.tenant.uuid())
        .bind(call.principal)
        .bind(call.method)
        .bind(call.request_id.uuid())
        .bind(call.fingerprint.as_slice())
        .bind(call.now_us)
        .execute(&mut *connection)
        .await?;
    if inserted.rows_affected() == 1 {
        return Ok(Begun::Fresh);
    }
    let stored: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as(SELECT)
        .bind(call.tenant.uuid())
        .bind(call.principal)
        .bind(call.method)
        .bind(call.request_id.uuid())
        .fetch_optional(connection)
        .await?;
    match stored {
        Some((fingerprint, result)) if fingerprint == call.fingerprint => Ok(Begun::Replay(result)),
        Some(_) => Err(Error::RequestIdReused),
        // Swept between the two statements: the repetition of the transaction will insert.
        None => Err(Error::Conflict(crate::Cause::new("the request log was swept"))),
    }
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
