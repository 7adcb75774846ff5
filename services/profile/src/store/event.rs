//! Events: written once, read newest first.

use ::store::{Database, Error};
use kernel::{CustomerId, EvidenceId, Shard, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

/// A row to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEvent<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) evidence: EvidenceId,
    pub(crate) message_id: &'a str,
    pub(crate) kind: i16,
    pub(crate) occurred_us: i64,
    pub(crate) received_us: i64,
    pub(crate) sent_us: Option<i64>,
    pub(crate) payload: &'a [u8],
}

const INSERT: &str = "insert into event
    (tenant_id, shard, evidence_id, message_id, type, occurred_us, received_us, sent_us, payload)
    select * from unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::text[], $5::smallint[],
        $6::bigint[], $7::bigint[], $8::bigint[], $9::bytea[])
    on conflict do nothing returning tenant_id, evidence_id, message_id";

/// Inserts events that are sorted by (tenant, shard, evidence, message id) and differ in it;
/// says which were new.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    events: &[NewEvent<'_>],
) -> Result<Vec<bool>, Error> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let tenants: Vec<Uuid> = events.iter().map(|event| event.tenant.uuid()).collect();
    let shards: Vec<i16> =
        events.iter().map(|event| Shard::of(event.evidence.uuid()).number()).collect();
    let evidence: Vec<Uuid> = events.iter().map(|event| event.evidence.uuid()).collect();
    let message_ids: Vec<&str> = events.iter().map(|event| event.message_id).collect();
    let kinds: Vec<i16> = events.iter().map(|event| event.kind).collect();
    let occurred: Vec<i64> = events.iter().map(|event| event.occurred_us).collect();
    let received: Vec<i64> = events.iter().map(|event| event.received_us).collect();
    let sent: Vec<Option<i64>> = events.iter().map(|event| event.sent_us).collect();
    let payloads: Vec<&[u8]> = events.iter().map(|event| event.payload).collect();
    let inserted: Vec<(Uuid, Uuid, String)> = sqlx::query_as(INSERT)
        .bind(tenants)
        .bind(shards)
        .bind(evidence)
        .bind(message_ids)
        .bind(kinds)
        .bind(occurred)
        .bind(received)
        .bind(sent)
        .bind(payloads)
        .fetch_all(connection)
        .await?;
    // They come back in the order they went in.
    let mut inserted = inserted.iter().peekable();
    let is_new = |event: &NewEvent<'_>| {
        let found = inserted.next_if(|(tenant, evidence, message_id)| {
            message_id == event.message_id
                && *evidence == event.evidence.uuid()
                && *tenant == event.tenant.uuid()
        });
        found.is_some()
    };
    Ok(events.iter().map(is_new).collect())
}

/// Where a page of a timeline begins: after this event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) occurred_us: i64,
    pub(crate) evidence: EvidenceId,
    pub(crate) message_id: String,
}

/// A stored event, sealed.
#[derive(Debug)]
pub(crate) struct StoredEvent {
    pub(crate) place: Place,
    pub(crate) received_us: i64,
    pub(crate) payload: Vec<u8>,
    pub(crate) wrapped_key: Vec<u8>,
}

// The newest of each evidence by its index, the newest of those, and as many of their payloads
// as fit. (time, evidence, message id) < the place after which the page begins is, for one
// evidence, (time, message id) < a bound: the empty text is below every message id.
const TIMELINE: &str = "with newest as (
        select e.occurred_us, f.shard, f.evidence_id, e.message_id, f.wrapped_key
        from fragment f cross join lateral (
            select occurred_us, message_id from event
            where tenant_id = f.tenant_id and shard = f.shard and evidence_id = f.evidence_id
                and (occurred_us, message_id) < (
                    case when f.evidence_id < $4 then $3 + 1 else $3 end,
                    case when f.evidence_id = $4 then $5 else '' end)
            order by occurred_us desc, message_id desc limit $6 + 1) e
        where f.tenant_id = $1 and f.customer_id = $2 and f.version > 0
            and f.wrapped_key is not null
        order by e.occurred_us desc, f.evidence_id desc, e.message_id desc limit $6 + 1),
    measured as (
        select n.*, e.received_us, e.payload,
            row_number() over newest_first as place,
            sum(octet_length(e.payload)) over newest_first as bytes
        from newest n join event e on e.tenant_id = $1 and e.shard = n.shard
            and e.evidence_id = n.evidence_id and e.message_id = n.message_id
        window newest_first as
            (order by n.occurred_us desc, n.evidence_id desc, n.message_id desc))
    select occurred_us, evidence_id, message_id, received_us, payload, wrapped_key,
        (select count(*) from newest)
    from measured where place <= $6 and (place = 1 or bytes <= $7)
    order by place";

type TimelineRow = (i64, Uuid, String, i64, Vec<u8>, Vec<u8>, i64);

/// The newest events of a customer after `after`: at most `limit`, and at most `bytes` in all
/// unless the first alone has more. Says also whether there are more. O(k · limit) index
/// entries for k evidences.
pub(crate) async fn timeline(
    database: &Database,
    (tenant, customer): (TenantId, CustomerId),
    after: Option<&Place>,
    limit: usize,
    bytes: i64,
) -> Result<(Vec<StoredEvent>, bool), Error> {
    let rows: Vec<TimelineRow> = sqlx::query_as(TIMELINE)
        .bind(tenant.uuid())
        .bind(customer.uuid())
        .bind(after.map_or(i64::MAX - 1, |place| place.occurred_us))
        .bind(after.map_or(Uuid::max(), |place| place.evidence.uuid()))
        .bind(after.map_or("", |place| place.message_id.as_str()))
        .bind(limit as i64)
        .bind(bytes)
        .fetch_all(database.pool())
        .await?;
    let has_more = rows.first().is_some_and(|row| row.6 > rows.len() as i64);
    let event = |(occurred_us, evidence, message_id, received_us, payload, wrapped_key, _)| {
        let place = Place { occurred_us, evidence: EvidenceId::new(evidence), message_id };
        StoredEvent { place, received_us, payload, wrapped_key }
    };
    Ok((rows.into_iter().map(event).collect(), has_more))
}
