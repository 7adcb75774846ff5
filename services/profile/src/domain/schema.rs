//! Which attributes are declared, for a tenant: the built-in ones and its own.

use std::collections::BTreeMap;

use kernel::Violations;
use serde::{Deserialize, Serialize};

/// The type of an attribute's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Type {
    String,
    Number,
    Boolean,
    Time,
}

/// The declaration of an attribute, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Declaration {
    pub(crate) r#type: Type,
    pub(crate) personal: bool,
    pub(crate) description: String,
}

/// What is declared without being asked: the traits of Segment's specification.
const BUILT_IN: [(&str, Type, bool, &str); 16] = [
    ("age", Type::Number, false, "Age in years"),
    ("birthday", Type::String, true, "Date of birth"),
    ("city", Type::String, false, "City"),
    ("company", Type::String, false, "Employer"),
    ("country", Type::String, false, "Country"),
    ("email", Type::String, true, "E-mail address"),
    ("firstName", Type::String, true, "Given name"),
    ("first_name", Type::String, true, "Given name"),
    ("gender", Type::String, true, "Gender"),
    ("industry", Type::String, false, "Industry of the employer"),
    ("lastName", Type::String, true, "Family name"),
    ("last_name", Type::String, true, "Family name"),
    ("name", Type::String, true, "Full name"),
    ("phone", Type::String, true, "Telephone number"),
    ("title", Type::String, false, "Job title"),
    ("username", Type::String, true, "Name of the account"),
];

const DESCRIPTION_BYTES: usize = 500;

/// The built-in declarations by name.
pub(crate) fn built_in() -> impl Iterator<Item = (&'static str, Declaration)> {
    BUILT_IN.iter().map(|(name, r#type, personal, description)| {
        let description = (*description).to_owned();
        (*name, Declaration { r#type: *r#type, personal: *personal, description })
    })
}

/// The built-in declaration of a name.
pub(crate) fn built_in_of(name: &str) -> Option<Declaration> {
    built_in().find(|(built_in, _)| *built_in == name).map(|(_, declaration)| declaration)
}

/// The declarations in force, by name.
#[derive(Debug, Clone)]
pub(crate) struct Schema(BTreeMap<String, Declaration>);

impl Schema {
    /// The built-in ones, and over them the tenant's own.
    pub(crate) fn new(own: impl IntoIterator<Item = (String, Declaration)>) -> Self {
        let mut all: BTreeMap<String, Declaration> =
            built_in().map(|(name, declaration)| (name.to_owned(), declaration)).collect();
        all.extend(own);
        Self(all)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Declaration> {
        self.0.get(name)
    }

    /// Whether a profile shows the attribute, kept among the personal ones or not.
    pub(crate) fn shows(&self, name: &str, personal: bool) -> bool {
        self.get(name).is_some_and(|declaration| declaration.personal == personal)
    }

    /// Checks a declaration against those in force and the one that was `deleted` under this
    /// name. Neither the type nor the class changes: values were already folded that way, and
    /// what stands in clear would stay in clear.
    pub(crate) fn check(
        &self,
        name: &str,
        new: &Declaration,
        deleted: Option<&Declaration>,
    ) -> Result<(), Violations> {
        let mut violations = Violations::new();
        if !is_name(name) {
            violations.add("trait.name", "must match [A-Za-z][A-Za-z0-9_]{0,63}");
        }
        if new.description.len() > DESCRIPTION_BYTES {
            violations.add("trait.description", "must be at most 500 bytes");
        }
        let current = self.get(name).or(deleted);
        if current.is_some_and(|current| current.r#type != new.r#type) {
            violations.add("trait.type", "must stay as it was declared; use another name");
        }
        if current.is_some_and(|current| current.personal != new.personal) {
            violations.add("trait.personal", "must stay as it was declared; use another name");
        }
        let same_class =
            self.0.iter().filter(|(other, it)| *other != name && it.personal == new.personal);
        if same_class.count() >= aggregate::limit::TRAITS {
            violations.add("trait", "must be one of at most 64 personal and 64 other traits");
        }
        violations.into_result(())
    }
}

/// `[A-Za-z][A-Za-z0-9_]{0,63}`.
pub(crate) fn is_name(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic());
    let goes_on = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    begins && goes_on && name.len() <= aggregate::limit::TRAIT_NAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(personal: bool) -> Declaration {
        Declaration { r#type: Type::String, personal, description: String::new() }
    }

    #[test]
    fn a_declaration_keeps_its_type_and_class() {
        let schema = Schema::new([("job".to_owned(), text(false))]);
        assert!(schema.check("job", &text(false), None).is_ok());
        assert!(schema.check("job", &text(true), None).is_err());
        assert!(schema.check("email", &text(false), None).is_err());
        let number = Declaration { r#type: Type::Number, ..text(false) };
        assert!(schema.check("job", &number, None).is_err());
        assert!(schema.check("1job", &text(false), None).is_err());
        assert!(schema.check("gone", &number, None).is_ok());
        assert!(schema.check("gone", &number, Some(&text(false))).is_err());
    }

    #[test]
    fn a_class_is_bounded() {
        let left = 64 - built_in().filter(|(_, it)| !it.personal).count();
        let schema = Schema::new((0..left).map(|n| (format!("t{n}"), text(false))));
        assert!(schema.check("one_more", &text(false), None).is_err());
        assert!(schema.check("t0", &text(false), None).is_ok(), "it is there already");
        assert!(schema.check("one_more", &text(true), None).is_ok());
    }
}
