//! A tenant's rules: how identifiers are read and when they link.

use std::collections::{BTreeMap, HashSet};

use kernel::Violations;
use rlibphonenumber::Region;

use crate::normalise::{self, Reading};
use crate::{Identifier, IgnoreReason, Namespace};

/// How many companions a value may have when the rules do not say.
pub const DEFAULT_MAX_COMPANIONS: u8 = 2;
/// More would make every hub expensive before it is found out.
pub const MAX_MAX_COMPANIONS: u8 = 50;
/// How many namespaces may have rules.
pub const MAX_NAMESPACES: usize = 64;
/// How many values may be blocked.
pub const MAX_BLOCKED: usize = 10_000;

/// What holds for the values of one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespaceRule {
    /// One person has exactly one value.
    pub unique: bool,
    /// A value seen with more than this many values of one unique namespace links nothing.
    pub max_companions: u8,
    /// Values are compared without regard to case.
    pub ignore_case: bool,
}

impl NamespaceRule {
    /// What holds when the rules do not name the namespace.
    #[must_use]
    pub fn default_of(namespace: &Namespace) -> Self {
        let unique = [Namespace::USER_ID, Namespace::WECHAT_UNIONID, Namespace::MEMBER_NO];
        Self {
            unique: unique.contains(namespace),
            max_companions: DEFAULT_MAX_COMPANIONS,
            ignore_case: false,
        }
    }
}

/// Rules as they were sent, field by field as in the proto.
#[derive(Clone, Default)]
pub struct Draft {
    /// Namespaces with rules of their own.
    pub namespaces: Vec<NamespaceDraft>,
    /// Namespace and raw value of what identifies nobody.
    pub blocked: Vec<(String, String)>,
    /// ISO 3166, or empty for `CN`.
    pub default_region: String,
}

/// The rule of one namespace as it was sent.
#[derive(Debug, Clone, Default)]
pub struct NamespaceDraft {
    /// The name.
    pub namespace: String,
    /// One person has exactly one value.
    pub unique: bool,
    /// 0 for the default.
    pub max_companions: i32,
    /// Values are compared without regard to case.
    pub ignore_case: bool,
}

/// Checked rules.
#[derive(Clone)]
pub struct Rules {
    namespaces: BTreeMap<Namespace, NamespaceRule>,
    blocked: HashSet<Identifier>,
    region: Region,
}

impl Default for Rules {
    fn default() -> Self {
        Self { namespaces: BTreeMap::new(), blocked: HashSet::new(), region: Region::CN }
    }
}

impl Rules {
    /// Checks what was sent. A blocked value that is a placeholder anyway is dropped.
    ///
    /// # Errors
    /// Everything that is wrong, with the paths of the proto.
    pub fn check(draft: &Draft) -> Result<Self, Violations> {
        let mut violations = Violations::new();
        let mut rules = Self::default();
        if !draft.default_region.is_empty() {
            match Region::from_code(&draft.default_region) {
                Ok(region) => rules.region = region,
                Err(_) => {
                    violations.add("default_region", "must be a region of ISO 3166 such as CN");
                }
            }
        }
        if draft.namespaces.len() > MAX_NAMESPACES {
            violations.add("namespaces", format!("must be at most {MAX_NAMESPACES}"));
        } else {
            violations.add_below("namespaces", rules.add_namespaces(&draft.namespaces));
        }
        if draft.blocked.len() > MAX_BLOCKED {
            violations.add("blocked", format!("must be at most {MAX_BLOCKED}"));
        } else {
            violations.add_below("blocked", rules.add_blocked(&draft.blocked));
        }
        violations.into_result(rules)
    }

    fn add_namespaces(&mut self, drafts: &[NamespaceDraft]) -> Violations {
        let mut violations = Violations::new();
        for (index, draft) in drafts.iter().enumerate() {
            let path = format!("[{index}].namespace");
            let name = violations.check(&path, draft.namespace.parse::<Namespace>());
            let max_companions = match u8::try_from(draft.max_companions) {
                Ok(0) => DEFAULT_MAX_COMPANIONS,
                Ok(number @ 1..=MAX_MAX_COMPANIONS) => number,
                _ => {
                    let description = format!("must be 0 to {MAX_MAX_COMPANIONS}");
                    violations.add(format!("[{index}].max_companions"), description);
                    continue;
                }
            };
            let Some(name) = name else { continue };
            let (unique, ignore_case) = (draft.unique, draft.ignore_case);
            let rule = NamespaceRule { unique, max_companions, ignore_case };
            if self.namespaces.insert(name, rule).is_some() {
                violations.add(path, "is named twice");
            }
        }
        violations
    }

    fn add_blocked(&mut self, drafts: &[(String, String)]) -> Violations {
        let mut violations = Violations::new();
        for (index, (namespace, value)) in drafts.iter().enumerate() {
            let path = format!("[{index}].namespace");
            let Some(name) = violations.check(&path, namespace.parse::<Namespace>()) else {
                continue;
            };
            match self.normalise(&name, value) {
                Ok(identifier) => {
                    self.blocked.insert(identifier);
                }
                Err(IgnoreReason::Placeholder) => {}
                Err(_) => violations.add(format!("[{index}].value"), "is not a value of it"),
            }
        }
        violations
    }

    /// What holds for a namespace.
    #[must_use]
    pub fn of(&self, namespace: &Namespace) -> NamespaceRule {
        let named = self.namespaces.get(namespace).copied();
        named.unwrap_or_else(|| NamespaceRule::default_of(namespace))
    }

    /// Reads one raw value.
    ///
    /// # Errors
    /// Why it identifies nobody.
    pub fn read(&self, namespace: &Namespace, raw: &str) -> Result<Identifier, IgnoreReason> {
        let identifier = self.normalise(namespace, raw)?;
        if self.blocked.contains(&identifier) {
            return Err(IgnoreReason::Blocked);
        }
        Ok(identifier)
    }

    fn normalise(&self, namespace: &Namespace, raw: &str) -> Result<Identifier, IgnoreReason> {
        let ignore_case = self.of(namespace).ignore_case;
        normalise::identifier(namespace, raw, Reading { ignore_case, region: self.region })
    }
}
