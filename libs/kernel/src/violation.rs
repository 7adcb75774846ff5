//! What is wrong with input: all of it at once, each with the path of its field.

use std::fmt;

/// One thing that is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field as in the proto, e.g. `events[3].identifiers[0].value`.
    pub field: String,
    /// What is wrong and what is expected. Does not repeat the value: it may be personal.
    pub description: String,
}

/// Everything that is wrong; empty means fine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Nothing wrong yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// One thing wrong.
    #[must_use]
    pub fn of(field: impl Into<String>, description: impl Into<String>) -> Self {
        let mut violations = Self::new();
        violations.add(field, description);
        violations
    }

    /// Adds one.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation { field: field.into(), description: description.into() });
    }

    /// Adds all of another check, each path below `prefix` (`prefix.path`, or `prefix[0]` …); an
    /// empty prefix is the top.
    pub fn add_below(&mut self, prefix: &str, others: Violations) {
        for violation in others.0 {
            let field = match violation.field.as_str() {
                "" => prefix.to_owned(),
                path if prefix.is_empty() => path.to_owned(),
                index if index.starts_with('[') => format!("{prefix}{index}"),
                path => format!("{prefix}.{path}"),
            };
            self.0.push(Violation { field, description: violation.description });
        }
    }

    /// Keeps a good value, notes a bad one.
    pub fn check<T, E: fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(field, error.to_string());
                None
            }
        }
    }

    /// True if nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In the order they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Violation> {
        self.0.iter()
    }

    /// `value` if nothing is wrong.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl IntoIterator for Violations {
    type Item = Violation;
    type IntoIter = std::vec::IntoIter<Violation>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, violation) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_parts_are_put_below_the_whole() {
        let mut part = Violations::of("value", "must not be empty");
        part.add("[2]", "is a duplicate");
        part.add("", "must be set");
        let mut whole = Violations::new();
        whole.add_below("identifiers", part);
        let paths: Vec<_> = whole.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(paths, ["identifiers.value", "identifiers[2]", "identifiers"]);
        let mut top = Violations::new();
        top.add_below("", whole.clone());
        assert_eq!(top, whole);
    }
}
