//! The part of a tenant's graph that a change can reach: loading it, and storing what a plan
//! makes of it. Under the tenant's lock, except for reading (explain).

use std::collections::{BTreeMap, BTreeSet};

use ::store::Error;
use feed::Entry;
use kernel::{CustomerId, DecisionId, EvidenceId, TenantId};
use linkage::graph::{
    Decisions, Evidence, Founding, Ledger, Link, Neighbourhood, Plan, Separation, ValueKey,
};
use sqlx::PgConnection;

use crate::domain::Arrival;
use crate::events;
use crate::store::{customer, decision, evidence, value};

/// What a change adds to and takes from the decisions in force.
#[derive(Default)]
pub(super) struct Amendment {
    pub(super) links: Vec<Link>,
    pub(super) separations: Vec<Separation>,
    pub(super) retracted: Vec<DecisionId>,
}

impl Amendment {
    fn applied_to(&self, before: &Decisions) -> Decisions {
        let mut after = before.clone();
        after.links.retain(|link| !self.retracted.contains(&link.id));
        after.separations.retain(|split| !self.retracted.contains(&split.id));
        after.links.extend(self.links.iter().cloned());
        after.separations.extend(self.separations.iter().cloned());
        after
    }
}

/// From where a neighbourhood is closed.
#[derive(Default)]
pub(super) struct Start {
    /// Customers that belong to it.
    pub(super) customers: BTreeSet<CustomerId>,
    /// New evidence.
    pub(super) arriving: Vec<Evidence>,
    /// Values whose customers are all among `customers`.
    pub(super) asked: BTreeSet<ValueKey>,
    /// What the change does to the decisions.
    pub(super) amendment: Amendment,
}

/// A closed neighbourhood and the decisions about it.
pub(super) struct Near {
    pub(super) hood: Neighbourhood,
    /// With the amendment.
    pub(super) decisions: Decisions,
}

/// Loads customers and decisions until nothing outside can matter. `ledger` learns which of
/// their values are shared.
pub(super) async fn close(
    connection: &mut PgConnection,
    tenant: TenantId,
    start: Start,
    ledger: &mut Ledger,
) -> Result<Near, Error> {
    let Start { mut customers, arriving, mut asked, amendment } = start;
    let mut hood = Neighbourhood { placed: Vec::new(), arriving };
    let mut loaded: BTreeSet<CustomerId> = BTreeSet::new();
    loop {
        let missing: Vec<CustomerId> = customers.difference(&loaded).copied().collect();
        let rows = evidence::of_customers(connection, tenant, missing.iter().copied()).await?;
        let values = rows.iter().flat_map(|row| &row.placed.evidence.values);
        let values: BTreeSet<ValueKey> = values.map(|value| value.key).collect();
        ledger.mark_shared(value::shared(connection, tenant, &values).await?);
        loaded.extend(missing);
        hood.placed.extend(rows.into_iter().map(|row| row.placed));

        let ids = hood.placed.iter().map(|placed| placed.evidence.id);
        let before = decision::about(connection, tenant, ids).await?;
        let after = amendment.applied_to(&before);
        let was_shared = |key: &ValueKey| ledger.was_shared(key);
        let mut frontier = hood.frontier(was_shared, &before);
        let frontier_after = hood.frontier(was_shared, &after);
        frontier.values.extend(frontier_after.values);
        frontier.evidence.extend(frontier_after.evidence);

        let unasked: BTreeSet<ValueKey> = frontier.values.difference(&asked).copied().collect();
        customers.extend(value::holders(connection, tenant, &unasked).await?);
        asked.extend(unasked);
        let ends: Vec<EvidenceId> = frontier.evidence.into_iter().collect();
        let ends = evidence::mappings(connection, tenant, &ends).await?;
        customers.extend(ends.into_iter().map(|mapping| mapping.customer));
        if customers.is_subset(&loaded) {
            return Ok(Near { hood, decisions: after });
        }
    }
}

/// What a stored plan changed for others.
pub(super) struct Stored {
    /// Map versions of the evidence that moved.
    pub(super) versions: BTreeMap<EvidenceId, i64>,
    /// To be appended to the feed: moves by evidence, then redirects by customer.
    pub(super) entries: Vec<Entry>,
}

/// Stores a plan. `arrivals` have new evidence with its first map version.
pub(super) async fn store(
    connection: &mut PgConnection,
    tenant: TenantId,
    plan: &Plan,
    hood: &Neighbourhood,
    (arrivals, now_us): (&BTreeMap<EvidenceId, (&Arrival, i64)>, i64),
) -> Result<Stored, Error> {
    let founders: BTreeSet<EvidenceId> =
        plan.foundings.iter().map(|founding| founding.evidence).collect();
    let mut new = Vec::with_capacity(plan.placements.len());
    for placement in &plan.placements {
        let Some((arrival, version)) = arrivals.get(&placement.evidence) else { continue };
        new.push(evidence::New {
            evidence: &arrival.evidence,
            sealed: &arrival.sealed,
            customer: placement.customer,
            founds: founders.contains(&placement.evidence),
            now_us: arrival.now_us,
            map_version: *version,
        });
    }
    if !new.is_empty() {
        evidence::insert(connection, tenant, &new).await?;
    }
    let late: Vec<Founding> = plan
        .foundings
        .iter()
        .filter(|founding| !arrivals.contains_key(&founding.evidence))
        .copied()
        .collect();
    evidence::found(connection, tenant, &late).await?;
    customer::create(connection, tenant, &plan.foundings, now_us).await?;
    let versions = evidence::relocate(connection, tenant, &plan.moves).await?;

    let founded: BTreeMap<EvidenceId, CustomerId> = hood
        .placed
        .iter()
        .filter_map(|placed| placed.founded.map(|id| (placed.evidence.id, id)))
        .collect();
    let moved_founders = plan
        .moves
        .iter()
        .filter_map(|step| founded.get(&step.evidence).map(|customer| (*customer, step.to)));
    let leads: BTreeMap<CustomerId, CustomerId> = moved_founders.collect();
    let redirects = customer::redirect(connection, tenant, leads.keys().copied()).await?;

    let mut entries = Vec::with_capacity(plan.moves.len() + leads.len());
    for step in &plan.moves {
        let version = *versions.get(&step.evidence).ok_or_else(lost)?;
        entries.push(events::evidence_moved(tenant, step.evidence, (step.from, step.to), version));
    }
    for (customer, into) in leads {
        let version = *redirects.get(&customer).ok_or_else(lost)?;
        entries.push(events::customer_redirected(tenant, customer, into, version));
    }
    Ok(Stored { versions, entries })
}

fn lost() -> Error {
    Error::internal("a row that was read under the lock is gone")
}
