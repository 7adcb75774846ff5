//! The lowered expression and its evaluation: a tree of checked nodes, walked without
//! allocation. Cost: O(nodes), times the length of a list below a quantifier.

use std::cmp::Ordering;

use crate::value::{EvalError, Field, Lookup, Value};

/// The longest list that a quantifier or `in` walks.
pub(crate) const MAX_LIST: usize = 1_024;

/// A literal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Constant {
    Bool(bool),
    Number(f64),
    Text(String),
    Time(i64),
}

impl Constant {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(value) => Value::Number(*value),
            Self::Text(value) => Value::Text(value),
            Self::Time(value) => Value::Time(*value),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

/// A checked node: operands are of fitting types.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Literal(Constant),
    Field(Field),
    /// The element that the quantifier around it stands at.
    Element,
    Has(Field),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    If(Box<[Node; 3]>),
    Compare(Comparison, Box<[Node; 2]>),
    InSet(Box<Node>, Vec<Constant>),
    InList(Box<Node>, Field),
    Text(TextTest, Box<[Node; 2]>),
    Arithmetic(Arithmetic, Box<[Node; 2]>),
    Negate(Box<Node>),
    Size(Box<Node>),
    Exists(Field, Box<Node>),
    All(Field, Box<Node>),
}

/// What a node may read.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) lookup: &'a dyn Lookup,
    pub(crate) element: Option<&'a str>,
}

type Evaluated<'a> = Result<Option<Value<'a>>, EvalError>;

impl Node {
    /// The value, `None` if it hangs on an absent field.
    pub(crate) fn eval<'a>(&'a self, scope: Scope<'a>) -> Evaluated<'a> {
        let value = match self {
            Self::Literal(constant) => Some(constant.value()),
            Self::Field(field) => read(field, scope)?,
            Self::Element => scope.element.map(Value::Text),
            Self::If(parts) => {
                let [condition, yes, no] = parts.as_ref();
                let chosen = if condition.holds(scope)? { yes } else { no };
                chosen.eval(scope)?
            }
            Self::Arithmetic(operation, operands) => {
                let [left, right] = operands.as_ref();
                let (left, right) = (left.number(scope)?, right.number(scope)?);
                left.zip(right).map(|(left, right)| Value::Number(operation.apply(left, right)))
            }
            Self::Negate(operand) => operand.number(scope)?.map(|number| Value::Number(-number)),
            Self::Size(operand) => operand.eval(scope)?.and_then(size),
            _ => Some(Value::Bool(self.holds(scope)?)),
        };
        Ok(value)
    }

    /// The value as a truth: whatever is absent is false.
    pub(crate) fn holds(&self, scope: Scope<'_>) -> Result<bool, EvalError> {
        let truth = match self {
            Self::Has(field) => read(field, scope)?.is_some(),
            Self::Not(operand) => !operand.holds(scope)?,
            Self::And(terms) => {
                for term in terms {
                    if !term.holds(scope)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Or(terms) => {
                for term in terms {
                    if term.holds(scope)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Compare(comparison, operands) => {
                let [left, right] = operands.as_ref();
                match (left.eval(scope)?, right.eval(scope)?) {
                    (Some(left), Some(right)) => comparison.holds(order(left, right)),
                    _ => false,
                }
            }
            Self::InSet(item, set) => match item.eval(scope)? {
                Some(item) => set.iter().any(|constant| constant.value() == item),
                None => false,
            },
            Self::InList(item, field) => match (item.text(scope)?, list(field, scope)?) {
                (Some(item), Some(list)) => list.iter().any(|element| element == item),
                _ => false,
            },
            Self::Text(test, operands) => {
                let [text, part] = operands.as_ref();
                match (text.text(scope)?, part.text(scope)?) {
                    (Some(text), Some(part)) => test.holds(text, part),
                    _ => false,
                }
            }
            Self::Exists(field, body) => quantify(field, body, scope, true)?,
            Self::All(field, body) => quantify(field, body, scope, false)?,
            _ => matches!(self.eval(scope)?, Some(Value::Bool(true))),
        };
        Ok(truth)
    }

    pub(crate) fn number(&self, scope: Scope<'_>) -> Result<Option<f64>, EvalError> {
        match self.eval(scope)? {
            Some(Value::Number(number)) => Ok(Some(number)),
            _ => Ok(None),
        }
    }

    fn text<'a>(&'a self, scope: Scope<'a>) -> Result<Option<&'a str>, EvalError> {
        match self.eval(scope)? {
            Some(Value::Text(text)) => Ok(Some(text)),
            _ => Ok(None),
        }
    }

    /// Calls `visit` with every field that the node reads.
    pub(crate) fn visit_fields<'a>(&'a self, visit: &mut impl FnMut(&'a Field)) {
        match self {
            Self::Literal(_) | Self::Element => {}
            Self::Field(field) | Self::Has(field) => visit(field),
            Self::Not(node) | Self::Negate(node) | Self::Size(node) | Self::InSet(node, _) => {
                node.visit_fields(visit);
            }
            Self::InList(node, field) | Self::Exists(field, node) | Self::All(field, node) => {
                visit(field);
                node.visit_fields(visit);
            }
            Self::And(nodes) | Self::Or(nodes) => {
                for node in nodes {
                    node.visit_fields(visit);
                }
            }
            Self::If(nodes) => {
                for node in nodes.iter() {
                    node.visit_fields(visit);
                }
            }
            Self::Compare(_, nodes) | Self::Text(_, nodes) | Self::Arithmetic(_, nodes) => {
                for node in nodes.iter() {
                    node.visit_fields(visit);
                }
            }
        }
    }
}

fn read<'a>(field: &Field, scope: Scope<'a>) -> Evaluated<'a> {
    let Some(value) = scope.lookup.get(field) else { return Ok(None) };
    let found = value.kind();
    if found != field.kind {
        return Err(EvalError::WrongType { field: Box::new(field.clone()), found });
    }
    Ok(Some(value))
}

fn list<'a>(field: &Field, scope: Scope<'a>) -> Result<Option<&'a [String]>, EvalError> {
    let Some(Value::TextList(list)) = read(field, scope)? else { return Ok(None) };
    if list.len() > MAX_LIST {
        let (length, limit) = (list.len(), MAX_LIST);
        return Err(EvalError::ListTooLong { field: Box::new(field.clone()), length, limit });
    }
    Ok(Some(list))
}

/// Does `body` come to `wanted` for an element? `exists` if true is wanted, else not `all`.
fn quantify(field: &Field, body: &Node, scope: Scope<'_>, wanted: bool) -> Result<bool, EvalError> {
    let Some(list) = list(field, scope)? else { return Ok(false) };
    for element in list {
        let inner = Scope { element: Some(element), ..scope };
        if body.holds(inner)? == wanted {
            return Ok(wanted);
        }
    }
    Ok(!wanted)
}

fn size(value: Value<'_>) -> Option<Value<'static>> {
    let size = match value {
        Value::Text(text) => text.chars().count(),
        Value::TextList(list) => list.len(),
        Value::Bool(_) | Value::Number(_) | Value::Time(_) => return None,
    };
    Some(Value::Number(size as f64))
}

fn order(left: Value<'_>, right: Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.partial_cmp(&right),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Time(left), Value::Time(right)) => Some(left.cmp(&right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(&right)),
        _ => None,
    }
}

impl Comparison {
    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

impl Arithmetic {
    fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
        }
    }
}

impl TextTest {
    fn holds(self, text: &str, part: &str) -> bool {
        match self {
            Self::StartsWith => text.starts_with(part),
            Self::EndsWith => text.ends_with(part),
            Self::Contains => text.contains(part),
        }
    }
}
