//! What people decided: these two are one, those must stay apart.

use kernel::{DecisionId, EvidenceId};

/// A merge: the customers of the two are one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The decision.
    pub id: DecisionId,
    /// When it was taken, relative to the others; later ones are applied first.
    pub order: i64,
    /// Evidence of the one customer, e.g. its founder.
    pub left: EvidenceId,
    /// Evidence of the other.
    pub right: EvidenceId,
}

/// A split: no evidence of one side may be one customer with evidence of the other.
/// Separations always win over links and values; a merge that is meant to undo one must
/// retract it ([`Decisions::opposing`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Separation {
    /// The decision.
    pub id: DecisionId,
    /// One side.
    pub left: Vec<EvidenceId>,
    /// The other.
    pub right: Vec<EvidenceId>,
}

impl Separation {
    /// True if one of `left` stands on one side and one of `right` on the other.
    #[must_use]
    pub fn opposes(&self, left: &[EvidenceId], right: &[EvidenceId]) -> bool {
        let meets =
            |side: &[EvidenceId], ids: &[EvidenceId]| ids.iter().any(|id| side.contains(id));
        (meets(&self.left, left) && meets(&self.right, right))
            || (meets(&self.left, right) && meets(&self.right, left))
    }
}

/// The decisions that are in force for some part of the graph, in any order. Those that
/// name evidence outside it do no harm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decisions {
    /// Merges.
    pub links: Vec<Link>,
    /// Splits.
    pub separations: Vec<Separation>,
}

impl Decisions {
    /// The separations that keep two customers apart, given all their evidence: what a merge
    /// of the two must retract first. Other evidence that a retracted separation named is
    /// free to link by its values again.
    #[must_use]
    pub fn opposing(&self, left: &[EvidenceId], right: &[EvidenceId]) -> Vec<DecisionId> {
        let opposing = self.separations.iter().filter(|split| split.opposes(left, right));
        opposing.map(|separation| separation.id).collect()
    }

    /// Links, latest first: what was decided last weighs most.
    pub(super) fn links_in_order(&self) -> Vec<&Link> {
        let mut links: Vec<&Link> = self.links.iter().collect();
        links.sort_unstable_by_key(|link| (std::cmp::Reverse(link.order), link.id));
        links
    }
}
