//! What new evidence or a decision changes: the neighbourhood is put into clusters afresh
//! and compared with what is stored.
//!
//! The customer id of a cluster is the smallest id that evidence in it has founded (UUID v7:
//! the oldest). Evidence keeps the id that it founded wherever it moves, so a merge that is
//! undone restores the ids too, and a redirect is derived: a founded id leads to the
//! customer that holds its founder.
//!
//! The neighbourhood must be closed ([`Neighbourhood::frontier`]); then the plan is the same
//! as for the whole graph: whatever is outside shares no linking value or link with it.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{CustomerId, EvidenceId};

use super::partition::Nodes;
use super::{Decisions, Evidence, ValueKey};

/// Evidence that has a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The evidence.
    pub evidence: Evidence,
    /// Its customer now.
    pub customer: CustomerId,
    /// The customer id that was made for it, if one ever was.
    pub founded: Option<CustomerId>,
}

/// A part of the graph: whole customers and evidence that has none yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbourhood {
    /// All evidence of every customer concerned.
    pub placed: Vec<Placed>,
    /// New evidence. What is also in `placed` is taken as placed.
    pub arriving: Vec<Evidence>,
}

/// What must be looked up next to close a neighbourhood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    /// Customers of all evidence with one of these values are part of it.
    pub values: BTreeSet<ValueKey>,
    /// So are the customers of this evidence.
    pub evidence: BTreeSet<EvidenceId>,
}

impl Neighbourhood {
    /// What the neighbourhood depends on: values of new evidence, values of customers that a
    /// separation concerns (only they can have a neighbour that was refused), ends of links
    /// that are not loaded. `shared` is the state *before* the new evidence, because a
    /// value that turns shared splits the customer that it held together. Load the customers
    /// and the decisions about their evidence, and repeat until nothing new is found.
    #[must_use]
    pub fn frontier(
        &self,
        shared_before: impl Fn(&ValueKey) -> bool,
        decisions: &Decisions,
    ) -> Frontier {
        let mut sides: Vec<EvidenceId> = Vec::new();
        for separation in &decisions.separations {
            sides.extend(separation.left.iter().chain(&separation.right));
        }
        sides.sort_unstable();
        let is_side = |placed: &&Placed| sides.binary_search(&placed.evidence.id).is_ok();
        let divided: BTreeSet<CustomerId> =
            self.placed.iter().filter(is_side).map(|placed| placed.customer).collect();
        let concerned = self.placed.iter().filter(|placed| divided.contains(&placed.customer));
        let open = concerned.map(|placed| &placed.evidence).chain(&self.arriving);
        let values = open.flat_map(|evidence| &evidence.values).map(|value| value.key);
        let ends = decisions.links.iter().flat_map(|link| [link.left, link.right]);
        let nodes = self.nodes();
        Frontier {
            values: values.filter(|key| !shared_before(key)).collect(),
            evidence: ends.filter(|id| nodes.find(*id).is_none()).collect(),
        }
    }

    fn nodes(&self) -> Nodes<'_> {
        Nodes::new(self.placed.iter().map(|placed| &placed.evidence).chain(&self.arriving))
    }
}

/// New evidence gets its first customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The evidence.
    pub evidence: EvidenceId,
    /// Its customer.
    pub customer: CustomerId,
}

/// A new customer id is made for a piece of evidence, which keeps it for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Founding {
    /// The founder.
    pub evidence: EvidenceId,
    /// The new id.
    pub customer: CustomerId,
}

/// Known evidence changes its customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The evidence.
    pub evidence: EvidenceId,
    /// The customer that it leaves.
    pub from: CustomerId,
    /// The customer that it joins.
    pub to: CustomerId,
}

/// A customer is no more; its id redirects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merge {
    /// The id that was in force.
    pub loser: CustomerId,
    /// The customer that holds its founder now.
    pub winner: CustomerId,
}

/// Evidence leaves for a customer that was not in force before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Split {
    /// The customer that evidence left.
    pub from: CustomerId,
    /// A new id, or one that had been merged away.
    pub to: CustomerId,
}

/// What to store and to tell. Each list is sorted by its first field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// First customers of new evidence.
    pub placements: Vec<Placement>,
    /// Changes of known evidence.
    pub moves: Vec<Move>,
    /// New customer ids with their founders, which may be new or known evidence.
    pub foundings: Vec<Founding>,
    /// Ids that are no longer in force.
    pub merges: Vec<Merge>,
    /// Ids that are in force now and take evidence from others.
    pub splits: Vec<Split>,
}

/// Plans a closed neighbourhood. `next_id` gives ids younger than all before. O(V log V).
#[must_use]
pub fn plan(
    neighbourhood: &Neighbourhood,
    shared: impl Fn(&ValueKey) -> bool,
    decisions: &Decisions,
    mut next_id: impl FnMut() -> CustomerId,
) -> Plan {
    let nodes = neighbourhood.nodes();
    let mut placed: Vec<Option<&Placed>> = vec![None; nodes.len()];
    for known in &neighbourhood.placed {
        if let Some(node) = nodes.find(known.evidence.id) {
            placed[node as usize] = Some(known);
        }
    }
    let mut plan = Plan::default();
    let mut holder: BTreeMap<CustomerId, CustomerId> = BTreeMap::new();
    for cluster in nodes.group(shared, decisions) {
        let members = cluster.iter().map(|&node| (nodes.id(node), placed[node as usize]));
        let founded = members.clone().filter_map(|(_, known)| known.and_then(|k| k.founded));
        let customer = founded.clone().min().unwrap_or_else(|| {
            let founding = Founding { evidence: nodes.id(cluster[0]), customer: next_id() };
            plan.foundings.push(founding);
            founding.customer
        });
        holder.extend(founded.map(|id| (id, customer)));
        for (evidence, known) in members {
            match known.map(|known| known.customer) {
                None => plan.placements.push(Placement { evidence, customer }),
                Some(from) if from != customer => {
                    plan.moves.push(Move { evidence, from, to: customer });
                }
                Some(_) => {}
            }
        }
    }
    plan.compare_customers(neighbourhood, &holder);
    plan.sort();
    plan
}

impl Plan {
    /// Which ids went out of force, and which came into it with evidence of others.
    fn compare_customers(
        &mut self,
        neighbourhood: &Neighbourhood,
        holder: &BTreeMap<CustomerId, CustomerId>,
    ) {
        let before: BTreeSet<CustomerId> =
            neighbourhood.placed.iter().map(|placed| placed.customer).collect();
        for loser in &before {
            match holder.get(loser) {
                Some(winner) if winner != loser => {
                    self.merges.push(Merge { loser: *loser, winner: *winner });
                }
                _ => {}
            }
        }
        let into_new = self.moves.iter().filter(|step| !before.contains(&step.to));
        let splits: BTreeSet<Split> =
            into_new.map(|step| Split { from: step.from, to: step.to }).collect();
        self.splits = splits.into_iter().collect();
    }

    fn sort(&mut self) {
        self.placements.sort_unstable_by_key(|placement| placement.evidence);
        self.moves.sort_unstable_by_key(|step| step.evidence);
        self.foundings.sort_unstable_by_key(|founding| founding.evidence);
    }
}
