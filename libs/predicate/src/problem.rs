//! What is wrong with a source text, where, and what was probably meant.

use std::fmt;

use kernel::Violations;

/// A place in the source: line and column count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One thing that is wrong with a source text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong and what is expected.
    pub message: String,
    /// Where, if the place is known.
    pub position: Option<Position>,
    /// What was probably meant, ready to be put in place of the wrong word.
    pub suggestion: Option<String>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>, position: Option<Position>) -> Self {
        Self { message: message.into(), position, suggestion: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = self.position {
            write!(f, "{position}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean `{suggestion}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// All problems as violations of the field that holds the source.
#[must_use]
pub fn violations(field: &str, problems: &[Problem]) -> Violations {
    let mut violations = Violations::new();
    for problem in problems {
        violations.add(field, problem.to_string());
    }
    violations
}
