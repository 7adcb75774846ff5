//! Why two pieces of evidence are one customer, or are not.

use std::collections::{BTreeSet, VecDeque};

use kernel::{DecisionId, EvidenceId};

use super::partition::Nodes;
use super::{Decisions, Evidence, ValueKey};

/// What joins two pieces of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joint {
    /// Both carry this value.
    Value(ValueKey),
    /// A merge decision.
    Decision(DecisionId),
}

/// One step of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// From.
    pub from: EvidenceId,
    /// To.
    pub to: EvidenceId,
    /// What joins the two.
    pub by: Joint,
}

/// Why something that two customers have in common does not link them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The value was seen with too many different people.
    Shared(ValueKey),
    /// The value would link, but a separation keeps the two apart.
    Overruled(ValueKey),
    /// This separation has the two on opposite sides.
    Separated(DecisionId),
}

/// The shortest chain that joins two pieces of evidence inside their cluster; empty if they
/// are not in one, are the same, or are not among `evidence`. Breadth first, decisions
/// before values, strongest value first. O(V log V).
#[must_use]
pub fn path(
    evidence: &[Evidence],
    shared: impl Fn(&ValueKey) -> bool,
    decisions: &Decisions,
    from: EvidenceId,
    to: EvidenceId,
) -> Vec<Step> {
    let nodes = Nodes::new(evidence.iter());
    let (Some(start), Some(end)) = (nodes.find(from), nodes.find(to)) else { return Vec::new() };
    let groups = nodes.group(&shared, decisions);
    let cluster = groups.iter().find(|group| group.binary_search(&start).is_ok());
    // Only steps inside the cluster count: others were refused.
    let Some(cluster) = cluster.filter(|group| group.binary_search(&end).is_ok()) else {
        return Vec::new();
    };
    let members = Nodes::new(cluster.iter().map(|&node| nodes.at(node)));
    match (members.find(from), members.find(to)) {
        (Some(start), Some(end)) => search(&members, shared, decisions, start, end),
        _ => Vec::new(),
    }
}

fn search(
    members: &Nodes<'_>,
    shared: impl Fn(&ValueKey) -> bool,
    decisions: &Decisions,
    start: u32,
    end: u32,
) -> Vec<Step> {
    let occurrences = members.occurrences(&shared);
    let mut reached: Vec<Option<(u32, Joint)>> = vec![None; members.len()];
    let mut used: BTreeSet<ValueKey> = BTreeSet::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        if node == end {
            break;
        }
        let mut next: Vec<(u32, Joint)> = linked_to(members, decisions, node);
        let mut values: Vec<_> = members.at(node).values.iter().collect();
        values.sort_unstable_by_key(|value| (value.namespace.strength(), value.key));
        for value in values.into_iter().filter(|value| !shared(&value.key)) {
            // Each value needs to be followed from the first node that reaches it only.
            if used.insert(value.key) {
                let bound = (value.namespace.strength(), value.key);
                let first = occurrences.partition_point(|&(space, key, _)| (space, key) < bound);
                let same = occurrences[first..].iter().take_while(|found| found.1 == value.key);
                next.extend(same.map(|found| (found.2, Joint::Value(value.key))));
            }
        }
        for (other, by) in next {
            let place = &mut reached[other as usize];
            if other != start && place.is_none() {
                *place = Some((node, by));
                queue.push_back(other);
            }
        }
    }
    let mut steps = Vec::new();
    let mut node = end;
    while let Some((before, by)) = reached[node as usize] {
        steps.push(Step { from: members.id(before), to: members.id(node), by });
        node = before;
    }
    steps.reverse();
    steps
}

fn linked_to(members: &Nodes<'_>, decisions: &Decisions, node: u32) -> Vec<(u32, Joint)> {
    let id = members.id(node);
    let mut linked = Vec::new();
    for link in decisions.links_in_order() {
        let other = match (link.left == id, link.right == id) {
            (true, _) => members.find(link.right),
            (_, true) => members.find(link.left),
            _ => None,
        };
        linked.extend(other.map(|other| (other, Joint::Decision(link.id))));
    }
    linked
}

/// What two different customers have in common and why it does not link them, given all
/// evidence of both. Sorted.
#[must_use]
pub fn refusals(
    left: &[Evidence],
    right: &[Evidence],
    shared: impl Fn(&ValueKey) -> bool,
    decisions: &Decisions,
) -> Vec<Refusal> {
    let keys = |side: &[Evidence]| -> BTreeSet<ValueKey> {
        side.iter().flat_map(|evidence| &evidence.values).map(|value| value.key).collect()
    };
    let ids = |side: &[Evidence]| -> Vec<EvidenceId> { side.iter().map(|e| e.id).collect() };
    let common = keys(left);
    let common = common.intersection(&keys(right)).copied().collect::<Vec<_>>();
    let of_value = |key| if shared(&key) { Refusal::Shared(key) } else { Refusal::Overruled(key) };
    let mut found: Vec<Refusal> = common.into_iter().map(of_value).collect();
    let separations = decisions.opposing(&ids(left), &ids(right));
    found.extend(separations.into_iter().map(Refusal::Separated));
    found.sort_unstable();
    found
}
