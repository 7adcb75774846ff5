//! Which of the eligible agents is best: a weighted sum whose parts are kept.

use serde::{Deserialize, Serialize};

use super::policy::Weights;

/// One summand of a rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) amount: f64,
}

/// An agent as a decision saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) agent: String,
    /// Empty if eligible.
    pub(crate) excluded_by: String,
    /// The sum of the parts, in their order.
    pub(crate) rank: f64,
    pub(crate) parts: Vec<Part>,
}

impl Candidate {
    pub(crate) fn excluded(agent: &str, by: &str) -> Self {
        Self { agent: agent.to_owned(), excluded_by: by.to_owned(), rank: 0.0, parts: Vec::new() }
    }
}

/// What is weighed; each is 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    pub(crate) spare_capacity: f64,
    pub(crate) skill_level: f64,
    pub(crate) idle_time: f64,
    pub(crate) same_agent: f64,
}

/// The rank of an eligible agent. Weights of zero leave no part.
pub(crate) fn rank(agent: &str, weights: &Weights, parts: Parts) -> Candidate {
    let values = [parts.spare_capacity, parts.skill_level, parts.idle_time, parts.same_agent];
    let mut kept = Vec::new();
    let mut sum = 0.0;
    for ((name, weight), value) in weights.named().into_iter().zip(values) {
        if weight != 0.0 {
            let amount = weight * value;
            sum += amount;
            kept.push(Part { name: name.to_owned(), amount });
        }
    }
    Candidate { agent: agent.to_owned(), excluded_by: String::new(), rank: sum, parts: kept }
}

/// Best first; equals by name, so that the same inputs give the same choice.
pub(crate) fn sort(candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| b.rank.total_cmp(&a.rank).then_with(|| a.agent.cmp(&b.agent)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_parts_sum_to_the_rank_exactly(
            weights in prop::array::uniform4(0.0..1e6_f64), values in prop::array::uniform4(0.0..=1.0_f64),
        ) {
            let [spare_capacity, skill_level, idle_time, same_agent] = weights;
            let weights = Weights { spare_capacity, skill_level, idle_time, same_agent };
            let [spare_capacity, skill_level, idle_time, same_agent] = values;
            let parts = Parts { spare_capacity, skill_level, idle_time, same_agent };
            let candidate = rank("ann", &weights, parts);
            let sum = candidate.parts.iter().fold(0.0, |sum, part| sum + part.amount);
            prop_assert_eq!(sum.to_bits(), candidate.rank.to_bits());
        }
    }

    #[test]
    fn equals_are_ordered_by_name() {
        let weights = Weights::default();
        let parts =
            Parts { spare_capacity: 0.5, skill_level: 1.0, idle_time: 0.0, same_agent: 0.0 };
        let mut candidates = ["cid", "ann", "bob"].map(|agent| rank(agent, &weights, parts));
        sort(&mut candidates);
        assert_eq!(candidates.map(|candidate| candidate.agent), ["ann", "bob", "cid"]);
    }
}
