//! After any history of resolves, merges and splits, what is stored is what the engine makes of
//! the whole: all evidence, all shared values, all decisions in force, at once.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{DecisionId, EvidenceId, TenantId};
use linkage::graph::{self, Decisions, Evidence, Link, Separation, Value, ValueKey};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use crate::interleaving::{Sets, UNIVERSE};
use crate::world::{Client, World};

#[derive(Debug, Clone)]
enum Happening {
    /// Two calls at the same time.
    Resolve(Sets, Sets),
    Merge(Index, Index),
    /// Each piece of evidence of the customer leaves or stays.
    Split(Index, Vec<bool>),
}

fn some_sets() -> impl Strategy<Value = Sets> {
    let set = proptest::sample::subsequence(UNIVERSE.to_vec(), 1..=3);
    proptest::collection::vec(set, 1..=4)
}

fn some_history() -> impl Strategy<Value = Vec<Happening>> {
    let leaves = proptest::collection::vec(any::<bool>(), 12);
    let happening = prop_oneof![
        4 => (some_sets(), some_sets()).prop_map(|(left, right)| Happening::Resolve(left, right)),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(left, right)| Happening::Merge(left, right)),
        2 => (any::<Index>(), leaves).prop_map(|(one, leaves)| Happening::Split(one, leaves)),
    ];
    proptest::collection::vec(happening, 1..=12)
}

const EVIDENCE: &str = "select evidence_id, customer_id, founded_customer_id, value_refs
    from evidence where tenant_id = $1";
const SHARED: &str = "select value_key from identifier where tenant_id = $1 and shared";
const DECISIONS: &str = "select decision_id, kind, position, evidence_id, side
    from decision_evidence d join decision using (tenant_id, decision_id, kind)
    where tenant_id = $1 order by position, side, evidence_id";

/// Everything that is stored of a tenant.
struct Stored {
    evidence: Vec<Evidence>,
    shared: BTreeSet<ValueKey>,
    decisions: Decisions,
    clusters: BTreeMap<Uuid, BTreeSet<EvidenceId>>,
    founded: BTreeMap<Uuid, EvidenceId>,
}

fn values(mut bytes: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while let Some((key, rest)) = bytes.split_first_chunk::<16>() {
        let (name, rest) = rest[1..].split_at(usize::from(rest[0]));
        let namespace = std::str::from_utf8(name).unwrap().parse().unwrap();
        values.push(Value { namespace, key: ValueKey::new(*key) });
        bytes = rest;
    }
    values
}

async fn stored(world: &World, tenant: TenantId) -> Stored {
    let pool = world.database.pool();
    let rows: Vec<(Uuid, Uuid, Option<Uuid>, Vec<u8>)> =
        sqlx::query_as(EVIDENCE).bind(tenant.uuid()).fetch_all(pool).await.unwrap();
    let mut stored = Stored {
        evidence: Vec::new(),
        shared: BTreeSet::new(),
        decisions: Decisions::default(),
        clusters: BTreeMap::new(),
        founded: BTreeMap::new(),
    };
    for (id, customer, founded, refs) in rows {
        let id = EvidenceId::new(id);
        stored.evidence.push(Evidence { id, values: values(&refs) });
        stored.clusters.entry(customer).or_default().insert(id);
        if let Some(founded) = founded {
            assert_eq!(stored.founded.insert(founded, id), None, "an id has one founder");
        }
    }
    let shared: Vec<Uuid> =
        sqlx::query_scalar(SHARED).bind(tenant.uuid()).fetch_all(pool).await.unwrap();
    stored.shared = shared.iter().map(|key| ValueKey::new(*key.as_bytes())).collect();
    let rows: Vec<(Uuid, i16, i64, Uuid, i16)> =
        sqlx::query_as(DECISIONS).bind(tenant.uuid()).fetch_all(pool).await.unwrap();
    let mut sides: BTreeMap<(i64, Uuid, i16), [Vec<EvidenceId>; 2]> = BTreeMap::new();
    for (id, kind, order, evidence, side) in rows {
        let both = sides.entry((order, id, kind)).or_default();
        both[side as usize].push(EvidenceId::new(evidence));
    }
    for ((order, id, kind), [left, right]) in sides {
        let id = DecisionId::new(id);
        if kind == 1 {
            let (left, right) = (left[0], right[0]);
            stored.decisions.links.push(Link { id, order, left, right });
        } else {
            stored.decisions.separations.push(Separation { id, left, right });
        }
    }
    stored
}

impl Stored {
    fn check(&self) -> Result<(), TestCaseError> {
        let shared = |key: &ValueKey| self.shared.contains(key);
        let whole = graph::partition(&self.evidence, shared, &self.decisions);
        let mut found: Vec<Vec<EvidenceId>> =
            self.clusters.values().map(|ids| ids.iter().copied().collect()).collect();
        found.sort();
        prop_assert_eq!(&found, whole.clusters());
        for (customer, members) in &self.clusters {
            let own = self.founded.iter().filter(|(_, founder)| members.contains(founder));
            let oldest = own.map(|(id, _)| *id).min();
            prop_assert_eq!(oldest, Some(*customer), "the oldest founded id is in force");
        }
        Ok(())
    }

    fn customer(&self, index: Index) -> (String, Vec<String>) {
        let (customer, members) =
            self.clusters.iter().nth(index.index(self.clusters.len())).unwrap();
        (customer.to_string(), members.iter().map(ToString::to_string).collect())
    }
}

async fn resolve(mut client: Client, sets: Sets) {
    for answer in client.batch(&sets).await {
        answer.unwrap();
    }
}

async fn happen(
    world: &World,
    tenant: TenantId,
    happening: Happening,
) -> Result<(), TestCaseError> {
    let mut client = world.client(tenant);
    match happening {
        Happening::Resolve(left, right) => {
            tokio::join!(resolve(client.clone(), left), resolve(client, right));
        }
        Happening::Merge(left, right) => {
            let now = stored(world, tenant).await;
            if now.clusters.len() < 2 {
                return Ok(());
            }
            let ((left, _), (right, _)) = (now.customer(left), now.customer(right));
            if left != right {
                let merged = client.merge(&left, &right).await.unwrap();
                // Older than both where lifting a split lets a third one join.
                prop_assert!(&merged.customer_id <= (&left).min(&right), "the oldest survives");
                for id in [&left, &right] {
                    let found = client.customer(id).await.unwrap();
                    prop_assert_eq!(&found.customer_id, &merged.customer_id);
                }
            }
        }
        Happening::Split(one, leaves) => {
            let now = stored(world, tenant).await;
            if now.clusters.is_empty() {
                return Ok(());
            }
            let (customer, members) = now.customer(one);
            let leaves = leaves.iter().chain(std::iter::repeat(&false));
            let moved: Vec<&str> = members
                .iter()
                .zip(leaves)
                .filter(|(_, leaves)| **leaves)
                .map(|(id, _)| id.as_str())
                .collect();
            if moved.is_empty() || moved.len() == members.len() {
                return Ok(());
            }
            let split = client.split(&customer, &moved).await.unwrap();
            prop_assert_ne!(&split.customer_id, &split.split_customer_id);
            let own = client.customer(&split.split_customer_id).await.unwrap();
            prop_assert_eq!(own.customer_id, split.split_customer_id, "in force");
            let found: BTreeSet<&str> =
                own.evidence.iter().map(|one| one.evidence_id.as_str()).collect();
            prop_assert!(moved.iter().all(|id| found.contains(id)), "together");
        }
    }
    Ok(())
}

#[test]
fn what_is_stored_is_the_partition_of_the_whole_after_any_history() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let config = Config {
        cases: 100,
        max_shrink_iters: 100,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&some_history(), |history| {
        runtime.block_on(async {
            let tenant = TenantId::new(Uuid::new_v4());
            for happening in history {
                happen(&world, tenant, happening).await?;
                stored(&world, tenant).await.check()?;
            }
            Ok(())
        })
    });
    outcome.unwrap();
}
