//! Ledger entries: orders, tickets and points, beside the events that carried them.

use ::store::Error;
use aggregate::LedgerFact;
use kernel::Shard;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::fold::EvidenceKey;

/// A ledger row to be written, of an event that is new.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEntry<'a> {
    pub(crate) key: EvidenceKey,
    pub(crate) message_id: &'a str,
    pub(crate) kind: i16,
    pub(crate) entry_id: &'a str,
    pub(crate) occurred_us: i64,
    pub(crate) fact: LedgerFact,
}

const INSERT: &str = "insert into ledger_entry
    (tenant_id, shard, evidence_id, message_id, type, entry_id, occurred_us, amount_micros,
     currency, points)
    select t, s, e, m, k, i, o, a::numeric, c, p::numeric
    from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::text[], $5::smallint[], $6::text[],
        $7::bigint[], $8::text[], $9::text[], $10::text[]) u(t, s, e, m, k, i, o, a, c, p)";

/// Writes ledger entries.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    entries: &[NewEntry<'_>],
) -> Result<(), Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let amount = |entry: &NewEntry<'_>| match entry.fact {
        LedgerFact::OrderCompleted(amount) | LedgerFact::OrderRefunded(amount) => amount,
        _ => None,
    };
    let points = |entry: &NewEntry<'_>| match entry.fact {
        LedgerFact::PointsEarned(points) | LedgerFact::PointsSpent(points) => {
            Some(points.to_string())
        }
        _ => None,
    };
    let micros = |entry: &NewEntry<'_>| amount(entry).map(|amount| amount.micros.to_string());
    let currency =
        |entry: &NewEntry<'_>| amount(entry).map(|amount| amount.currency.as_str().to_owned());
    let shard = |entry: &NewEntry<'_>| Shard::of(entry.key.1.uuid()).number();
    sqlx::query(INSERT)
        .bind(entries.iter().map(|entry| entry.key.0.uuid()).collect::<Vec<Uuid>>())
        .bind(entries.iter().map(shard).collect::<Vec<i16>>())
        .bind(entries.iter().map(|entry| entry.key.1.uuid()).collect::<Vec<Uuid>>())
        .bind(entries.iter().map(|entry| entry.message_id).collect::<Vec<&str>>())
        .bind(entries.iter().map(|entry| entry.kind).collect::<Vec<i16>>())
        .bind(entries.iter().map(|entry| entry.entry_id).collect::<Vec<&str>>())
        .bind(entries.iter().map(|entry| entry.occurred_us).collect::<Vec<i64>>())
        .bind(entries.iter().map(micros).collect::<Vec<Option<String>>>())
        .bind(entries.iter().map(currency).collect::<Vec<Option<String>>>())
        .bind(entries.iter().map(points).collect::<Vec<Option<String>>>())
        .execute(connection)
        .await?;
    Ok(())
}
