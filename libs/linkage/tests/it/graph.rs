//! Claims about the graph, on small dense worlds where everything collides.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{DecisionId, EvidenceId};
use linkage::graph::{
    self, Decisions, Evidence, Joint, Link, Refusal, Separation, Value, ValueKey,
};
use linkage::{Namespace, Rules};
use proptest::prelude::*;
use uuid::Uuid;

use crate::world::World;

const SPACES: [Namespace; 5] = [
    Namespace::USER_ID,
    Namespace::MEMBER_NO,
    Namespace::PHONE,
    Namespace::EMAIL,
    Namespace::ANONYMOUS_ID,
];

fn value(space: usize, number: u8) -> Value {
    // Spread, so that the order of keys has nothing to do with the numbers.
    let spread = (u128::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let key = ValueKey::new((spread ^ space as u128).to_be_bytes());
    Value { namespace: SPACES[space].clone(), key }
}

fn id(number: usize) -> EvidenceId {
    let spread = (number as u128 + 1).wrapping_mul(0xd6e8_feb8_6659_fd93_a076_1d64_78bd_642f);
    EvidenceId::new(Uuid::from_u128(spread))
}

fn decision(number: usize) -> DecisionId {
    DecisionId::new(Uuid::from_u128(number as u128 + 1))
}

fn evidence(number: usize, values: &[(usize, u8)]) -> Evidence {
    let different: BTreeSet<(usize, u8)> = values.iter().copied().collect();
    Evidence { id: id(number), values: different.iter().map(|&(s, n)| value(s, n)).collect() }
}

fn some_evidence() -> impl Strategy<Value = Vec<Evidence>> {
    let values = prop::collection::vec((0..SPACES.len(), 0..9_u8), 1..4);
    prop::collection::vec(values, 1..28).prop_map(|all| {
        all.iter().enumerate().map(|(number, values)| evidence(number, values)).collect()
    })
}

fn some_decisions() -> impl Strategy<Value = Decisions> {
    let side = || prop::collection::vec(0..28_usize, 1..4);
    let links = prop::collection::vec((0..28_usize, 0..28_usize, 0..3_i64), 0..4);
    (links, prop::collection::vec((side(), side()), 0..4)).prop_map(|(links, separations)| {
        let link = |(number, (left, right, order)): (usize, (usize, usize, i64))| Link {
            id: decision(number),
            order,
            left: id(left),
            right: id(right),
        };
        let separation = |(number, (left, right)): (usize, (Vec<usize>, Vec<usize>))| Separation {
            id: decision(100 + number),
            right: right.iter().filter(|n| !left.contains(n)).map(|n| id(*n)).collect(),
            left: left.iter().map(|n| id(*n)).collect(),
        };
        Decisions {
            links: links.into_iter().enumerate().map(link).collect(),
            separations: separations.into_iter().enumerate().map(separation).collect(),
        }
    })
}

/// What may happen to a world; numbers choose among what is there.
#[derive(Debug, Clone)]
enum Happening {
    Arrival(usize),
    Merge(usize, usize),
    Split(usize, u32),
}

fn some_happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        4 => (1..5_usize).prop_map(Happening::Arrival),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Happening::Merge(a, b)),
        1 => (any::<usize>(), any::<u32>()).prop_map(|(a, b)| Happening::Split(a, b)),
    ];
    prop::collection::vec(one, 1..20)
}

/// Shared values by the definition, counted over all evidence at once.
fn shared_by_definition(evidence: &[Evidence]) -> BTreeSet<ValueKey> {
    let rules = Rules::default();
    let mut seen: BTreeMap<(ValueKey, Namespace), BTreeSet<ValueKey>> = BTreeMap::new();
    for values in evidence.iter().map(|evidence| &evidence.values) {
        for one in values {
            for other in values.iter().filter(|other| other.namespace != one.namespace) {
                if rules.of(&other.namespace).unique {
                    let place = (one.key, other.namespace.clone());
                    seen.entry(place).or_default().insert(other.key);
                }
            }
        }
    }
    seen.into_iter().filter(|(_, all)| all.len() > 2).map(|((key, _), _)| key).collect()
}

fn happen(world: &mut World, happening: &Happening, waiting: &mut Vec<Evidence>) {
    let customers = world.customers();
    match happening {
        Happening::Arrival(count) => {
            let from = waiting.len().saturating_sub(*count);
            world.arrive(waiting.split_off(from));
        }
        Happening::Merge(left, right) if !customers.is_empty() => {
            let left = customers[left % customers.len()];
            let right = customers[right % customers.len()];
            if left != right {
                let (first, second) = (world.evidence_of(left), world.evidence_of(right));
                world.merge(left, right);
                let joined = |a: &EvidenceId, b: &EvidenceId| {
                    world.rows[a].customer == world.rows[b].customer
                };
                assert!(first.iter().any(|a| second.iter().any(|b| joined(a, b))));
            }
        }
        Happening::Split(customer, mask) if !customers.is_empty() => {
            let customer = customers[customer % customers.len()];
            let all = world.evidence_of(customer);
            let chosen = |(bit, _): &(usize, &EvidenceId)| mask >> (bit % 32) & 1 == 1;
            let moved: Vec<EvidenceId> =
                all.iter().enumerate().filter(chosen).map(|(_, id)| *id).collect();
            if !moved.is_empty() && moved.len() < all.len() {
                world.split(customer, &moved);
                let side = |moves: bool| -> BTreeSet<_> {
                    let ids = all.iter().filter(|id| moved.contains(id) == moves);
                    ids.map(|id| world.rows[id].customer).collect()
                };
                assert!(side(true).is_disjoint(&side(false)));
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn clusters_do_not_depend_on_order(
        (straight, shuffled) in some_evidence().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        decisions in some_decisions(),
    ) {
        let mut reversed = decisions.clone();
        reversed.links.reverse();
        reversed.separations.reverse();
        let shared = shared_by_definition(&straight);
        let is_shared = |key: &ValueKey| shared.contains(key);
        let first = graph::partition(&straight, is_shared, &decisions);
        prop_assert_eq!(&first, &graph::partition(&shuffled, is_shared, &reversed));
        for separation in &decisions.separations {
            let divides = |cluster: &Vec<EvidenceId>| separation.opposes(cluster, cluster);
            prop_assert!(!first.clusters().iter().any(divides));
        }
    }

    #[test]
    fn online_equals_batch_after_any_history(
        mut waiting in some_evidence().prop_shuffle(),
        history in some_happenings(),
    ) {
        let mut world = World::default();
        for happening in &history {
            happen(&mut world, happening, &mut waiting);
            prop_assert_eq!(world.clusters(), world.batch());
        }
        world.arrive(waiting);
        prop_assert_eq!(world.clusters(), world.batch());
        prop_assert_eq!(&world.shared, &shared_by_definition(&world.all_evidence()));
        for customer in world.customers() {
            let evidence = world.evidence_of(customer);
            let oldest = evidence.iter().filter_map(|id| world.rows[id].founded).min();
            prop_assert_eq!(oldest, Some(customer), "the oldest founded id is in force");
        }
    }

    #[test]
    fn undoing_a_merge_restores_clusters_and_ids(
        all in some_evidence(), left in any::<usize>(), right in any::<usize>(), by_split in any::<bool>(),
    ) {
        let mut world = World::default();
        for one in all {
            world.arrive(vec![one]);
        }
        let customers = world.customers();
        let (left, right) = (customers[left % customers.len()], customers[right % customers.len()]);
        prop_assume!(left != right);
        let before = world.customer_by_evidence();
        let moved = world.evidence_of(left);
        let merged = world.merge(left, right);
        prop_assert_eq!(merged.merges.len(), 1);
        prop_assert_ne!(&world.customer_by_evidence(), &before);
        let undone = if by_split {
            world.split(left.min(right), &moved)
        } else {
            world.retract_last_link()
        };
        prop_assert_eq!(undone.splits.len(), 1);
        prop_assert_eq!(undone.foundings, vec![]);
        prop_assert_eq!(world.customer_by_evidence(), before);
    }

    #[test]
    fn a_path_exists_exactly_inside_a_cluster_and_every_step_holds(
        all in some_evidence(), decisions in some_decisions(), from in 0..28_usize, to in 0..28_usize,
    ) {
        let (from, to) = (from % all.len(), to % all.len());
        prop_assume!(from != to);
        let shared = shared_by_definition(&all);
        let is_shared = |key: &ValueKey| shared.contains(key);
        let clusters = graph::partition(&all, is_shared, &decisions);
        let linked = clusters.clusters().iter().any(|c| c.contains(&id(from)) && c.contains(&id(to)));
        let path = graph::path(&all, is_shared, &decisions, id(from), id(to));
        prop_assert_eq!(linked, !path.is_empty());
        let mut at = id(from);
        for step in &path {
            prop_assert_eq!(step.from, at);
            at = step.to;
            let carries = |id, key| all.iter().any(|e| e.id == id && e.values.iter().any(|v| v.key == key));
            match step.by {
                Joint::Value(key) => prop_assert!(carries(step.from, key) && carries(step.to, key) && !is_shared(&key)),
                Joint::Decision(id) => prop_assert!(decisions.links.iter().any(|link| link.id == id)),
            }
        }
        prop_assert!(!linked || at == id(to));
    }
}

#[test]
fn a_hotline_stops_linking_and_its_customer_falls_apart() {
    let mut world = World::default();
    let hotline = (2, 0);
    world.arrive(vec![evidence(0, &[(0, 1), hotline]), evidence(1, &[(0, 2), hotline])]);
    assert_eq!(world.clusters().len(), 1, "two accounts with one phone may be one person");
    let plan = world.arrive(vec![evidence(2, &[(0, 3), hotline])]);
    assert_eq!(world.clusters().len(), 3, "three are not");
    assert_eq!((plan.splits.len(), plan.moves.len(), plan.foundings.len()), (1, 1, 2));
}

#[test]
fn an_explanation_names_the_chain_and_what_was_refused() {
    let all = [
        evidence(0, &[(2, 1), (3, 1)]),
        evidence(1, &[(3, 1), (4, 1)]),
        evidence(2, &[(4, 1), (4, 2), (2, 9)]),
        evidence(3, &[(4, 2), (2, 9)]),
    ];
    let separation = Separation { id: decision(7), left: vec![id(3)], right: vec![id(0), id(2)] };
    let decisions = Decisions { links: Vec::new(), separations: vec![separation] };
    let hotline = value(2, 9).key;
    let shared = |key: &ValueKey| *key == hotline;
    let by: Vec<_> =
        graph::path(&all, shared, &decisions, id(0), id(2)).iter().map(|s| s.by).collect();
    assert_eq!(by, [Joint::Value(value(3, 1).key), Joint::Value(value(4, 1).key)]);
    assert!(graph::path(&all, shared, &decisions, id(0), id(3)).is_empty());
    let refused = graph::refusals(&all[..3], &all[3..], shared, &decisions);
    let expected = [
        Refusal::Shared(hotline),
        Refusal::Overruled(value(4, 2).key),
        Refusal::Separated(decision(7)),
    ];
    assert_eq!(refused, expected);
}
