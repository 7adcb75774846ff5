//! Reading one profile: a customer with its fragments, in one statement and so of one instant.

use ::store::{Database, Error};
use futures::TryStreamExt as _;
use kernel::{CustomerId, EvidenceId, Shard, TenantId};
use sqlx::Row as _;
use uuid::Uuid;

/// A customer as stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) version: i64,
    /// The merged state, or that of the only fragment.
    pub(crate) behaviour: Vec<u8>,
    /// In key order; those with events.
    pub(crate) fragments: Vec<Part>,
}

/// What a fragment adds to a profile besides behaviour.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) evidence: EvidenceId,
    /// Sealed, and the wrapped key that opens it.
    pub(crate) personal: Option<(Vec<u8>, Vec<u8>)>,
}

const GET: &str = "select c.version, c.behaviour, f.evidence_id,
        case when c.behaviour is null then f.behaviour end, f.personal,
        case when f.personal is not null then f.wrapped_key end
    from customer c left join fragment f
        on f.tenant_id = c.tenant_id and f.customer_id = c.customer_id and f.version > 0
    where c.tenant_id = $1 and c.shard = $2 and c.customer_id = $3";

type Row = (i64, Option<Vec<u8>>, Option<Uuid>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

/// The customer, if it ever had an event.
pub(crate) async fn get(
    database: &Database,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<Option<Stored>, Error> {
    let rows: Vec<Row> = sqlx::query_as(GET)
        .bind(tenant.uuid())
        .bind(Shard::of(customer.uuid()).number())
        .bind(customer.uuid())
        .fetch_all(database.pool())
        .await?;
    let mut stored = None;
    for (version, merged, evidence, single, personal, wrapped_key) in rows {
        let stored = stored.get_or_insert_with(|| Stored {
            version,
            behaviour: merged.or(single).unwrap_or_default(),
            fragments: Vec::new(),
        });
        let Some(evidence) = evidence else { continue };
        let evidence = EvidenceId::new(evidence);
        stored.fragments.push(Part { evidence, personal: personal.zip(wrapped_key) });
    }
    // Here, not there: most customers have one or two.
    if let Some(stored) = &mut stored {
        stored.fragments.sort_unstable_by_key(|part| part.evidence);
    }
    Ok(stored)
}

/// As [`GET`] for some customers in order; what is personal only where it is wanted.
const PAGE: &str = "select c.customer_id, c.version, c.behaviour, f.evidence_id,
        case when c.behaviour is null then f.behaviour end,
        case when $4 then f.personal end,
        case when $4 and f.personal is not null then f.wrapped_key end
    from (select customer_id, version, behaviour from customer
        where tenant_id = $1 and customer_id > $2 and fragments > 0
        order by customer_id limit $3) c
    join fragment f on f.tenant_id = $1 and f.customer_id = c.customer_id and f.version > 0
    order by c.customer_id, f.evidence_id";

/// At most `limit` customers with events after an id, in the order of their ids.
pub(crate) async fn after(
    database: &Database,
    tenant: TenantId,
    after: Uuid,
    limit: usize,
    with_personal: bool,
) -> Result<Vec<(CustomerId, Stored)>, Error> {
    let mut rows = sqlx::query(PAGE)
        .bind(tenant.uuid())
        .bind(after)
        .bind(limit as i64)
        .bind(with_personal)
        .fetch(database.pool());
    let mut found: Vec<(CustomerId, Stored)> = Vec::with_capacity(limit);
    while let Some(row) = rows.try_next().await? {
        let customer = CustomerId::new(row.try_get(0)?);
        if found.last().is_none_or(|(last, _)| *last != customer) {
            let merged: Option<Vec<u8>> = row.try_get(2)?;
            let single: Option<Vec<u8>> = row.try_get(4)?;
            let behaviour = merged.or(single).unwrap_or_default();
            let version = row.try_get(1)?;
            found.push((customer, Stored { version, behaviour, fragments: Vec::new() }));
        }
        let (personal, key): (Option<Vec<u8>>, Option<Vec<u8>>) =
            (row.try_get(5)?, row.try_get(6)?);
        if let Some((_, stored)) = found.last_mut() {
            let evidence = EvidenceId::new(row.try_get(3)?);
            stored.fragments.push(Part { evidence, personal: personal.zip(key) });
        }
    }
    Ok(found)
}

impl Stored {
    /// The form that Redis keeps: what Postgres keeps, personal parts sealed.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.behaviour.len() + 64 * self.fragments.len() + 16);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.version.to_be_bytes());
        put(&mut bytes, &self.behaviour);
        for part in &self.fragments {
            bytes.extend_from_slice(part.evidence.as_bytes());
            let (personal, wrapped_key) = match &part.personal {
                Some((personal, wrapped_key)) => (&personal[..], &wrapped_key[..]),
                None => (&[][..], &[][..]),
            };
            put(&mut bytes, personal);
            put(&mut bytes, wrapped_key);
        }
        bytes
    }

    /// Reads [`Stored::to_bytes`]; nothing for anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&FORMAT, mut rest) = bytes.split_first()? else { return None };
        let version = i64::from_be_bytes(*take::<8>(&mut rest)?);
        let behaviour = get_bytes(&mut rest)?.to_vec();
        let mut fragments = Vec::new();
        while !rest.is_empty() {
            let evidence = EvidenceId::from_slice(take::<16>(&mut rest)?).ok()?;
            let personal = get_bytes(&mut rest)?;
            let wrapped_key = get_bytes(&mut rest)?;
            let has_any = !personal.is_empty();
            let personal = has_any.then(|| (personal.to_vec(), wrapped_key.to_vec()));
            fragments.push(Part { evidence, personal });
        }
        Some(Self { version, behaviour, fragments })
    }
}

/// Changes with the form.
const FORMAT: u8 = 1;

fn put(bytes: &mut Vec<u8>, value: &[u8]) {
    bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
    bytes.extend_from_slice(value);
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(first)
}

fn get_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_be_bytes(*take::<4>(rest)?) as usize;
    let (value, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cached_form_reads_back_and_garbage_is_nothing() {
        let part = |n, personal| Part { evidence: EvidenceId::new(Uuid::from_u128(n)), personal };
        let stored = Stored {
            version: 7,
            behaviour: vec![1, 2],
            fragments: vec![part(1, None), part(2, Some((vec![3], vec![4, 5])))],
        };
        let bytes = stored.to_bytes();
        assert_eq!(Stored::from_bytes(&bytes), Some(stored));
        assert_eq!(Stored::from_bytes(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Stored::from_bytes(b""), None);
        assert_eq!(Stored::from_bytes(b"\x02"), None);
    }
}
