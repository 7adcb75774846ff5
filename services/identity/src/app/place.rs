//! Giving new evidence its customer: group commit under the locks of the tenants.
//!
//! Several new sets of one batch may touch each other: they are decided together, so that the
//! outcome is that of one after the other, in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::store::{Database, Error};
use feed::{Entry, Tail};
use kernel::{CustomerId, EvidenceId, TenantId};
use linkage::graph::{self, Evidence, Ledger, Plan, ValueKey};
use sqlx::PgConnection;
use uuid::Uuid;

use super::graph::{Amendment, Start, close, store};
use crate::domain::{Arrival, Mapping, Origin, Tombstone, credit, triage};
use crate::store::{decision, evidence, lock, tombstone, value};

/// New evidence of one call.
pub(crate) struct Work {
    /// Whose.
    pub(crate) tenant: TenantId,
    /// In the order of the call, each once.
    pub(crate) arrivals: Vec<Arrival>,
}

/// Where evidence belongs, and what its arrival brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) mapping: Mapping,
    pub(crate) origin: Origin,
}

/// What became of an arrival: its place, or the time at which its customer was erased, if it was
/// not seen after that.
pub(crate) type Placing = Result<Answer, i64>;

/// Writes a batch in one transaction; answers one list per call, in the order of its arrivals.
pub(crate) async fn write(
    database: Database,
    tail: Tail,
    batch: Vec<Arc<Work>>,
) -> Result<Vec<Vec<Placing>>, Error> {
    let mut tenants: Vec<TenantId> = batch.iter().map(|work| work.tenant).collect();
    tenants.sort_unstable_by_key(|tenant| (lock::number(*tenant), *tenant));
    tenants.dedup();
    let (answers, told) = ::store::transaction!(&database, async |connection| {
        let mut answers: BTreeMap<(TenantId, EvidenceId), Placing> = BTreeMap::new();
        let mut entries: Vec<Entry> = Vec::new();
        for tenant in &tenants {
            lock::tenant(connection, *tenant).await?;
        }
        for tenant in &tenants {
            let own = batch.iter().filter(|work| work.tenant == *tenant);
            let mut arrivals: Vec<&Arrival> = own.flat_map(|work| &work.arrivals).collect();
            let mut seen_us: BTreeMap<EvidenceId, i64> = BTreeMap::new();
            for arrival in &arrivals {
                let latest = seen_us.entry(arrival.evidence.id).or_insert(arrival.event_us);
                *latest = arrival.event_us.max(*latest);
            }
            let mut seen = BTreeSet::new();
            arrivals.retain(|arrival| seen.insert(arrival.evidence.id));
            let (placed, told) = place(connection, *tenant, &arrivals, &seen_us).await?;
            answers.extend(placed.into_iter().map(|(id, answer)| ((*tenant, id), answer)));
            entries.extend(told);
        }
        super::append(connection, &entries).await?;
        Ok::<_, Error>((answers, !entries.is_empty()))
    })?;
    if told {
        tail.wake();
    }
    hand_out(&batch, answers)
}

/// The first call that brought an evidence gets its origin, the others its customer only.
fn hand_out(
    batch: &[Arc<Work>],
    mut answers: BTreeMap<(TenantId, EvidenceId), Placing>,
) -> Result<Vec<Vec<Placing>>, Error> {
    let mut all = Vec::with_capacity(batch.len());
    for work in batch {
        let mut own = Vec::with_capacity(work.arrivals.len());
        for arrival in &work.arrivals {
            let answer = answers
                .get_mut(&(work.tenant, arrival.evidence.id))
                .ok_or_else(|| Error::internal("an arrival was not placed"))?;
            own.push(match answer {
                Ok(answer) => {
                    let origin = std::mem::take(&mut answer.origin);
                    Ok(Answer { mapping: answer.mapping, origin })
                }
                Err(erased_us) => Err(*erased_us),
            });
        }
        all.push(own);
    }
    Ok(all)
}

type Placed = (BTreeMap<EvidenceId, Placing>, Vec<Entry>);

/// Places the different new evidence of one tenant, under its lock.
async fn place(
    connection: &mut PgConnection,
    tenant: TenantId,
    arrivals: &[&Arrival],
    seen_us: &BTreeMap<EvidenceId, i64>,
) -> Result<Placed, Error> {
    let ids: Vec<EvidenceId> = arrivals.iter().map(|arrival| arrival.evidence.id).collect();
    let mut answers: BTreeMap<EvidenceId, Placing> = BTreeMap::new();
    // Another batch may have brought it while this one waited for the lock.
    for mapping in evidence::mappings(connection, tenant, &ids).await? {
        answers.insert(mapping.evidence, Ok(Answer { mapping, origin: Origin::default() }));
    }
    let erased = tombstone::find(connection, tenant, &ids).await?;
    for (id, Tombstone { erased_us, .. }) in &erased {
        let is_late = seen_us.get(id).is_some_and(|seen_us| seen_us <= erased_us);
        if is_late && !answers.contains_key(id) {
            answers.insert(*id, Err(*erased_us));
        }
    }
    let new: Vec<&Arrival> = arrivals
        .iter()
        .filter(|arrival| !answers.contains_key(&arrival.evidence.id))
        .copied()
        .collect();
    let (Some(last), false) = (new.last(), new.is_empty()) else {
        return Ok((answers, Vec::new()));
    };
    let evidences: Vec<&Evidence> = new.iter().map(|arrival| &arrival.evidence).collect();
    let mut ledger = observe(connection, tenant, &new).await?;
    let turned: BTreeSet<ValueKey> = ledger.turned().iter().copied().collect();
    let (plan, hood) = plan(connection, tenant, &evidences, &mut ledger, &turned).await?;

    let by_id: BTreeMap<EvidenceId, (&Arrival, i64)> = new
        .iter()
        .map(|arrival| {
            let id = arrival.evidence.id;
            let version = erased.get(&id).map_or(1, |tombstone| tombstone.map_version + 1);
            (id, (*arrival, version))
        })
        .collect();
    value::insert(connection, tenant, &evidences, &turned).await?;
    value::accompany(connection, tenant, ledger.added()).await?;
    let stored = store(connection, tenant, &plan, &hood, (&by_id, last.now_us)).await?;

    let customers: BTreeMap<EvidenceId, CustomerId> =
        plan.placements.iter().map(|placement| (placement.evidence, placement.customer)).collect();
    let placed: Vec<(&Evidence, CustomerId)> = evidences
        .iter()
        .filter_map(|evidence| customers.get(&evidence.id).map(|customer| (*evidence, *customer)))
        .collect();
    let mut merged = credit(&placed, &hood.placed, &plan.merges);
    for (evidence, customer) in placed {
        let created = plan.foundings.iter().any(|founding| founding.evidence == evidence.id);
        let merged = merged.remove(&evidence.id).unwrap_or_default();
        let tombstone = erased.get(&evidence.id);
        let map_version = tombstone.map_or(1, |tombstone| tombstone.map_version + 1);
        let erased_us = tombstone.map(|tombstone| tombstone.erased_us);
        let mapping = Mapping { evidence: evidence.id, customer, map_version, erased_us };
        answers.insert(evidence.id, Ok(Answer { mapping, origin: Origin { created, merged } }));
    }
    // Known evidence of this batch may have moved because of new evidence of this batch.
    for step in &plan.moves {
        if let (Some(Ok(answer)), Some(version)) =
            (answers.get_mut(&step.evidence), stored.versions.get(&step.evidence))
        {
            answer.mapping.customer = step.to;
            answer.mapping.map_version = *version;
        }
    }
    let trace = last.traceparent.clone();
    let told = stored.entries.into_iter().map(|entry| entry.traced(trace.clone())).collect();
    Ok((answers, told))
}

/// The bookkeeping of shared values with the new evidence in it.
async fn observe(
    connection: &mut PgConnection,
    tenant: TenantId,
    new: &[&Arrival],
) -> Result<Ledger, Error> {
    let values = new.iter().flat_map(|arrival| &arrival.evidence.values);
    let values: BTreeSet<ValueKey> = values.map(|value| value.key).collect();
    let shared = value::shared(connection, tenant, &values).await?;
    let open: BTreeSet<ValueKey> = values.into_iter().filter(|key| !shared.contains(key)).collect();
    let companions = value::companions(connection, tenant, &open).await?;
    let mut ledger = Ledger::new(companions, shared);
    for arrival in new {
        ledger.observe(&arrival.evidence.values, &arrival.rules);
    }
    Ok(ledger)
}

/// Plans new evidence: what only joins one customer without the graph, the rest with its
/// neighbourhood.
async fn plan(
    connection: &mut PgConnection,
    tenant: TenantId,
    new: &[&Evidence],
    ledger: &mut Ledger,
    turned: &BTreeSet<ValueKey>,
) -> Result<(Plan, graph::Neighbourhood), Error> {
    let values = new.iter().flat_map(|evidence| &evidence.values).map(|value| value.key);
    let linking: BTreeSet<ValueKey> = values.filter(|key| !ledger.was_shared(key)).collect();
    let touched = value::holder(connection, tenant, &linking).await?;
    let customers: BTreeSet<CustomerId> = touched.values().copied().collect();
    let divided = decision::divided(connection, tenant, &customers).await?;
    let triage = triage(new, |key| ledger.was_shared(key), turned, &touched, &divided);

    let values = triage.open.iter().flat_map(|evidence| &evidence.values);
    let customers = values.filter_map(|value| touched.get(&value.key)).copied().collect();
    // Whoever holds a value that no divided customer holds, holds all of it.
    let asked = linking
        .into_iter()
        .filter(|key| touched.get(key).is_none_or(|customer| !divided.contains(customer)))
        .collect();
    let start = Start { customers, arriving: triage.open, asked, amendment: Amendment::default() };
    let near = close(connection, tenant, start, ledger).await?;
    let is_shared = |key: &ValueKey| ledger.is_shared(key);
    let mut plan = graph::plan(&near.hood, is_shared, &near.decisions, next_id);
    plan.placements.extend(triage.attached);
    Ok((plan, near.hood))
}

/// Ids order by age as well as the clocks of the replicas agree.
pub(super) fn next_id() -> CustomerId {
    CustomerId::new(Uuid::now_v7())
}
