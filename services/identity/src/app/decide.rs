//! What people decide: these two are one customer, this evidence is somebody else's.
//!
//! A decision is stored with what it retracts, and the neighbourhood that it reaches is planned
//! afresh, all in one transaction under the tenant's lock. So a merge that is undone by a split
//! leaves customers, ids and map as they would have been.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ::store::idempotency::{self, Begun, Call};
use kernel::{CustomerId, DecisionId, EvidenceId, RequestId, TenantId};
use linkage::graph::{self, Ledger, Link, Plan, Separation};
use sqlx::PgConnection;
use uuid::Uuid;

use super::customer::current;
use super::graph::{Amendment, Near, Start, close, store};
use super::place::next_id;
use super::seal::{What, seal};
use super::{App, append};
use crate::Error;
use crate::domain::{self, Sealed};
use crate::store::decision::{self, Kind};
use crate::store::{customer, evidence, lock};

/// Who asks for a decision, and when.
pub(crate) struct Demand<'a> {
    pub(crate) tenant: TenantId,
    /// The subject of the caller's token.
    pub(crate) principal: &'a str,
    /// The full name of the method.
    pub(crate) method: &'a str,
    /// Why; free text.
    pub(crate) reason: &'a str,
    /// The caller's id for it and the encoded request, if it may be repeated.
    pub(crate) request: Option<(RequestId, Vec<u8>)>,
    pub(crate) now_us: i64,
    pub(crate) traceparent: Option<String>,
}

/// What came of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decided<T> {
    pub(crate) decision: DecisionId,
    pub(crate) outcome: T,
}

/// The customer that both are now.
pub(crate) type MergeOutcome = CustomerId;

/// The two sides of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SplitOutcome {
    pub(crate) stayed: CustomerId,
    pub(crate) moved: CustomerId,
}

/// What is to be decided.
enum Ask<'a> {
    Merge(CustomerId, CustomerId),
    Split(CustomerId, &'a [EvidenceId]),
}

impl Ask<'_> {
    /// Under the tenant's lock; the ids of the result, the decision's last.
    async fn carry_out(
        &self,
        connection: &mut PgConnection,
        draft: &Draft<'_>,
    ) -> Result<(Vec<Uuid>, Vec<feed::Entry>), Error> {
        let decision = draft.id.uuid();
        match *self {
            Self::Merge(left, right) => {
                let (survivor, entries) = merge(connection, draft, (left, right)).await?;
                Ok((vec![survivor.uuid(), decision], entries))
            }
            Self::Split(id, moved) => {
                let (sides, entries) = split(connection, draft, (id, moved)).await?;
                Ok((vec![sides.stayed.uuid(), sides.moved.uuid(), decision], entries))
            }
        }
    }
}

/// A decision on its way into the store.
struct Draft<'a> {
    id: DecisionId,
    demand: &'a Demand<'a>,
    reason: Sealed,
    /// What a further link of the same demand is stored with.
    key: &'a ::store::TenantKey,
}

impl Draft<'_> {
    async fn insert(
        &self,
        connection: &mut PgConnection,
        (id, kind): (DecisionId, Kind),
        (left, right): (&[EvidenceId], &[EvidenceId]),
    ) -> Result<(), ::store::Error> {
        let tenant = self.demand.tenant;
        let own;
        let reason = if id == self.id {
            &self.reason
        } else {
            own = seal_reason((tenant, self.key), id, self.demand.reason)?;
            &own
        };
        let (decided_by, now_us) = (self.demand.principal, self.demand.now_us);
        let new = decision::New { id, kind, left, right, decided_by, now_us, reason };
        decision::insert(connection, tenant, &new).await?;
        Ok(())
    }
}

fn seal_reason(
    tenant: (TenantId, &::store::TenantKey),
    id: DecisionId,
    reason: &str,
) -> Result<Sealed, ::store::Error> {
    seal(What::Reason, tenant, id.uuid(), reason.as_bytes())
}

fn new_decision() -> DecisionId {
    DecisionId::new(Uuid::now_v7())
}

impl App {
    /// Declares the customers that two ids lead to one person.
    ///
    /// # Errors
    /// [`Error::NotFound`] if one of the ids was never given out in the tenant.
    pub(crate) async fn merge(
        &self,
        demand: &Demand<'_>,
        (left, right): (CustomerId, CustomerId),
    ) -> Result<Decided<MergeOutcome>, Error> {
        match self.decide(demand, &Ask::Merge(left, right)).await?[..] {
            [survivor, decision] => Ok(Decided {
                decision: DecisionId::new(decision),
                outcome: CustomerId::new(survivor),
            }),
            _ => Err(damaged()),
        }
    }

    /// Moves evidence out of the customer that an id leads to, into one of its own.
    ///
    /// # Errors
    /// [`Error::NotFound`]; violations for what is not its evidence, or all of it.
    pub(crate) async fn split(
        &self,
        demand: &Demand<'_>,
        (id, moved): (CustomerId, &[EvidenceId]),
    ) -> Result<Decided<SplitOutcome>, Error> {
        match self.decide(demand, &Ask::Split(id, moved)).await?[..] {
            [stayed, moved, decision] => Ok(Decided {
                decision: DecisionId::new(decision),
                outcome: SplitOutcome {
                    stayed: CustomerId::new(stayed),
                    moved: CustomerId::new(moved),
                },
            }),
            _ => Err(damaged()),
        }
    }

    /// Carries a decision out once: the ids of the result, also when it is repeated.
    async fn decide(&self, demand: &Demand<'_>, ask: &Ask<'_>) -> Result<Vec<Uuid>, Error> {
        let tenant = demand.tenant;
        let key = self.tenant_keys.get(tenant).await?;
        let lookup = self.lookup.tenant(tenant)?;
        let id = new_decision();
        let reason = seal_reason((tenant, &key), id, demand.reason)?;
        let draft = Draft { id, demand, reason, key: &key };
        let call = demand.request.as_ref().map(|(request_id, encoded)| Call {
            tenant,
            principal: demand.principal,
            method: demand.method,
            request_id: *request_id,
            fingerprint: idempotency::fingerprint(&lookup, encoded),
            now_us: demand.now_us,
        });
        let ids = ::store::transaction!(&self.database, async |connection| {
            if let Some(call) = &call
                && let Begun::Replay(ids) = idempotency::begin(connection, call).await?
            {
                return decode(&ids);
            }
            lock::tenant(connection, tenant).await?;
            let (ids, entries) = ask.carry_out(connection, &draft).await?;
            if let Some(call) = &call {
                let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
                idempotency::complete(connection, call, &bytes).await?;
            }
            let traced = |entry: feed::Entry| entry.traced(demand.traceparent.clone());
            let entries: Vec<feed::Entry> = entries.into_iter().map(traced).collect();
            append(connection, &entries).await?;
            Ok::<_, Error>(ids)
        })?;
        self.tail.wake();
        Ok(ids)
    }
}

fn decode(bytes: &[u8]) -> Result<Vec<Uuid>, Error> {
    let (ids, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(damaged());
    }
    Ok(ids.iter().map(|id| Uuid::from_bytes(*id)).collect())
}

fn damaged() -> Error {
    ::store::Error::internal("the stored result of a decision does not decode").into()
}

/// The outcome and its feed entries.
type Carried<T> = (T, Vec<feed::Entry>);

async fn merge(
    connection: &mut PgConnection,
    draft: &Draft<'_>,
    (left, right): (CustomerId, CustomerId),
) -> Result<Carried<MergeOutcome>, Error> {
    let tenant = draft.demand.tenant;
    let absent = || Error::NotFound("customer");
    let left = customer::lead(connection, tenant, left).await?.ok_or_else(absent)?;
    let right = customer::lead(connection, tenant, right).await?.ok_or_else(absent)?;
    let mut customers = BTreeSet::from([left.customer, right.customer]);
    let rows = evidence::of_customers(connection, tenant, customers.iter().copied()).await?;
    let of = |customer: CustomerId| -> Vec<EvidenceId> {
        let own = rows.iter().filter(|row| row.placed.customer == customer);
        own.map(|row| row.placed.evidence.id).collect()
    };
    let ids = rows.iter().map(|row| row.placed.evidence.id);
    let before = decision::about(connection, tenant, ids).await?;
    let retracted = before.opposing(&of(left.customer), &of(right.customer));

    // Whatever a retracted separation kept apart may join again.
    let lifted = before.separations.iter().filter(|split| retracted.contains(&split.id));
    let named: BTreeSet<EvidenceId> =
        lifted.flat_map(|split| split.left.iter().chain(&split.right)).copied().collect();
    let named: Vec<EvidenceId> = named.into_iter().collect();
    let freed = evidence::mappings(connection, tenant, &named).await?;
    customers.extend(freed.into_iter().map(|mapping| mapping.customer));

    let (from, to) = (left.founder, right.founder);
    let link = Link { id: draft.id, order: i64::MAX, left: from, right: to };
    let amendment =
        Amendment { links: vec![link], retracted: retracted.clone(), ..Amendment::default() };
    let start = Start { customers, amendment, ..Start::default() };
    let mut ledger = Ledger::default();
    let near = close(connection, tenant, start, &mut ledger).await?;
    draft.insert(connection, (draft.id, Kind::Link), (&[from], &[to])).await?;
    decision::retract(connection, tenant, &retracted, draft.id).await?;
    let plan = plan(&near, &ledger);
    let entries = carry_out(connection, draft, &near, &plan).await?;
    let survivor = customers_after(&near, &plan).get(&from).copied().unwrap_or(left.customer);
    Ok((survivor, entries))
}

async fn split(
    connection: &mut PgConnection,
    draft: &Draft<'_>,
    (id, moved): (CustomerId, &[EvidenceId]),
) -> Result<Carried<SplitOutcome>, Error> {
    let tenant = draft.demand.tenant;
    let customer = current(connection, tenant, id).await?;
    let rows = evidence::of_customers(connection, tenant, [customer]).await?;
    let members: BTreeSet<EvidenceId> = rows.iter().map(|row| row.placed.evidence.id).collect();
    let (moved, staying) = domain::sides(&members, moved)?;

    let before = decision::about(connection, tenant, members.iter().copied()).await?;
    let crosses = |link: &&Link| moved.contains(&link.left) != moved.contains(&link.right);
    let retracted: Vec<DecisionId> =
        before.links.iter().filter(crosses).map(|link| link.id).collect();
    let (left, right) = (moved.clone(), staying.clone());
    let separation = Separation { id: draft.id, left, right };
    let amendment = Amendment {
        separations: vec![separation],
        retracted: retracted.clone(),
        ..Amendment::default()
    };
    let start = Start { customers: BTreeSet::from([customer]), amendment, ..Start::default() };
    let mut ledger = Ledger::default();
    let mut near = close(connection, tenant, start, &mut ledger).await?;

    let (plan, links) = plan_together(&mut near, &ledger, &moved);
    draft.insert(connection, (draft.id, Kind::Separation), (&moved, &staying)).await?;
    decision::retract(connection, tenant, &retracted, draft.id).await?;
    for link in links {
        draft.insert(connection, (link.id, Kind::Link), (&[link.left], &[link.right])).await?;
    }
    let entries = carry_out(connection, draft, &near, &plan).await?;
    let customers = customers_after(&near, &plan);
    let after = |evidence: &EvidenceId| customers.get(evidence).copied();
    let stayed: BTreeSet<CustomerId> = staying.iter().filter_map(after).collect();
    let kept = stayed.get(&customer).or(stayed.first()).copied().unwrap_or(customer);
    let moved = moved.first().and_then(after).unwrap_or(customer);
    Ok((SplitOutcome { stayed: kept, moved }, entries))
}

/// Plans a split so that the moved evidence is in one customer. Where its own values do not hold
/// it together, links do: those that are needed, so that an undone merge needs none. Linked
/// evidence stays linked, so every round leaves fewer parts.
fn plan_together(near: &mut Near, ledger: &Ledger, moved: &[EvidenceId]) -> (Plan, Vec<Link>) {
    let mut links = Vec::new();
    loop {
        let plan = plan(near, ledger);
        let customers = customers_after(near, &plan);
        let mut parts: BTreeMap<CustomerId, EvidenceId> = BTreeMap::new();
        for evidence in moved {
            if let Some(customer) = customers.get(evidence) {
                parts.entry(*customer).or_insert(*evidence);
            }
        }
        let mut parts = parts.into_values();
        let Some(first) = parts.next() else { return (plan, links) };
        let others: Vec<EvidenceId> = parts.collect();
        if others.is_empty() {
            return (plan, links);
        }
        for other in others {
            let link = Link { id: new_decision(), order: i64::MAX, left: first, right: other };
            near.decisions.links.push(link.clone());
            links.push(link);
        }
    }
}

fn plan(near: &Near, ledger: &Ledger) -> Plan {
    graph::plan(&near.hood, |key| ledger.is_shared(key), &near.decisions, next_id)
}

async fn carry_out(
    connection: &mut PgConnection,
    draft: &Draft<'_>,
    near: &Near,
    plan: &Plan,
) -> Result<Vec<feed::Entry>, Error> {
    let Demand { tenant, now_us, .. } = *draft.demand;
    let nothing_new = (&BTreeMap::new(), now_us);
    let stored = store(connection, tenant, plan, &near.hood, nothing_new).await?;
    Ok(stored.entries)
}

/// Where the evidence of the neighbourhood is after the plan. O(evidence).
fn customers_after(near: &Near, plan: &Plan) -> HashMap<EvidenceId, CustomerId> {
    let placed = near.hood.placed.iter().map(|placed| (placed.evidence.id, placed.customer));
    let moved = plan.moves.iter().map(|step| (step.evidence, step.to));
    placed.chain(moved).collect()
}
