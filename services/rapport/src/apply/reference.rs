//! What the resources of one call say about each other.
//!
//! A service checks against what it has, so of a call that defines a trait and a scorecard which
//! reads it, the scorecard's check would miss the trait. It is told what the call defines
//! ([`Assumed`]) and judges the scorecard as if that were saved. What no single service can
//! see is judged here ([`contradictions`]).

use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, Value as Proto};

use super::Finding;
use super::plan::Target;
use super::resource::suggestion;
use super::source::{Set, Sourced};
use super::yaml::{Place, Value};

/// What a check takes as saved already.
#[derive(Debug, Default)]
pub(super) struct Assumed {
    /// Declarations of traits; one without a type is not declared (any more).
    traits: Vec<Proto>,
    teams: Vec<Proto>,
    /// Some of them are not known, so whoever refers to them cannot be judged yet.
    is_partial: bool,
}

impl Assumed {
    /// What these targets, and documents with other mistakes, define.
    pub(super) fn by(targets: &[Target<'_>], set: Option<&Set>) -> Self {
        let mut assumed = Self::default();
        for target in targets {
            match (target.kind.kind, target.message) {
                ("Trait", Some(message)) => {
                    assumed.traits.push(Proto::Message(message.clone()));
                }
                ("Trait", None) => assumed.traits.extend(undeclared(target)),
                ("Team", Some(_)) => assumed.teams.push(Proto::String(target.name.to_owned())),
                _ => {}
            }
        }
        for broken in set.into_iter().flat_map(|set| &set.broken) {
            let resource = &broken.resource;
            match resource.kind.kind {
                // Which type it is to have may be what is wrong.
                "Trait" if !resource.message.has_field_by_name("type") => {
                    assumed.is_partial = true;
                }
                "Trait" => assumed.traits.push(Proto::Message(resource.message.clone())),
                "Team" => assumed.teams.push(Proto::String(resource.name.clone())),
                _ => {}
            }
        }
        assumed.is_partial |= set.is_some_and(|set| set.is_partial);
        assumed
    }

    /// Whether a resource of this kind can be judged.
    pub(super) fn suffices_for(&self, kind: &str) -> bool {
        !self.is_partial || !matches!(kind, "Scorecard" | "ModelPolicy" | "Agent")
    }

    /// Tells a request that only checks.
    ///
    /// # Errors
    /// When the contracts do not know the field, which a test excludes.
    pub(super) fn tell(
        &self,
        kind: &str,
        request: &mut DynamicMessage,
    ) -> Result<(), prost_reflect::SetFieldError> {
        match kind {
            "Scorecard" | "ModelPolicy" => {
                request.try_set_field_by_name("assumed_traits", Proto::List(self.traits.clone()))
            }
            "Agent" => {
                request.try_set_field_by_name("assumed_teams", Proto::List(self.teams.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// A declaration of no type, which stands for none.
fn undeclared(target: &Target<'_>) -> Option<Proto> {
    let mut message = DynamicMessage::new(target.descriptor.clone()?);
    message.try_set_field_by_name("name", Proto::String(target.name.to_owned())).ok()?;
    Some(Proto::Message(message))
}

/// Everything that the documents contradict each other in.
pub(super) fn contradictions(set: &Set) -> Vec<Finding> {
    let all: Vec<&Sourced> = set.resources.iter().chain(&set.broken).collect();
    let mut findings = defined_twice(&all);
    for sourced in &all {
        if sourced.resource.kind.kind == "RoutingPolicy" {
            findings.extend(unknown_thresholds(sourced, &all));
        }
    }
    findings
}

/// What is defined more than once: of two, only the second would stay. Scorecards and models
/// share their names: both are scorers.
fn defined_twice(all: &[&Sourced]) -> Vec<Finding> {
    let mut first: BTreeMap<(&str, &str), &Sourced> = BTreeMap::new();
    let mut findings = Vec::new();
    for &sourced in all {
        let resource = &sourced.resource;
        let class = if is_scorer(sourced) { "scorer" } else { resource.kind.kind };
        let Some(other) = first.get(&(class, resource.name.as_str())) else {
            first.insert((class, resource.name.as_str()), sourced);
            continue;
        };
        let (kind, name) = (resource.kind.kind, &resource.name);
        let Place { line, column } = other.resource.node.place;
        let file = other.file.display();
        let message = if other.resource.kind.kind == kind {
            format!("{kind} {name} is defined before, at {file}:{line}:{column}")
        } else {
            let other = other.resource.kind.kind;
            format!("{kind} {name} has the name of the {other} at {file}:{line}:{column}")
        };
        findings.push(at(sourced, "name", message));
    }
    findings
}

fn is_scorer(sourced: &Sourced) -> bool {
    matches!(sourced.resource.kind.kind, "Scorecard" | "ModelPolicy")
}

/// Triggers on thresholds that their scorer, if it is defined here too, does not have. Routing
/// cannot know scorers, so a trigger that never fires would be found by nobody.
fn unknown_thresholds(policy: &Sourced, all: &[&Sourced]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let node = &policy.resource.node;
    let triggers = match node.get("triggers").map(|triggers| &triggers.value) {
        Some(Value::List(triggers)) => triggers.as_slice(),
        _ => &[],
    };
    let word = |path: &str| match node.at(path).map(|node| &node.value) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    for index in 0..triggers.len() {
        let path = format!("triggers[{index}].threshold");
        let Some(scorer) = word(&format!("triggers[{index}].scorer")) else { continue };
        let Some(threshold) = word(&path) else { continue };
        let defined = all.iter().find(|it| is_scorer(it) && it.resource.name == scorer);
        let Some(defined) = defined else { continue };
        let known = thresholds(defined);
        if known.iter().any(|name| name == threshold) {
            continue;
        }
        let hint = if known.is_empty() {
            String::new()
        } else {
            suggestion(threshold, &known.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let (kind, name) = (defined.resource.kind.kind, &policy.resource.name);
        let message = format!(
            "RoutingPolicy {name}: {path}: {kind} {scorer} has no threshold `{threshold}`{hint}"
        );
        findings.push(at(policy, &path, message));
    }
    findings
}

fn thresholds(scorer: &Sourced) -> Vec<String> {
    let Some(list) = scorer.resource.message.get_field_by_name("thresholds") else {
        return Vec::new();
    };
    let name = |threshold: &Proto| {
        let name = threshold.as_message()?.get_field_by_name("name")?;
        Some(name.as_str()?.to_owned())
    };
    list.as_list().into_iter().flatten().filter_map(name).collect()
}

fn at(sourced: &Sourced, path: &str, message: String) -> Finding {
    let place = Some(sourced.resource.node.place_of(path));
    Finding { file: Some(sourced.file.clone()), place, message }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use crate::apply::read_text;

    fn told(text: &str) -> Vec<String> {
        let pool = DescriptorPool::decode(contracts::DESCRIPTORS).expect("descriptors");
        match read_text("a.yaml".as_ref(), text, &pool) {
            Ok(_) => Vec::new(),
            Err(findings) => findings.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn what_is_defined_twice_is_said_with_both_places() {
        let text = "kind: Team\nname: a\n---\nkind: Team\nname: b\n---\nkind: Team\nname: a\n";
        assert_eq!(told(text), ["a.yaml:8:7: Team a is defined before, at a.yaml:1:1"]);
        let text = "kind: ModelPolicy\nname: a\n---\nkind: Scorecard\nname: a\n";
        assert_eq!(
            told(text),
            ["a.yaml:5:7: Scorecard a has the name of the ModelPolicy at a.yaml:1:1"]
        );
    }

    #[test]
    fn a_trigger_on_a_threshold_that_its_scorer_lacks_is_found() {
        let card = "kind: Scorecard\nname: lead\nthresholds: [{name: hot, value: 3}]\n---\n\
                    kind: RoutingPolicy\nname: default\ntriggers:\n";
        let fine = format!(
            "{card}  - {{scorer: lead, threshold: hot}}\n  - {{scorer: x, threshold: y}}\n"
        );
        assert!(told(&fine).is_empty(), "of another scorer nothing is known: {:?}", told(&fine));
        let wrong = format!("{card}  - {{scorer: lead, threshold: hto}}\n");
        let found = told(&wrong);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("a.yaml:8:31: "), "{found:?}");
        assert!(found[0].ends_with("has no threshold `hto`: did you mean `hot`?"), "{found:?}");
    }
}
