//! How demands are routed, as it is configured.

use kernel::Violations;
use predicate::Predicate;
use serde::{Deserialize, Serialize};

use super::eligibility;

/// How long an agent may think unless the policy says otherwise.
pub(crate) const DEFAULT_OFFER_TIMEOUT_US: i64 = 60_000_000;
const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
const MAX_TRIGGERS: usize = 64;
const MAX_WEIGHT: f64 = 1_000_000.0;

/// The policy of demands that name none. It exists even if nobody saved it.
pub(crate) const DEFAULT: &str = "default";

/// What makes one eligible agent better than another; each multiplies a part from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Weights {
    pub(crate) spare_capacity: f64,
    pub(crate) skill_level: f64,
    pub(crate) idle_time: f64,
    pub(crate) same_agent: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { spare_capacity: 1.0, skill_level: 0.0, idle_time: 0.0, same_agent: 0.0 }
    }
}

/// Creates a demand when a score crosses a threshold upwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trigger {
    pub(crate) scorer: String,
    pub(crate) threshold: String,
    pub(crate) demand_kind: String,
    pub(crate) priority: i16,
}

/// A routing policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// CEL; empty means every agent.
    pub(crate) eligibility: String,
    /// None means the default weights.
    pub(crate) weights: Option<Weights>,
    /// None means the default.
    pub(crate) offer_timeout_us: Option<i64>,
    pub(crate) sla_us: Option<i64>,
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) description: String,
}

impl Policy {
    /// What holds for `default` when nobody saved it.
    pub(crate) fn built_in() -> Self {
        Self {
            eligibility: String::new(),
            weights: None,
            offer_timeout_us: None,
            sla_us: None,
            triggers: Vec::new(),
            description: String::new(),
        }
    }

    /// Everything that is wrong with it.
    pub(crate) fn violations(&self) -> Violations {
        let mut violations = Violations::new();
        if let Err(problems) = eligibility::compile(&self.eligibility) {
            for problem in predicate::violations("eligibility", &problems) {
                violations.add(problem.field, problem.description);
            }
        }
        if let Some(weights) = &self.weights {
            for (name, weight) in weights.named() {
                if !(0.0..=MAX_WEIGHT).contains(&weight) {
                    violations.add(format!("weights.{name}"), "must be 0 to 1,000,000");
                }
            }
        }
        if self.offer_timeout_us.is_some_and(|time| !(SECOND_US..=DAY_US).contains(&time)) {
            violations.add("offer_timeout", "must be 1 s to 1 day");
        }
        if self.sla_us.is_some_and(|time| !(SECOND_US..=366 * DAY_US).contains(&time)) {
            violations.add("sla", "must be 1 s to 366 days");
        }
        if self.description.len() > 2_000 {
            violations.add("description", "must be at most 2,000 bytes");
        }
        if self.triggers.len() > MAX_TRIGGERS {
            violations.add("triggers", format!("must be at most {MAX_TRIGGERS}"));
        }
        for (position, trigger) in self.triggers.iter().enumerate() {
            violations.add_below(&format!("triggers[{position}]"), trigger.violations());
        }
        violations
    }
}

impl Weights {
    /// In the order in which parts are summed.
    pub(crate) const fn named(&self) -> [(&'static str, f64); 4] {
        [
            ("spare_capacity", self.spare_capacity),
            ("skill_level", self.skill_level),
            ("idle_time", self.idle_time),
            ("same_agent", self.same_agent),
        ]
    }
}

impl Trigger {
    fn violations(&self) -> Violations {
        let mut violations = Violations::new();
        let names = [
            ("scorer", &self.scorer),
            ("threshold", &self.threshold),
            ("demand_kind", &self.demand_kind),
        ];
        for (field, name) in names {
            if !kernel::id::is_resource_name(name) {
                violations.add(field, kernel::id::NotAName.to_string());
            }
        }
        if !(-100..=100).contains(&self.priority) {
            violations.add("priority", "must be -100 to 100");
        }
        violations
    }
}

/// A policy ready to be asked.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    pub(crate) version: i64,
    pub(crate) eligibility: Option<Predicate>,
    pub(crate) weights: Weights,
    pub(crate) offer_timeout_us: i64,
    pub(crate) sla_us: Option<i64>,
    pub(crate) triggers: Vec<Trigger>,
}

impl Compiled {
    /// Compiles a policy that was checked when it was saved. One that this release no longer
    /// accepts is eligible for nobody: its demands wait, and the log says why.
    pub(crate) fn of(version: i64, policy: &Policy) -> Result<Self, Vec<predicate::Problem>> {
        Ok(Self {
            version,
            eligibility: eligibility::compile(&policy.eligibility)?,
            weights: policy.weights.unwrap_or_default(),
            offer_timeout_us: policy.offer_timeout_us.unwrap_or(DEFAULT_OFFER_TIMEOUT_US),
            sla_us: policy.sla_us,
            triggers: policy.triggers.clone(),
        })
    }
}
