//! A store in memory that does with plans what the identity service does in a transaction.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{CustomerId, DecisionId, EvidenceId};
use linkage::Rules;
use linkage::graph::{
    self, Companion, Decisions, Evidence, Ledger, Link, Neighbourhood, Placed, Plan, Separation,
    Value, ValueKey,
};
use uuid::Uuid;

#[derive(Default)]
pub(crate) struct World {
    pub(crate) rows: BTreeMap<EvidenceId, Placed>,
    pub(crate) shared: BTreeSet<ValueKey>,
    pub(crate) decisions: Decisions,
    customers: BTreeMap<CustomerId, BTreeSet<EvidenceId>>,
    by_value: BTreeMap<ValueKey, BTreeSet<EvidenceId>>,
    companions: BTreeMap<ValueKey, Vec<Companion>>,
    ids: u128,
    rules: Rules,
}

impl World {
    pub(crate) fn arrive(&mut self, arriving: Vec<Evidence>) -> Plan {
        let arriving: Vec<Evidence> =
            arriving.into_iter().filter(|new| !self.rows.contains_key(&new.id)).collect();
        let touched: BTreeSet<ValueKey> =
            arriving.iter().flat_map(|new| keys(&new.values)).collect();
        let rows = touched.iter().flat_map(|key| self.companions.get(key)).flatten().cloned();
        let mut ledger = Ledger::new(rows, self.shared.iter().copied());
        for new in &arriving {
            ledger.observe(&new.values, &self.rules);
        }
        let plan = self.decide(BTreeSet::new(), arriving, &ledger, &self.decisions.clone());
        self.shared.extend(ledger.turned());
        for row in ledger.added() {
            self.companions.entry(row.value).or_default().push(row.clone());
        }
        plan
    }

    pub(crate) fn merge(&mut self, left: CustomerId, right: CustomerId) -> Plan {
        let before = self.decisions.clone();
        let (left_ids, right_ids) = (self.evidence_of(left), self.evidence_of(right));
        let retracted = self.decisions.opposing(&left_ids, &right_ids);
        let mut seeds = BTreeSet::from([left, right]);
        for separation in before.separations.iter().filter(|s| retracted.contains(&s.id)) {
            let named = separation.left.iter().chain(&separation.right);
            seeds.extend(named.map(|id| self.rows[id].customer));
        }
        self.decisions.separations.retain(|separation| !retracted.contains(&separation.id));
        let (id, order) = self.next_decision();
        let (left, right) = (self.founder(left), self.founder(right));
        self.decisions.links.push(Link { id, order, left, right });
        self.decide(seeds, Vec::new(), &self.stored_ledger(), &before)
    }

    pub(crate) fn split(&mut self, customer: CustomerId, moved: &[EvidenceId]) -> Plan {
        let stays = self.evidence_of(customer).into_iter().filter(|id| !moved.contains(id));
        let right: Vec<EvidenceId> = stays.collect();
        let (id, _) = self.next_decision();
        self.decisions.separations.push(Separation { id, left: moved.to_vec(), right });
        let before = self.decisions.clone();
        self.decide(BTreeSet::from([customer]), Vec::new(), &self.stored_ledger(), &before)
    }

    pub(crate) fn retract_last_link(&mut self) -> Plan {
        let before = self.decisions.clone();
        let link = self.decisions.links.pop().expect("a link");
        let seeds = BTreeSet::from([self.rows[&link.left].customer]);
        self.decide(seeds, Vec::new(), &self.stored_ledger(), &before)
    }

    /// Closes the neighbourhood under the decisions before and now, plans and applies.
    fn decide(
        &mut self,
        mut seeds: BTreeSet<CustomerId>,
        arriving: Vec<Evidence>,
        ledger: &Ledger,
        before: &Decisions,
    ) -> Plan {
        let mut near = Neighbourhood { placed: Vec::new(), arriving };
        loop {
            near.placed = seeds
                .iter()
                .flat_map(|id| self.customers[id].iter())
                .map(|id| self.rows[id].clone())
                .collect();
            let known = seeds.len();
            for decisions in [before, &self.decisions] {
                let near_ids: BTreeSet<EvidenceId> =
                    near.placed.iter().map(|placed| placed.evidence.id).collect();
                let near_decisions = about(decisions, &near_ids);
                let frontier = near.frontier(|key| ledger.was_shared(key), &near_decisions);
                let by_value = frontier.values.iter().filter_map(|key| self.by_value.get(key));
                for id in by_value.flatten().chain(&frontier.evidence) {
                    seeds.insert(self.rows[id].customer);
                }
            }
            if seeds.len() == known {
                break;
            }
        }
        let mut ids = self.ids;
        let plan = graph::plan(
            &near,
            |key| ledger.is_shared(key),
            &self.decisions,
            || {
                ids += 1;
                CustomerId::new(Uuid::from_u128(ids))
            },
        );
        self.ids = ids;
        self.apply(&plan, near.arriving);
        plan
    }

    fn apply(&mut self, plan: &Plan, arriving: Vec<Evidence>) {
        for (evidence, placement) in sorted(arriving).into_iter().zip(&plan.placements) {
            assert_eq!(evidence.id, placement.evidence);
            for key in keys(&evidence.values) {
                self.by_value.entry(key).or_default().insert(evidence.id);
            }
            self.customers.entry(placement.customer).or_default().insert(evidence.id);
            let placed = Placed { evidence, customer: placement.customer, founded: None };
            self.rows.insert(placement.evidence, placed);
        }
        for founding in &plan.foundings {
            let row = self.rows.get_mut(&founding.evidence).expect("a founder is stored");
            assert_eq!(row.founded.replace(founding.customer), None, "founds once");
        }
        for step in &plan.moves {
            let row = self.rows.get_mut(&step.evidence).expect("what moves is stored");
            assert_eq!(std::mem::replace(&mut row.customer, step.to), step.from);
            self.customers.entry(step.from).or_default().remove(&step.evidence);
            self.customers.entry(step.to).or_default().insert(step.evidence);
        }
        for merge in &plan.merges {
            assert!(self.customers[&merge.loser].is_empty(), "a merged customer is empty");
            assert_eq!(self.rows[&self.founder(merge.loser)].customer, merge.winner);
        }
        self.customers.retain(|_, evidence| !evidence.is_empty());
    }

    fn founder(&self, customer: CustomerId) -> EvidenceId {
        let founded = self.rows.values().find(|row| row.founded == Some(customer));
        founded.expect("every customer has a founder").evidence.id
    }

    fn stored_ledger(&self) -> Ledger {
        Ledger::new([], self.shared.iter().copied())
    }

    fn next_decision(&self) -> (DecisionId, i64) {
        let number = self.decisions.links.len() + self.decisions.separations.len();
        let unused = number as u128 * 1_000 + self.ids;
        (DecisionId::new(Uuid::from_u128(unused)), number as i64)
    }

    pub(crate) fn customers(&self) -> Vec<CustomerId> {
        self.customers.keys().copied().collect()
    }

    pub(crate) fn evidence_of(&self, customer: CustomerId) -> Vec<EvidenceId> {
        self.customers[&customer].iter().copied().collect()
    }

    pub(crate) fn all_evidence(&self) -> Vec<Evidence> {
        self.rows.values().map(|row| row.evidence.clone()).collect()
    }

    /// Clusters as they are stored, in the order of [`graph::Partition`].
    pub(crate) fn clusters(&self) -> Vec<Vec<EvidenceId>> {
        let mut clusters: Vec<_> =
            self.customers.values().map(|ids| ids.iter().copied().collect::<Vec<_>>()).collect();
        clusters.sort();
        clusters
    }

    pub(crate) fn customer_by_evidence(&self) -> BTreeMap<EvidenceId, CustomerId> {
        self.rows.iter().map(|(id, row)| (*id, row.customer)).collect()
    }

    /// Clusters by the definition, from everything at once.
    pub(crate) fn batch(&self) -> Vec<Vec<EvidenceId>> {
        let shared = |key: &ValueKey| self.shared.contains(key);
        graph::partition(&self.all_evidence(), shared, &self.decisions).clusters().to_vec()
    }
}

/// The decisions that name evidence of the neighbourhood, as a service would load them.
fn about(decisions: &Decisions, ids: &BTreeSet<EvidenceId>) -> Decisions {
    let mut near = decisions.clone();
    near.links.retain(|link| ids.contains(&link.left) || ids.contains(&link.right));
    near.separations
        .retain(|split| split.left.iter().chain(&split.right).any(|id| ids.contains(id)));
    near
}

fn keys(values: &[Value]) -> impl Iterator<Item = ValueKey> + '_ {
    values.iter().map(|value| value.key)
}

fn sorted(mut evidence: Vec<Evidence>) -> Vec<Evidence> {
    evidence.sort_by_key(|evidence| evidence.id);
    evidence.dedup_by_key(|evidence| evidence.id);
    evidence
}
