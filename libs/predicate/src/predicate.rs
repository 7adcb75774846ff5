//! The compiled forms that a caller keeps.

use std::collections::BTreeSet;

use crate::check::Checker;
use crate::parse::parse;
use crate::plan::{Node, Scope};
use crate::problem::Problem;
use crate::schema::{Schema, Type};
use crate::value::{EvalError, Field, Lookup};

/// A checked question about declared fields.
#[derive(Debug, Clone)]
pub struct Predicate {
    source: String,
    plan: Node,
}

impl Predicate {
    /// Parses, checks and lowers `source`: milliseconds, so do it when saved, not when asked.
    ///
    /// # Errors
    /// Everything that is wrong with it: syntax, unknown fields and functions, operands of
    /// a wrong type, an answer that is not a boolean, a bound exceeded.
    pub fn compile(source: &str, schema: &Schema) -> Result<Self, Vec<Problem>> {
        let plan = lower(source, schema, Type::Bool)?;
        Ok(Self { source: source.to_owned(), plan })
    }

    /// Does it hold? What hangs on an absent field is false (see the crate's documentation).
    ///
    /// # Errors
    /// If the lookup breaks the schema or a list is too long.
    pub fn eval(&self, lookup: &dyn Lookup) -> Result<bool, EvalError> {
        self.plan.holds(Scope { lookup, element: None })
    }

    /// The text it was compiled from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Every field it reads: when none of them changes, neither does the answer.
    #[must_use]
    pub fn fields(&self) -> BTreeSet<&Field> {
        fields(&self.plan)
    }
}

/// A checked numeric expression over declared fields.
#[derive(Debug, Clone)]
pub struct Expression {
    source: String,
    plan: Node,
}

impl Expression {
    /// Parses, checks and lowers `source`, as [`Predicate::compile`].
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(source: &str, schema: &Schema) -> Result<Self, Vec<Problem>> {
        let plan = lower(source, schema, Type::Number)?;
        Ok(Self { source: source.to_owned(), plan })
    }

    /// The number, or `None` if it hangs on an absent field.
    ///
    /// # Errors
    /// If the lookup breaks the schema, a list is too long, or the result is not finite.
    pub fn eval(&self, lookup: &dyn Lookup) -> Result<Option<f64>, EvalError> {
        let number = self.plan.number(Scope { lookup, element: None })?;
        if number.is_some_and(|number| !number.is_finite()) {
            return Err(EvalError::NotFinite);
        }
        Ok(number)
    }

    /// The text it was compiled from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Every field it reads.
    #[must_use]
    pub fn fields(&self) -> BTreeSet<&Field> {
        fields(&self.plan)
    }
}

fn lower(source: &str, schema: &Schema, wanted: Type) -> Result<Node, Vec<Problem>> {
    let parsed = parse(source)?;
    Checker::new(&parsed, schema).check(wanted)
}

fn fields(plan: &Node) -> BTreeSet<&Field> {
    let mut fields = BTreeSet::new();
    plan.visit_fields(&mut |field| {
        fields.insert(field);
    });
    fields
}
