//! Clusters are a function of the evidence: the property behind everything else.

use std::collections::BTreeMap;

use kernel::EvidenceId;
use linkage::graph::{self, Decisions, Evidence, Ledger, Value, ValueKey};
use linkage::{EvidenceSet, Rules};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use crate::world::{Client, Raw, World};

/// Few values, so that they meet: accounts, cookies of a family's tablet, phones, mailboxes.
pub(crate) const UNIVERSE: [Raw<'static>; 16] = [
    ("user_id", "u1"),
    ("user_id", "u2"),
    ("user_id", "u3"),
    ("user_id", "u4"),
    ("member_no", "m1"),
    ("member_no", "m2"),
    ("anonymous_id", "tablet"),
    ("anonymous_id", "laptop"),
    ("anonymous_id", "mobile"),
    ("phone", "13800138001"),
    ("phone", "13800138002"),
    ("phone", "13800138003"),
    ("email", "li@example.cn"),
    ("email", "wang@example.cn"),
    ("email", "zhao@example.cn"),
    ("wechat_openid", "app:o1"),
];

pub(crate) type Sets = Vec<Vec<Raw<'static>>>;

/// Sets, another order of them, and into how many pieces the calls of that order are cut.
fn some_history() -> impl Strategy<Value = (Sets, Vec<usize>, Vec<usize>)> {
    let set = proptest::sample::subsequence(UNIVERSE.to_vec(), 1..=3);
    proptest::collection::vec(set, 1..=24).prop_flat_map(|sets| {
        let order: Vec<usize> = (0..sets.len()).collect();
        let cuts = proptest::collection::vec(1..=6_usize, sets.len());
        (Just(sets), Just(order).prop_shuffle(), cuts)
    })
}

/// Which sets are together: each by the first set of its customer.
async fn together(client: &mut Client, sets: &Sets) -> Vec<usize> {
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    let answers = client.batch(sets).await;
    let place = |(place, one): (usize, Result<_, String>)| {
        let one: contracts::identity::v1::Resolution = one.unwrap();
        *first.entry(one.customer_id).or_insert(place)
    };
    answers.into_iter().enumerate().map(place).collect()
}

/// The same by definition: the engine on everything at once.
fn by_definition(sets: &Sets) -> Vec<usize> {
    const KEY: [u8; 32] = [7; 32];
    let rules = Rules::default();
    let read = |raw: &Vec<Raw<'static>>| {
        let (set, _) = EvidenceSet::from_raw(raw, &rules).unwrap();
        let value = |one: &linkage::Identifier| Value {
            namespace: one.namespace().clone(),
            key: one.value_key(&KEY),
        };
        Evidence {
            id: set.evidence_id(&KEY),
            values: set.identifiers().iter().map(value).collect(),
        }
    };
    let all: Vec<Evidence> = sets.iter().map(read).collect();
    let mut ledger = Ledger::default();
    for one in &all {
        ledger.observe(&one.values, &rules);
    }
    let shared = |key: &ValueKey| ledger.is_shared(key);
    let partition = graph::partition(&all, shared, &Decisions::default());
    let mut cluster_of: BTreeMap<EvidenceId, usize> = BTreeMap::new();
    for (number, cluster) in partition.clusters().iter().enumerate() {
        cluster_of.extend(cluster.iter().map(|id| (*id, number)));
    }
    let mut first: BTreeMap<usize, usize> = BTreeMap::new();
    let place =
        |(place, one): (usize, &Evidence)| *first.entry(cluster_of[&one.id]).or_insert(place);
    all.iter().enumerate().map(place).collect()
}

/// Four callers at once, each with its share of the calls.
async fn resolve_at_once(client: &Client, sets: &Sets, order: &[usize], cuts: &[usize]) {
    let mut calls: Vec<Sets> = Vec::new();
    let mut rest = order;
    for cut in cuts {
        let (call, after) = rest.split_at((*cut).min(rest.len()));
        if call.is_empty() {
            break;
        }
        calls.push(call.iter().map(|place| sets[*place].clone()).collect());
        rest = after;
    }
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..4 {
        let own: Vec<Sets> = calls.iter().skip(number).step_by(4).cloned().collect();
        let mut client = client.clone();
        callers.spawn(async move {
            for call in own {
                for answer in client.batch(&call).await {
                    answer.unwrap();
                }
            }
        });
    }
    callers.join_all().await;
}

#[test]
fn any_interleaving_ends_in_the_partition_of_a_sequential_run() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let config =
        Config { cases: 120, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&some_history(), |(sets, order, cuts)| {
        runtime.block_on(async {
            let mut sequential = world.tenant();
            for set in &sets {
                sequential.resolve(set).await;
            }
            let mut concurrent = world.tenant();
            resolve_at_once(&concurrent, &sets, &order, &cuts).await;
            let expected = by_definition(&sets);
            prop_assert_eq!(&together(&mut sequential, &sets).await, &expected, "sequential");
            prop_assert_eq!(&together(&mut concurrent, &sets).await, &expected, "concurrent");
            Ok(())
        })
    });
    outcome.unwrap();
}

#[test]
fn a_merge_that_is_split_again_leaves_map_and_ids_as_they_were() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let config =
        Config { cases: 40, max_shrink_iters: 30, failure_persistence: None, ..Config::default() };
    let some = (some_history(), any::<prop::sample::Index>(), any::<prop::sample::Index>());
    let outcome = TestRunner::new(config).run(&some, |((sets, ..), left, right)| {
        runtime.block_on(async {
            let mut client = world.tenant();
            for set in &sets {
                client.resolve(set).await;
            }
            let before = client.map(&sets).await;
            let mut customers: Vec<&String> = before.values().map(|(id, _)| id).collect();
            customers.sort();
            customers.dedup();
            let (left, right) = (left.get(&customers), right.get(&customers));
            if left == right {
                return Ok(());
            }
            let merged = client.merge(left, right).await.unwrap();
            prop_assert_eq!(&merged.customer_id, *left.min(right), "the older survives");
            let younger = *left.max(right);
            let own = before.iter().filter(|(_, (customer, _))| customer == younger);
            let moved: Vec<&str> = own.map(|(evidence, _)| evidence.as_str()).collect();
            let split = client.split(&merged.customer_id, &moved).await.unwrap();
            prop_assert_eq!(&split.split_customer_id, younger);
            prop_assert_eq!(&split.customer_id, *left.min(right));
            let after = client.map(&sets).await;
            for (evidence, (customer, version)) in &before {
                let (customer_after, version_after) = &after[evidence];
                prop_assert_eq!(customer, customer_after);
                let moves = if moved.contains(&evidence.as_str()) { 2 } else { 0 };
                prop_assert_eq!(version + moves, *version_after, "map versions count moves");
            }
            Ok(())
        })
    });
    outcome.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_were_ever_given_out_lead_to_one_customer() {
    let world = World::new().await;
    let mut client = world.tenant();
    let mut given: Vec<String> = Vec::new();
    for number in 0..6 {
        let user = format!("u{number}");
        given.push(client.who(&[("user_id", user.as_str())]).await);
    }
    for pair in given.windows(2) {
        client.merge(&pair[0], &pair[1]).await.unwrap();
    }
    for id in &given {
        let customer = client.customer(id).await.unwrap();
        assert_eq!(customer.customer_id, given[0], "the oldest survives");
        assert_eq!(customer.merged_customer_ids, given[1..]);
        assert_eq!(customer.evidence_count, 6);
    }
    let absent = client.customer(&Uuid::now_v7().to_string()).await.unwrap_err();
    assert_eq!(absent.code(), tonic::Code::NotFound);
}
