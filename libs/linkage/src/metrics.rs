//! How well a clustering agrees with the truth.

use std::collections::BTreeMap;

/// Precision, recall and their harmonic mean, each 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Of what was put together, the part that belongs together.
    pub precision: f64,
    /// Of what belongs together, the part that was put together.
    pub recall: f64,
}

impl Agreement {
    /// The harmonic mean of the two; 0 if both are.
    #[must_use]
    pub fn f1(&self) -> f64 {
        let sum = self.precision + self.recall;
        if sum == 0.0 { 0.0 } else { 2.0 * self.precision * self.recall / sum }
    }
}

/// How often each true, each found label, and each combination occurs.
struct Contingency<T, F> {
    truth: BTreeMap<T, u64>,
    found: BTreeMap<F, u64>,
    both: BTreeMap<(T, F), u64>,
}

impl<T: Ord + Copy, F: Ord + Copy> Contingency<T, F> {
    fn count(labels: &[(T, F)]) -> Self {
        let mut table =
            Self { truth: BTreeMap::new(), found: BTreeMap::new(), both: BTreeMap::new() };
        for (truth, found) in labels {
            *table.truth.entry(*truth).or_default() += 1;
            *table.found.entry(*found).or_default() += 1;
            *table.both.entry((*truth, *found)).or_default() += 1;
        }
        table
    }
}

/// Agreement over all unordered pairs of items; one (true, found) label pair per item.
/// Without any pair the part is 1. O(n log n).
#[must_use]
pub fn pairwise<T: Ord + Copy, F: Ord + Copy>(labels: &[(T, F)]) -> Agreement {
    fn pairs<K>(counts: &BTreeMap<K, u64>) -> f64 {
        counts.values().map(|n| (n * n.saturating_sub(1) / 2) as f64).sum()
    }
    let table = Contingency::count(labels);
    let (right, found, truth) = (pairs(&table.both), pairs(&table.found), pairs(&table.truth));
    let part = |whole: f64| if whole == 0.0 { 1.0 } else { right / whole };
    Agreement { precision: part(found), recall: part(truth) }
}

/// B-cubed agreement (Bagga and Baldwin 1998): the mean over items of the part of its found
/// and of its true cluster that is shared. 1 for no items. O(n log n).
#[must_use]
pub fn b_cubed<T: Ord + Copy, F: Ord + Copy>(labels: &[(T, F)]) -> Agreement {
    if labels.is_empty() {
        return Agreement { precision: 1.0, recall: 1.0 };
    }
    let table = Contingency::count(labels);
    let (mut precision, mut recall) = (0.0, 0.0);
    for ((truth, found), both) in &table.both {
        let squared = (both * both) as f64;
        precision += squared / table.found[found] as f64;
        recall += squared / table.truth[truth] as f64;
    }
    let items = labels.len() as f64;
    Agreement { precision: precision / items, recall: recall / items }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_what_is_counted_by_hand() {
        // Truth {1,2,3} {4,5}; found {1,2} {3,4} {5}: 1 of 2 found pairs and of 4 true ones.
        let labels = [(1, 'a'), (1, 'a'), (1, 'b'), (2, 'b'), (2, 'c')];
        let pairs = pairwise(&labels);
        assert_eq!((pairs.precision, pairs.recall), (0.5, 0.25));
        let items = b_cubed(&labels);
        assert!((items.precision - 0.8).abs() < 1e-12);
        assert!((items.recall - (2.0 / 3.0 * 2.0 + 1.0 / 3.0 + 1.0) / 5.0).abs() < 1e-12);
        assert!((pairs.f1() - 1.0 / 3.0).abs() < 1e-12);
    }
}
