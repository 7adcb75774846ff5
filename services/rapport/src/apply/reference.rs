//! What the resources of one call say about each other.
//!
//! A service checks against what it has, so of a call that defines a trait and a scorecard which
//! reads it, the scorecard's check misses the trait. Such a violation is left for the saving,
//! which goes in the order of kinds. The rule is narrow: it must be the words for a missing
//! name, at a field that holds such names, and the name must be one that this call defines.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::Value as Proto;

use super::resource::Resource;
use super::yaml::Value;
use super::{Finding, Sourced};

/// The names that a call defines and others may refer to.
#[derive(Debug, Default)]
pub(super) struct Defined {
    teams: BTreeSet<String>,
    /// Without the personal ones: no scorer may read those.
    traits: BTreeSet<String>,
}

impl Defined {
    pub(super) fn by<'a>(resources: impl Iterator<Item = &'a Resource>) -> Self {
        let mut defined = Self::default();
        for resource in resources {
            let is_personal = || {
                let personal = resource.message.get_field_by_name("personal");
                personal.is_some_and(|value| *value == Proto::Bool(true))
            };
            match resource.kind.kind {
                "Team" => defined.teams.insert(resource.name.clone()),
                "Trait" if !is_personal() => defined.traits.insert(resource.name.clone()),
                _ => false,
            };
        }
        defined
    }

    /// Whether a violation says no more than that a name is missing which the call defines.
    pub(super) fn is_missed(&self, resource: &Resource, path: &str, description: &str) -> bool {
        let written = match resource.node.at(path).map(|node| &node.value) {
            Some(Value::Text(text)) => text.as_str(),
            _ => return false,
        };
        match resource.kind.kind {
            "Agent" => {
                path == "team" && description == "does not exist" && self.teams.contains(written)
            }
            "Scorecard" | "ModelPolicy" => {
                let missed = if description.starts_with("is no feature") {
                    Some(written)
                } else {
                    unknown_field(description)
                };
                let attribute = missed.and_then(|name| name.strip_prefix("traits."));
                attribute.is_some_and(|name| self.traits.contains(name))
            }
            _ => false,
        }
    }
}

/// The field that a predicate does not know: ``1:1: unknown field `traits.plan`; …``.
fn unknown_field(description: &str) -> Option<&str> {
    let (_, rest) = description.split_once("unknown field `")?;
    rest.split_once('`').map(|(name, _)| name)
}

/// What a call defines more than once: of two, only the second would stay.
pub(super) fn defined_twice(resources: &[Sourced]) -> Vec<Finding> {
    let mut first: BTreeMap<(&str, &str), &Sourced> = BTreeMap::new();
    let mut findings = Vec::new();
    for sourced in resources {
        let resource = &sourced.resource;
        // Those without a name are the only one of their kind, or refused for lack of it.
        let key = (resource.kind.kind, resource.name.as_str());
        let Some(other) = first.get(&key) else {
            first.insert(key, sourced);
            continue;
        };
        let line = other.resource.node.place.line;
        findings.push(Finding {
            file: Some(sourced.file.clone()),
            place: Some(resource.node.place),
            message: format!(
                "{} {} is defined before, in {} line {line}",
                key.0,
                key.1,
                other.file.display()
            ),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;
    use crate::apply::read_text;

    #[test]
    fn only_a_missing_name_of_the_same_call_is_left_for_the_saving() {
        let text = "kind: Trait\nname: plan\ntype: string\n---\n\
                    kind: Trait\nname: phone\ntype: string\npersonal: true\n---\n\
                    kind: ModelPolicy\nname: m\nfeatures: [traits.plan, traits.phone, traits.x]\n";
        let pool = DescriptorPool::decode(contracts::DESCRIPTORS).expect("descriptors");
        let resources = read_text("a.yaml".as_ref(), text, &pool).expect("valid");
        let defined = Defined::by(resources.iter().map(|sourced| &sourced.resource));
        let model = &resources[2].resource;
        let missed = |path: &str, text: &str| defined.is_missed(model, path, text);
        assert!(missed("features[0]", "is no feature: it must be declared"));
        assert!(!missed("features[0]", "is a duplicate"));
        assert!(!missed("features[1]", "is no feature: it must be declared"), "it is personal");
        assert!(!missed("features[2]", "is no feature; did you mean `traits.plan`?"));
        assert!(!missed("features[7]", "is no feature: it must be declared"));
    }

    #[test]
    fn what_is_defined_twice_is_said_with_both_places() {
        let text = "kind: Team\nname: a\n---\nkind: Team\nname: b\n---\nkind: Team\nname: a\n";
        let pool = DescriptorPool::decode(contracts::DESCRIPTORS).expect("descriptors");
        let resources = read_text("a.yaml".as_ref(), text, &pool).expect("valid");
        let told: Vec<String> = defined_twice(&resources).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["a.yaml:7:1: Team a is defined before, in a.yaml line 1"]);
    }
}
