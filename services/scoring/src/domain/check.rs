//! Everything that is wrong with a scorecard or a model policy, at once.

use std::collections::BTreeSet;

use kernel::Violations;
use predicate::{Predicate, Schema};

use super::features::Reading;
use super::spec::{
    GroupSpec, MAX_FEATURES, MAX_POINTS, MAX_RULES, MAX_THRESHOLDS, ModelSpec, RuleSpec,
    ScorecardSpec, ThresholdSpec,
};
use super::traits::TraitSchema;

const MAX_GROUPS: usize = 50;
const MAX_DEMAND_KINDS: usize = 64;
const MAX_DESCRIPTION_BYTES: usize = 2_000;
const MAX_NAME_BYTES: usize = 63;
/// What a model takes.
const MAX_FEATURE_BYTES: usize = 128;
/// One minute to a hundred years.
const HALF_LIFE_US: std::ops::RangeInclusive<i64> = 60_000_000..=3_155_760_000_000_000;

impl ScorecardSpec {
    /// All violations, with paths below the scorecard.
    pub(crate) fn check(&self, traits: &TraitSchema) -> Violations {
        let mut violations = Violations::new();
        check_points("base_points", self.base_points, &mut violations);
        if self.rules.len() > MAX_RULES {
            violations.add("rules", format!("must have at most {MAX_RULES} items"));
        }
        if self.groups.len() > MAX_GROUPS {
            violations.add("groups", format!("must have at most {MAX_GROUPS} items"));
        }
        let mut names = BTreeSet::new();
        for (position, group) in self.groups.iter().enumerate() {
            let mut own = group.check();
            unique(&mut names, &group.name, &mut own);
            violations.add_below(&format!("groups[{position}]"), own);
        }
        let schema = traits.fields();
        let mut rule_names = BTreeSet::new();
        for (position, rule) in self.rules.iter().enumerate() {
            let mut own = rule.check((traits, &schema), &names);
            unique(&mut rule_names, &rule.name, &mut own);
            violations.add_below(&format!("rules[{position}]"), own);
        }
        check_thresholds(&self.thresholds, &mut violations);
        check_description(&self.description, &mut violations);
        violations
    }
}

impl RuleSpec {
    fn check(
        &self,
        (traits, schema): (&TraitSchema, &Schema),
        groups: &BTreeSet<&str>,
    ) -> Violations {
        let mut violations = Violations::new();
        check_name("name", &self.name, &mut violations);
        check_points("points", self.points, &mut violations);
        if let Err(problems) = Predicate::compile(&self.when, schema) {
            for problem in problems {
                violations.add("when", problem.to_string());
            }
        }
        if !self.group.is_empty() && !groups.contains(self.group.as_str()) {
            violations.add("group", "must be the name of one of the groups");
        }
        if let Some(half_life_us) = self.half_life_us {
            if !HALF_LIFE_US.contains(&half_life_us) {
                violations.add("half_life", "must be between a minute and a hundred years");
            }
            check_decay_since(&self.decay_since, traits, &mut violations);
        } else if !self.decay_since.is_empty() {
            violations.add("half_life", "must be set together with decay_since");
        }
        violations
    }
}

fn check_decay_since(name: &str, traits: &TraitSchema, violations: &mut Violations) {
    if name.is_empty() {
        violations.add("decay_since", "must be set together with half_life");
    } else if let Some(problem) = not_a_feature(name, traits) {
        violations.add("decay_since", problem);
    } else if !name.rsplit('.').next().is_some_and(|last| last.starts_with("days_since")) {
        violations
            .add("decay_since", "must count days since something, e.g. days_since_last_event");
    }
}

/// What is wrong with a feature's name, with what was probably meant.
fn not_a_feature(name: &str, traits: &TraitSchema) -> Option<String> {
    if Reading::parse(name, traits).is_some() {
        return None;
    }
    let problems = Predicate::compile(name, &traits.fields()).err().unwrap_or_default();
    let suggestion = problems.into_iter().find_map(|problem| problem.suggestion);
    Some(match suggestion {
        Some(suggestion) => format!("is no feature; did you mean `{suggestion}`?"),
        None => "is no feature: it must be declared, not personal, and written like \
                 orders.count, traits.city or events[\"Name\"].last_7_days"
            .to_owned(),
    })
}

impl GroupSpec {
    fn check(&self) -> Violations {
        let mut violations = Violations::new();
        check_name("name", &self.name, &mut violations);
        for (field, points) in [("max_points", self.max_points), ("min_points", self.min_points)] {
            if let Some(points) = points {
                check_points(field, points, &mut violations);
            }
        }
        match (self.min_points, self.max_points) {
            (None, None) => violations.add("max_points", "must be set, or min_points"),
            (Some(min), Some(max)) if min > max => {
                violations.add("min_points", "must not be more than max_points");
            }
            _ => {}
        }
        violations
    }
}

impl ModelSpec {
    /// All violations, with paths below the policy.
    pub(crate) fn check(&self, traits: &TraitSchema) -> Violations {
        let mut violations = Violations::new();
        if self.features.is_empty() || self.features.len() > MAX_FEATURES {
            violations.add("features", format!("must have 1 to {MAX_FEATURES} items"));
        }
        let mut names = BTreeSet::new();
        for (position, feature) in self.features.iter().enumerate() {
            let field = format!("features[{position}]");
            if let Some(problem) = not_a_feature(feature, traits) {
                violations.add(&field, problem);
            } else if feature.len() > MAX_FEATURE_BYTES {
                violations.add(&field, format!("must have at most {MAX_FEATURE_BYTES} bytes"));
            }
            if !names.insert(feature) {
                violations.add(field, "is a duplicate");
            }
        }
        if self.demand_kinds.len() > MAX_DEMAND_KINDS {
            violations.add("demand_kinds", format!("must have at most {MAX_DEMAND_KINDS} items"));
        }
        for (position, kind) in self.demand_kinds.iter().enumerate() {
            check_name(&format!("demand_kinds[{position}]"), kind, &mut violations);
        }
        check_thresholds(&self.thresholds, &mut violations);
        check_description(&self.description, &mut violations);
        violations
    }
}

fn check_thresholds(thresholds: &[ThresholdSpec], violations: &mut Violations) {
    if thresholds.len() > MAX_THRESHOLDS {
        violations.add("thresholds", format!("must have at most {MAX_THRESHOLDS} items"));
    }
    let mut names = BTreeSet::new();
    for (position, threshold) in thresholds.iter().enumerate() {
        let mut own = Violations::new();
        check_name("name", &threshold.name, &mut own);
        unique(&mut names, &threshold.name, &mut own);
        if !threshold.value.is_finite() {
            own.add("value", "must be a finite number");
        }
        violations.add_below(&format!("thresholds[{position}]"), own);
    }
}

fn unique<'a>(names: &mut BTreeSet<&'a str>, name: &'a str, violations: &mut Violations) {
    if !names.insert(name) && !name.is_empty() {
        violations.add("name", "is a duplicate");
    }
}

fn check_name(field: &str, name: &str, violations: &mut Violations) {
    let control = name.chars().any(char::is_control);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || control || name.starts_with('(') {
        violations.add(
            field,
            format!(
                "must have 1 to {MAX_NAME_BYTES} bytes without control characters, not begin with ("
            ),
        );
    }
}

fn check_points(field: &str, points: f64, violations: &mut Violations) {
    // NaN is in no range.
    if !(-MAX_POINTS..=MAX_POINTS).contains(&points) {
        violations.add(field, format!("must be between -{MAX_POINTS} and {MAX_POINTS}"));
    }
}

fn check_description(description: &str, violations: &mut Violations) {
    if description.len() > MAX_DESCRIPTION_BYTES {
        violations.add("description", format!("must have at most {MAX_DESCRIPTION_BYTES} bytes"));
    }
}
