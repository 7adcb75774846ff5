//! Evidence to clusters: union-find under cannot-link constraints, in a canonical order.
//!
//! Links come first, then values by strength of their namespace and key, evidence by id. A
//! union that would bring opposite sides of a separation together is refused; components
//! only grow, so what was refused once stays refused and the result is a function of the
//! sets. Without separations the order changes nothing (connected components).
//!
//! Cost: O(V log V) for V values in all, plus the sides of the separations; no hashing.

use kernel::EvidenceId;

use super::{Decisions, Evidence, ValueKey};

/// Clusters of evidence, each sorted by id, in the order of their first ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition(Vec<Vec<EvidenceId>>);

impl Partition {
    /// The clusters.
    #[must_use]
    pub fn clusters(&self) -> &[Vec<EvidenceId>] {
        &self.0
    }
}

/// Puts evidence into clusters. Equal ids count once.
#[must_use]
pub fn partition(
    evidence: &[Evidence],
    shared: impl Fn(&ValueKey) -> bool,
    decisions: &Decisions,
) -> Partition {
    let nodes = Nodes::new(evidence.iter());
    let groups = nodes.group(&shared, decisions);
    Partition(groups.iter().map(|group| group.iter().map(|&at| nodes.id(at)).collect()).collect())
}

/// Evidence sorted by id, each once. A node is a place in it.
pub(super) struct Nodes<'a>(Vec<&'a Evidence>);

impl<'a> Nodes<'a> {
    pub(super) fn new(evidence: impl Iterator<Item = &'a Evidence>) -> Self {
        let mut sorted: Vec<&Evidence> = evidence.collect();
        sorted.sort_by_key(|evidence| evidence.id);
        sorted.dedup_by_key(|evidence| evidence.id);
        Self(sorted)
    }

    pub(super) fn id(&self, node: u32) -> EvidenceId {
        self.0[node as usize].id
    }

    pub(super) fn at(&self, node: u32) -> &'a Evidence {
        self.0[node as usize]
    }

    pub(super) fn find(&self, id: EvidenceId) -> Option<u32> {
        self.0.binary_search_by_key(&id, |evidence| evidence.id).ok().map(|at| at as u32)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Every linking value with its nodes: (strength, key, node), sorted.
    pub(super) fn occurrences(&self, shared: impl Fn(&ValueKey) -> bool) -> Vec<Occurrence> {
        let mut all = Vec::with_capacity(self.0.len() * 3);
        for (node, evidence) in self.0.iter().enumerate() {
            for value in evidence.values.iter().filter(|value| !shared(&value.key)) {
                all.push((value.namespace.strength(), value.key, node as u32));
            }
        }
        all.sort_unstable();
        all
    }

    /// The clusters as sorted lists of nodes, in the order of their first nodes.
    pub(super) fn group(
        &self,
        shared: impl Fn(&ValueKey) -> bool,
        decisions: &Decisions,
    ) -> Vec<Vec<u32>> {
        let mut forest = self.grow(shared, decisions);
        let mut group_of_root = vec![u32::MAX; self.0.len()];
        let mut groups: Vec<Vec<u32>> = Vec::new();
        for node in 0..self.0.len() as u32 {
            let root = forest.root(node) as usize;
            if group_of_root[root] == u32::MAX {
                group_of_root[root] = groups.len() as u32;
                groups.push(Vec::new());
            }
            groups[group_of_root[root] as usize].push(node);
        }
        groups
    }

    fn grow(&self, shared: impl Fn(&ValueKey) -> bool, decisions: &Decisions) -> Forest {
        let mut forest = Forest::new(self.0.len(), self.marks(decisions));
        for link in decisions.links_in_order() {
            if let (Some(left), Some(right)) = (self.find(link.left), self.find(link.right)) {
                forest.join(left, right);
            }
        }
        let occurrences = self.occurrences(shared);
        let mut apart: Vec<u32> = Vec::new();
        for same_value in occurrences.chunk_by(|left, right| left.1 == right.1) {
            // One node per component that the value meets and constraints keep apart.
            apart.clear();
            for &(_, _, node) in same_value {
                if !apart.iter().any(|&other| forest.join(other, node)) {
                    apart.push(node);
                }
            }
        }
        forest
    }

    /// The sides of separations that each node stands on; empty if there are none.
    fn marks(&self, decisions: &Decisions) -> Vec<Vec<u32>> {
        if decisions.separations.is_empty() {
            return Vec::new();
        }
        let mut marks = vec![Vec::new(); self.0.len()];
        for (number, separation) in decisions.separations.iter().enumerate() {
            for (side, ids) in [&separation.left, &separation.right].into_iter().enumerate() {
                for node in ids.iter().filter_map(|id| self.find(*id)) {
                    marks[node as usize].push((number * 2 + side) as u32);
                }
            }
        }
        for sides in &mut marks {
            sides.sort_unstable();
            sides.dedup();
        }
        marks
    }
}

/// Strength of the namespace (0 first), value, node.
pub(super) type Occurrence = (u8, ValueKey, u32);

/// Union-find with path halving and union by size; roots carry the sides of their trees.
struct Forest {
    parent: Vec<u32>,
    size: Vec<u32>,
    /// Sorted; 2n and 2n + 1 are the sides of separation n. Empty without separations.
    marks: Vec<Vec<u32>>,
}

impl Forest {
    fn new(nodes: usize, marks: Vec<Vec<u32>>) -> Self {
        Self { parent: (0..nodes as u32).collect(), size: vec![1; nodes], marks }
    }

    fn root(&mut self, mut node: u32) -> u32 {
        while self.parent[node as usize] != node {
            let above = self.parent[node as usize];
            self.parent[node as usize] = self.parent[above as usize];
            node = self.parent[node as usize];
        }
        node
    }

    /// True if the two are in one tree afterwards.
    fn join(&mut self, left: u32, right: u32) -> bool {
        let (left, right) = (self.root(left), self.root(right));
        if left == right {
            return true;
        }
        if self.are_opposed(left, right) {
            return false;
        }
        let left_is_larger = self.size[left as usize] >= self.size[right as usize];
        let (large, small) = if left_is_larger { (left, right) } else { (right, left) };
        self.parent[small as usize] = large;
        self.size[large as usize] += self.size[small as usize];
        if !self.marks.is_empty() {
            let moved = std::mem::take(&mut self.marks[small as usize]);
            let sides = &mut self.marks[large as usize];
            sides.extend(moved);
            sides.sort_unstable();
            sides.dedup();
        }
        true
    }

    fn are_opposed(&self, left: u32, right: u32) -> bool {
        if self.marks.is_empty() {
            return false;
        }
        let (left, right) = (&self.marks[left as usize], &self.marks[right as usize]);
        left.iter().any(|side| right.binary_search(&(side ^ 1)).is_ok())
    }
}
