//! Which arrivals need the graph, and which only join the one customer that they touch.
//!
//! Most new evidence brings one more cookie for somebody known. It changes nothing but itself:
//! a group of arrivals that hang together by linking values, touches exactly one customer that no
//! separation divides, and makes no value shared, is attached to that customer. All other groups
//! are planned with their whole neighbourhood. O(values · log).

use std::collections::{BTreeMap, BTreeSet};

use kernel::CustomerId;
use linkage::graph::{Evidence, Placement, ValueKey};

/// The outcome: every arrival is in one of the two.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Triage {
    /// First customers that are certain.
    pub(crate) attached: Vec<Placement>,
    /// To be planned.
    pub(crate) open: Vec<Evidence>,
}

/// Sorts arrivals. `touched` names one customer for every value that linked before and is
/// carried by a customer; that is enough where the customer is not `divided`, because then it
/// holds all evidence with the value.
pub(crate) fn triage(
    arrivals: &[&Evidence],
    was_shared: impl Fn(&ValueKey) -> bool,
    turned: &BTreeSet<ValueKey>,
    touched: &BTreeMap<ValueKey, CustomerId>,
    divided: &BTreeSet<CustomerId>,
) -> Triage {
    let mut groups = Groups::new(arrivals.len());
    let mut by_value: BTreeMap<ValueKey, usize> = BTreeMap::new();
    let mut by_customer: BTreeMap<CustomerId, usize> = BTreeMap::new();
    for (place, evidence) in arrivals.iter().enumerate() {
        for value in evidence.values.iter().filter(|value| !was_shared(&value.key)) {
            groups.join(place, *by_value.entry(value.key).or_insert(place));
            if let Some(customer) = touched.get(&value.key) {
                groups.join(place, *by_customer.entry(*customer).or_insert(place));
            }
        }
    }
    let mut of_group: BTreeMap<usize, Group> = BTreeMap::new();
    for (customer, place) in by_customer {
        let group = of_group.entry(groups.root(place)).or_default();
        group.must_plan |= divided.contains(&customer);
        group.customers.push(customer);
    }
    for (place, evidence) in arrivals.iter().enumerate() {
        if evidence.values.iter().any(|value| turned.contains(&value.key)) {
            of_group.entry(groups.root(place)).or_default().must_plan = true;
        }
    }
    let mut triage = Triage::default();
    for (place, evidence) in arrivals.iter().enumerate() {
        match of_group.get(&groups.root(place)) {
            Some(Group { must_plan: false, customers }) if let [customer] = customers[..] => {
                triage.attached.push(Placement { evidence: evidence.id, customer });
            }
            _ => triage.open.push((*evidence).clone()),
        }
    }
    triage
}

#[derive(Default)]
struct Group {
    must_plan: bool,
    customers: Vec<CustomerId>,
}

/// Union-find with path halving.
struct Groups(Vec<usize>);

impl Groups {
    fn new(size: usize) -> Self {
        Self((0..size).collect())
    }

    fn root(&mut self, mut place: usize) -> usize {
        while self.0[place] != place {
            self.0[place] = self.0[self.0[place]];
            place = self.0[place];
        }
        place
    }

    fn join(&mut self, left: usize, right: usize) {
        let (left, right) = (self.root(left), self.root(right));
        self.0[right] = left;
    }
}

#[cfg(test)]
mod tests {
    use kernel::EvidenceId;
    use linkage::Namespace;
    use linkage::graph::Value;
    use uuid::Uuid;

    use super::*;

    fn key(number: u8) -> ValueKey {
        ValueKey::new([number; 16])
    }

    fn evidence(id: u128, values: &[u8]) -> Evidence {
        let value = |number: &u8| Value { namespace: Namespace::EMAIL, key: key(*number) };
        Evidence {
            id: EvidenceId::new(Uuid::from_u128(id)),
            values: values.iter().map(value).collect(),
        }
    }

    #[test]
    fn only_what_touches_one_undivided_customer_is_attached() {
        let customer = |id| CustomerId::new(Uuid::from_u128(id));
        let arrivals = [
            evidence(1, &[1]),     // one customer
            evidence(2, &[2, 3]),  // joins two
            evidence(3, &[4]),     // nobody
            evidence(4, &[5]),     // a divided one
            evidence(5, &[6]),     // one whose value has just turned
            evidence(6, &[7, 8]),  // with the next: one customer
            evidence(7, &[8]),     // touches by the one before only
            evidence(8, &[9, 10]), // 9 was shared before and says nothing
        ];
        let touched = [(1, 1), (2, 2), (3, 3), (5, 5), (6, 6), (7, 7), (9, 1)];
        let touched = touched.into_iter().map(|(value, id)| (key(value), customer(id))).collect();
        let found = triage(
            &arrivals.iter().collect::<Vec<_>>(),
            |value| *value == key(9),
            &BTreeSet::from([key(6)]),
            &touched,
            &BTreeSet::from([customer(5)]),
        );
        let attached: Vec<(u128, u128)> = found
            .attached
            .iter()
            .map(|place| (place.evidence.uuid().as_u128(), place.customer.uuid().as_u128()))
            .collect();
        assert_eq!(attached, [(1, 1), (6, 7), (7, 7)]);
        let open: Vec<u128> = found.open.iter().map(|new| new.id.uuid().as_u128()).collect();
        assert_eq!(open, [2, 3, 4, 5, 8]);
    }
}
