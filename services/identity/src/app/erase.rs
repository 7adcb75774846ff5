//! Erasing a customer: its evidence is taken out of the graph, and who is left is resolved as if
//! it had never been there.
//!
//! One transaction under the tenant's lock: decisions, identifiers and keys are deleted, a
//! tombstone is put for each piece of evidence, the ledger is written, and the entries for the
//! other services are appended. They answer with receipts ([`feed::receipt`]).
//!
//! Who comes back is a new customer: the same identifiers, seen after the erasure, are taken up
//! as new evidence under the same evidence id (it is a hash of them), with map versions above
//! those of the tombstone. What was seen before the erasure and comes late is refused.
//!
//! A value that was shared only because of erased evidence links again, so that others may
//! become one customer: that is what the graph would have been.

use std::collections::{BTreeMap, BTreeSet};

use ::store::idempotency::{self, Begun, Call};
use ::store::page_token::Scope;
use feed::Entry;
use jiff::Timestamp;
use kernel::{CustomerId, EvidenceId, RequestId, TenantId};
use linkage::Rules;
use linkage::graph::{self, Companion, Evidence, Ledger, ValueKey};
use sqlx::PgConnection;
use uuid::Uuid;

use super::customer::Key;
use super::graph::{Start, close, store};
use super::place::next_id;
use super::{App, append, read};
use crate::Error;
use crate::domain::{ErasedPart, Receipt};
use crate::events;
use crate::store::evidence::Row;
use crate::store::{customer, decision, erasure, evidence, lock, tombstone, value};

/// How much evidence one entry of the feed names.
const PART: usize = 1_000;
/// How many carriers of a value are read at once.
const CARRIERS: i64 = 500;
const LIST: &str = "rapport.identity.v1.IdentityService/ListErasures";
const ABSENT: Error = Error::NotFound("customer");

/// The services that follow, in the order in which an erasure reaches them.
pub(crate) const FOLLOWERS: [&str; 4] = ["profile", "scoring", "routing", "feedback"];

/// Who asks for an erasure.
pub(crate) struct Petition<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) principal: &'a str,
    pub(crate) method: &'a str,
    /// The caller's id for it and the encoded request, if it may be repeated.
    pub(crate) request: Option<(RequestId, Vec<u8>)>,
    pub(crate) traceparent: Option<String>,
}

/// An erasure as it is known here; without parts' ids if it was only asked.
#[derive(Debug, Clone)]
pub(crate) struct ErasureView {
    pub(crate) id: Option<Uuid>,
    pub(crate) customer: CustomerId,
    pub(crate) merged: Vec<CustomerId>,
    pub(crate) evidence_count: usize,
    pub(crate) erased_us: i64,
    /// Of the followers, in their order: when each has committed all of it.
    pub(crate) done_us: Vec<(&'static str, Option<i64>)>,
}

/// Some erasures of a tenant.
pub(crate) struct ErasurePage {
    pub(crate) erasures: Vec<ErasureView>,
    /// Empty on the last page.
    pub(crate) next_page_token: String,
}

impl App {
    /// Says what an erasure would take.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn would_erase(
        &self,
        tenant: TenantId,
        key: &Key,
    ) -> Result<ErasureView, Error> {
        let view = self.customer(tenant, key).await?;
        Ok(ErasureView {
            id: None,
            customer: view.id,
            evidence_count: view.evidence.len(),
            merged: view.merged,
            erased_us: 0,
            done_us: Vec::new(),
        })
    }

    /// Erases the customer with this id or identifier; an id that is erased already answers its
    /// erasure.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for an identifier that identifies nobody.
    pub(crate) async fn erase(
        &self,
        petition: &Petition<'_>,
        key: &Key,
    ) -> Result<ErasureView, Error> {
        let tenant = petition.tenant;
        let rules = self.rules.get(tenant).await?;
        let lookup = self.lookup.tenant(tenant)?;
        let key = match key {
            Key::Id(id) => Ok(*id),
            Key::Identifier(namespace, raw) => Err(self.value_key(tenant, namespace, raw).await?),
        };
        let call = petition.request.as_ref().map(|(request_id, encoded)| Call {
            tenant,
            principal: petition.principal,
            method: petition.method,
            request_id: *request_id,
            fingerprint: idempotency::fingerprint(&lookup, encoded),
            now_us: Timestamp::now().as_microsecond(),
        });
        let view = ::store::transaction!(&self.database, async |connection| {
            if let Some(call) = &call
                && let Begun::Replay(id) = idempotency::begin(connection, call).await?
            {
                let id = Uuid::from_slice(&id).map_err(|_| damaged())?;
                return view(connection, tenant, id).await;
            }
            lock::tenant(connection, tenant).await?;
            let (id, entries) = match found(connection, tenant, &key).await? {
                Found::Erased(id) => (id, Vec::new()),
                Found::Customer(customer) => erase(connection, (tenant, customer), &rules).await?,
            };
            if let Some(call) = &call {
                idempotency::complete(connection, call, id.as_bytes()).await?;
            }
            let view = view(connection, tenant, id).await?;
            let traced = |entry: Entry| entry.traced(petition.traceparent.clone());
            let entries: Vec<Entry> = entries.into_iter().map(traced).collect();
            append(connection, &entries).await?;
            Ok::<_, Error>(view)
        })?;
        self.tail.wake();
        Ok(view)
    }

    /// An erasure and how far it is.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn erasure(&self, tenant: TenantId, id: Uuid) -> Result<ErasureView, Error> {
        read::snapshot!(&self.database, async |connection| view(connection, tenant, id).await)
    }

    /// A page of the tenant's erasures, oldest first.
    ///
    /// # Errors
    /// A page token of something else.
    pub(crate) async fn erasures(
        &self,
        tenant: TenantId,
        (size, page_token): (usize, &str),
    ) -> Result<ErasurePage, Error> {
        let scope = Scope { tenant, method: LIST, filter: &[] };
        let position = self.tokens.page(&scope, page_token)?;
        let after = position.and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)));
        let limit = i64::try_from(size).unwrap_or(i64::MAX).saturating_add(1);
        read::snapshot!(&self.database, async |connection| {
            let after = after.unwrap_or_default();
            let mut ids = erasure::ids(connection, tenant, after, limit).await?;
            let is_last = ids.len() <= size;
            ids.truncate(size);
            let next_page_token = match ids.last() {
                Some((seq, _)) if !is_last => self.tokens.seal(&scope, &seq.to_be_bytes())?,
                _ => String::new(),
            };
            let mut erasures = Vec::with_capacity(ids.len());
            for (_, id) in ids {
                erasures.push(view(connection, tenant, id).await?);
            }
            Ok(ErasurePage { erasures, next_page_token })
        })
    }
}

fn damaged() -> Error {
    ::store::Error::internal("the stored result of an erasure does not decode").into()
}

enum Found {
    Customer(CustomerId),
    /// It was erased before, by this erasure.
    Erased(Uuid),
}

async fn found(
    connection: &mut PgConnection,
    tenant: TenantId,
    key: &Result<CustomerId, ValueKey>,
) -> Result<Found, Error> {
    let id = match key {
        Err(value) => {
            let holder = value::customer_of(connection, tenant, value).await?;
            return holder.map(Found::Customer).ok_or(ABSENT);
        }
        Ok(id) => *id,
    };
    if let Some(lead) = customer::lead(connection, tenant, id).await? {
        return Ok(Found::Customer(lead.customer));
    }
    let erased = erasure::of_customer(connection, tenant, id).await?;
    erased.map(Found::Erased).ok_or(ABSENT)
}

async fn view(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Uuid,
) -> Result<ErasureView, Error> {
    let parts = erasure::parts(connection, tenant, id).await?;
    let Some(first) = parts.first() else { return Err(Error::NotFound("erasure")) };
    let ids: Vec<Uuid> = parts.iter().map(|part| part.part).collect();
    let receipts = erasure::receipts(connection, tenant, &ids).await?;
    let done = |service: &'static str| {
        let is_done = |it: &&Receipt| it.service == service && it.parts == ids.len() as i64;
        (service, receipts.iter().find(is_done).map(|receipt| receipt.done_us))
    };
    let customers = parts.iter().flat_map(|part| &part.customers).copied();
    Ok(ErasureView {
        id: Some(id),
        customer: first.customer,
        merged: customers.filter(|id| *id != first.customer).collect(),
        evidence_count: parts.iter().map(|part| part.evidence.len()).sum(),
        erased_us: first.erased_us,
        done_us: FOLLOWERS.into_iter().map(done).collect(),
    })
}

/// Erases a customer, under the tenant's lock; the id of the erasure, and what to append.
async fn erase(
    connection: &mut PgConnection,
    (tenant, customer): (TenantId, CustomerId),
    rules: &Rules,
) -> Result<(Uuid, Vec<Entry>), Error> {
    let rows = evidence::of_customers(connection, tenant, [customer]).await?;
    // Under the lock: whatever is placed already was seen before.
    let erased_us = Timestamp::now().as_microsecond();
    let id = Uuid::now_v7();
    let mut parts = Vec::with_capacity(rows.len() / PART + 1);
    for (number, rows) in rows.chunks(PART).enumerate() {
        parts.push(ErasedPart {
            tenant,
            part: if number == 0 { id } else { Uuid::now_v7() },
            erasure: id,
            customer,
            customers: gone_with(customer, rows),
            evidence: rows.iter().map(|row| (row.placed.evidence.id, row.map_version)).collect(),
            erased_us,
        });
    }
    let entries = carry_out(connection, tenant, &parts, rules).await?;
    Ok((id, entries))
}

/// The ids that are gone with some evidence of a customer: its own, whichever part it is.
fn gone_with(customer: CustomerId, rows: &[Row]) -> Vec<CustomerId> {
    let founded = rows.iter().filter_map(|row| row.placed.founded);
    std::iter::once(customer).chain(founded.filter(|id| *id != customer)).collect()
}

/// Takes the evidence of parts out, wherever it is, and writes them into the ledger; what to
/// append. Under the tenant's lock.
pub(super) async fn carry_out(
    connection: &mut PgConnection,
    tenant: TenantId,
    parts: &[ErasedPart],
    rules: &Rules,
) -> Result<Vec<Entry>, Error> {
    let Some(erased_us) = parts.iter().map(|part| part.erased_us).max() else {
        return Ok(Vec::new());
    };
    let mut versions: BTreeMap<EvidenceId, i64> = BTreeMap::new();
    for (id, version) in parts.iter().flat_map(|part| &part.evidence) {
        versions.insert(*id, *version);
    }
    let ids: Vec<EvidenceId> = versions.keys().copied().collect();
    let rows = evidence::by_id(connection, tenant, &ids).await?;
    for row in &rows {
        // Of a ledger that is carried out again, the row may have gone further.
        let version = versions.entry(row.placed.evidence.id).or_default();
        *version = row.map_version.max(*version);
    }
    decision::forget(connection, tenant, &ids).await?;
    tombstone::remove(connection, tenant, &rows).await?;
    tombstone::put(connection, tenant, &versions, erased_us).await?;
    let mut entries = again(connection, tenant, &rows, rules).await?;
    for part in parts {
        erasure::insert(connection, part).await?;
        entries.push(events::customer_erased(part));
    }
    Ok(entries)
}

/// Resolves who is left again, now that the rows are gone.
async fn again(
    connection: &mut PgConnection,
    tenant: TenantId,
    gone: &[Row],
    rules: &Rules,
) -> Result<Vec<Entry>, Error> {
    let mut customers: BTreeSet<CustomerId> = gone.iter().map(|row| row.placed.customer).collect();
    let unshared = recount(connection, tenant, gone, rules).await?;
    value::unshare(connection, tenant, &unshared).await?;
    customers.extend(value::holders(connection, tenant, &unshared).await?);
    let mut ledger = Ledger::default();
    let start = Start { customers, ..Start::default() };
    let near = close(connection, tenant, start, &mut ledger).await?;
    if near.hood.placed.is_empty() {
        return Ok(Vec::new());
    }
    let plan = graph::plan(&near.hood, |key| ledger.is_shared(key), &near.decisions, next_id);
    let nothing_new = (&BTreeMap::new(), Timestamp::now().as_microsecond());
    Ok(store(connection, tenant, &plan, &near.hood, nothing_new).await?.entries)
}

/// Counts anew with what the values of the rows were seen; those that were shared because of
/// the rows, and are no more.
async fn recount(
    connection: &mut PgConnection,
    tenant: TenantId,
    gone: &[Row],
    rules: &Rules,
) -> Result<BTreeSet<ValueKey>, Error> {
    let values = gone.iter().flat_map(|row| &row.placed.evidence.values);
    let values: BTreeSet<ValueKey> = values.map(|value| value.key).collect();
    let shared: BTreeSet<ValueKey> =
        value::shared(connection, tenant, &values).await?.into_iter().collect();
    let (mut alone, mut unshared) = (BTreeSet::new(), BTreeSet::new());
    let mut companions: Vec<Companion> = Vec::new();
    for value in &values {
        let mut ledger = Ledger::default();
        if !observe_carriers(connection, tenant, (value, rules), &mut ledger).await? {
            alone.insert(*value);
            continue;
        }
        companions.extend(ledger.added().iter().filter(|row| row.value == *value).cloned());
        // One that older rules made shared stays it: only what the rows brought about goes.
        if shared.contains(value) && !ledger.is_shared(value) {
            for row in gone.iter().filter(|row| carries(&row.placed.evidence, value)) {
                ledger.observe(&row.placed.evidence.values, rules);
            }
            if ledger.is_shared(value) {
                unshared.insert(*value);
            }
        }
    }
    value::forget(connection, tenant, &values, &alone).await?;
    value::accompany(connection, tenant, &companions).await?;
    Ok(unshared)
}

fn carries(evidence: &Evidence, key: &ValueKey) -> bool {
    evidence.values.iter().any(|value| value.key == *key)
}

/// Observes the evidence that carries a value, until the value is shared; false if none does.
async fn observe_carriers(
    connection: &mut PgConnection,
    tenant: TenantId,
    (value, rules): (&ValueKey, &Rules),
    ledger: &mut Ledger,
) -> Result<bool, Error> {
    let mut after = EvidenceId::new(Uuid::nil());
    let mut is_carried = false;
    loop {
        let page = value::carriers(connection, tenant, value, after, CARRIERS).await?;
        let Some(last) = page.last() else { return Ok(is_carried) };
        is_carried = true;
        after = last.id;
        for evidence in &page {
            ledger.observe(&evidence.values, rules);
        }
        if ledger.is_shared(value) || (page.len() as i64) < CARRIERS {
            return Ok(true);
        }
    }
}
