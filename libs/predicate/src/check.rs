//! The type check: from the syntax tree to the plan, collecting every problem on the way.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators,
};

use crate::operator::{FUNCTIONS, arithmetic, comparison, root_of, text_test};
use crate::parse::{MAX_DEPTH, Parsed};
use crate::plan::{Comparison, Constant, Node};
use crate::problem::Problem;
use crate::schema::{Schema, Type, nearest};
use crate::value::Field;

/// The most nodes of an expression.
const MAX_NODES: usize = 512;
/// The largest whole number that `f64` holds exactly.
const MAX_WHOLE: u64 = 1 << f64::MANTISSA_DIGITS;

/// A lowered node and its type.
type Typed = (Node, Type);

pub(crate) struct Checker<'a> {
    parsed: &'a Parsed,
    schema: &'a Schema,
    problems: Vec<Problem>,
    nodes: usize,
    depth: usize,
    /// A bound is told once.
    exceeded: bool,
    /// The variable of the quantifier around the present node.
    variable: Option<String>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(parsed: &'a Parsed, schema: &'a Schema) -> Self {
        Self {
            parsed,
            schema,
            problems: Vec::new(),
            nodes: 0,
            depth: 0,
            exceeded: false,
            variable: None,
        }
    }

    /// The plan, if nothing is wrong and it comes to `wanted`.
    pub(crate) fn check(mut self, wanted: Type) -> Result<Node, Vec<Problem>> {
        let root = &self.parsed.root;
        let plan = self.expect(root, wanted, "the expression");
        match plan {
            Some(plan) if self.problems.is_empty() => Ok(plan),
            _ => Err(self.problems),
        }
    }

    /// Notes a problem. `None`, so that a caller can end with it.
    fn problem<T>(&mut self, at: &IdedExpr, message: impl Into<String>) -> Option<T> {
        self.problems.push(Problem::new(message, self.parsed.position(at)));
        None
    }

    /// Lowers a node that must be of one type.
    fn expect(&mut self, node: &IdedExpr, wanted: Type, what: &str) -> Option<Node> {
        let (plan, found) = self.lower(node)?;
        if found != wanted {
            return self.problem(node, format!("{what} must be {wanted}, this is {found}"));
        }
        Some(plan)
    }

    fn lower(&mut self, node: &IdedExpr) -> Option<Typed> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || self.depth == MAX_DEPTH {
            if !self.exceeded {
                self.exceeded = true;
                let bounds = format!("{MAX_NODES} parts or nests deeper than {MAX_DEPTH}");
                self.problem::<()>(node, format!("the expression has more than {bounds}"));
            }
            return None;
        }
        self.depth += 1;
        let lowered = self.lower_kind(node);
        self.depth -= 1;
        lowered
    }

    fn lower_kind(&mut self, node: &IdedExpr) -> Option<Typed> {
        match &node.expr {
            Expr::Literal(literal) => self.literal(node, literal),
            Expr::Ident(name) if self.variable.as_ref() == Some(name) => {
                Some((Node::Element, Type::Text))
            }
            Expr::Select(select) if select.test => self.has(node, select),
            Expr::Ident(_) | Expr::Select(_) => {
                let field = self.field(node)?;
                let kind = field.kind;
                Some((Node::Field(field), kind))
            }
            Expr::Call(call) if call.func_name == operators::INDEX => {
                let field = self.field(node)?;
                let kind = field.kind;
                Some((Node::Field(field), kind))
            }
            Expr::Call(call) => self.call(node, call),
            Expr::Comprehension(comprehension) => self.quantifier(node, comprehension),
            Expr::List(_) => self.problem(node, "a list may only stand to the right of `in`"),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                self.problem(node, "maps and messages cannot be built here")
            }
        }
    }

    fn literal(&mut self, node: &IdedExpr, literal: &LiteralValue) -> Option<Typed> {
        let exact = |magnitude: u64| magnitude <= MAX_WHOLE;
        match literal {
            LiteralValue::Boolean(value) => {
                Some((Node::Literal(Constant::Bool(*value.inner())), Type::Bool))
            }
            LiteralValue::Int(value) if exact(value.inner().unsigned_abs()) => {
                Some(number(*value.inner() as f64))
            }
            LiteralValue::UInt(value) if exact(*value.inner()) => {
                Some(number(*value.inner() as f64))
            }
            LiteralValue::Double(value) if value.inner().is_finite() => {
                Some(number(*value.inner()))
            }
            LiteralValue::Int(_) | LiteralValue::UInt(_) | LiteralValue::Double(_) => {
                self.problem(node, "the number is too large to be exact")
            }
            LiteralValue::String(value) => {
                Some((Node::Literal(Constant::Text(value.inner().to_owned())), Type::Text))
            }
            LiteralValue::Null => self.problem(node, "no field is null: ask `has(x)` or `!has(x)`"),
            LiteralValue::Bytes(_) => self.problem(node, "no field holds bytes: write a string"),
        }
    }

    /// The declared field that a node names.
    fn field(&mut self, node: &IdedExpr) -> Option<Field> {
        let mut segments = Vec::new();
        self.segments(node, &mut segments)?;
        match self.schema.resolve(&segments) {
            Ok(field) => Some(field),
            Err(unknown) => {
                let position = self.parsed.position(root_of(node));
                let mut problem = Problem::new(unknown.message, position);
                problem.suggestion = unknown.suggestion;
                self.problems.push(problem);
                None
            }
        }
    }

    /// The names and keys that a node spells: `a.b["c"]` is a, b, c.
    fn segments(&mut self, node: &IdedExpr, segments: &mut Vec<String>) -> Option<()> {
        match &node.expr {
            Expr::Ident(name) if self.variable.as_ref() == Some(name) => {
                return self.problem(node, format!("`{name}` is a string and has no members"));
            }
            Expr::Ident(name) => segments.push(name.clone()),
            Expr::Select(select) if !select.test => {
                self.segments(&select.operand, segments)?;
                segments.push(select.field.clone());
            }
            Expr::Call(call) if call.func_name == operators::INDEX => {
                let [map, key] = call.args.as_slice() else {
                    return self.problem(node, "an index takes one key");
                };
                self.segments(map, segments)?;
                let Expr::Literal(LiteralValue::String(key)) = &key.expr else {
                    return self.problem(key, "a key must be a string literal");
                };
                segments.push(key.inner().to_owned());
            }
            _ => return self.problem(node, "only declared fields have members"),
        }
        Some(())
    }

    fn has(&mut self, node: &IdedExpr, select: &SelectExpr) -> Option<Typed> {
        let mut read = select.clone();
        read.test = false;
        let named = IdedExpr { id: node.id, expr: Expr::Select(read) };
        Some((Node::Has(self.field(&named)?), Type::Bool))
    }

    fn call(&mut self, node: &IdedExpr, call: &CallExpr) -> Option<Typed> {
        let name = call.func_name.as_str();
        if let Some(comparison) = comparison(name) {
            return self.compare(node, comparison, &call.args);
        }
        if let Some(operation) = arithmetic(name) {
            let operands = self.pair(&call.args, Type::Number, "an operand of arithmetic")?;
            return Some((Node::Arithmetic(operation, Box::new(operands)), Type::Number));
        }
        if let (Some(test), Some(text), [part]) =
            (text_test(name), call.target.as_deref(), call.args.as_slice())
        {
            let what = format!("an operand of {name}");
            let (text, part) =
                (self.expect(text, Type::Text, &what), self.expect(part, Type::Text, &what));
            return Some((Node::Text(test, Box::new([text?, part?])), Type::Bool));
        }
        match (name, call.target.as_deref(), call.args.as_slice()) {
            (operators::LOGICAL_AND, None, terms) => {
                let terms = self.terms(terms, "an operand of &&", |term| match term {
                    Node::And(terms) => Ok(terms),
                    other => Err(other),
                });
                Some((Node::And(terms?), Type::Bool))
            }
            (operators::LOGICAL_OR, None, terms) => {
                let terms = self.terms(terms, "an operand of ||", |term| match term {
                    Node::Or(terms) => Ok(terms),
                    other => Err(other),
                });
                Some((Node::Or(terms?), Type::Bool))
            }
            (operators::LOGICAL_NOT, None, [operand]) => {
                let operand = self.expect(operand, Type::Bool, "the operand of !")?;
                Some((Node::Not(Box::new(operand)), Type::Bool))
            }
            (operators::NEGATE, None, [operand]) => {
                match self.expect(operand, Type::Number, "the operand of -")? {
                    Node::Literal(Constant::Number(value)) => Some(number(-value)),
                    operand => Some((Node::Negate(Box::new(operand)), Type::Number)),
                }
            }
            (operators::CONDITIONAL, None, [condition, yes, no]) => {
                self.conditional(node, [condition, yes, no])
            }
            (operators::IN, None, [item, list]) => self.membership(item, list),
            ("size", Some(operand), []) | ("size", None, [operand]) => self.size(operand),
            ("timestamp", None, [text]) => self.timestamp(text),
            _ => self.unknown_function(node, name),
        }
    }

    fn unknown_function(&mut self, node: &IdedExpr, name: &str) -> Option<Typed> {
        if FUNCTIONS.contains(&name) {
            return self.problem(node, format!("`{name}` is not called like this"));
        }
        if name == operators::MODULO {
            return self.problem(node, "the operator % is not supported");
        }
        let mut problem =
            Problem::new(format!("unknown function `{name}`"), self.parsed.position(node));
        problem.suggestion = nearest(name, FUNCTIONS);
        self.problems.push(problem);
        None
    }

    /// Both operands, of one type. Both are checked before either fails.
    fn pair(&mut self, operands: &[IdedExpr], wanted: Type, what: &str) -> Option<[Node; 2]> {
        let [left, right] = operands else { return None };
        let (left, right) = (self.expect(left, wanted, what), self.expect(right, wanted, what));
        Some([left?, right?])
    }

    /// All boolean operands, those of a like operator below taken in.
    fn terms(
        &mut self,
        operands: &[IdedExpr],
        what: &str,
        inner: impl Fn(Node) -> Result<Vec<Node>, Node>,
    ) -> Option<Vec<Node>> {
        let lowered: Vec<_> =
            operands.iter().map(|operand| self.expect(operand, Type::Bool, what)).collect();
        let mut terms = Vec::new();
        for term in lowered {
            match inner(term?) {
                Ok(below) => terms.extend(below),
                Err(term) => terms.push(term),
            }
        }
        Some(terms)
    }

    fn compare(
        &mut self,
        node: &IdedExpr,
        comparison: Comparison,
        operands: &[IdedExpr],
    ) -> Option<Typed> {
        let [left, right] = operands else { return None };
        let (left, right) = (self.lower(left), self.lower(right));
        let ((left, kind), (right, other)) = (left?, right?);
        if kind != other {
            return self.problem(node, format!("{kind} cannot be compared with {other}"));
        }
        let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        match kind {
            Type::TextList => self.problem(node, "lists cannot be compared: use `in` or `exists`"),
            Type::Bool if !equality => self.problem(node, "booleans have no order"),
            _ => Some((Node::Compare(comparison, Box::new([left, right])), Type::Bool)),
        }
    }

    fn conditional(&mut self, node: &IdedExpr, parts: [&IdedExpr; 3]) -> Option<Typed> {
        let [condition, yes, no] = parts;
        let condition = self.expect(condition, Type::Bool, "the condition of ?:");
        let (yes, no) = (self.lower(yes), self.lower(no));
        let (condition, (yes, kind), (no, other)) = (condition?, yes?, no?);
        if kind != other || kind == Type::TextList {
            return self.problem(
                node,
                format!("both branches of ?: must be of one type, not {kind} and {other}"),
            );
        }
        Some((Node::If(Box::new([condition, yes, no])), kind))
    }

    fn membership(&mut self, item: &IdedExpr, list: &IdedExpr) -> Option<Typed> {
        let lowered = self.lower(item);
        let Expr::List(elements) = &list.expr else {
            let node = self.expect(list, Type::TextList, "what follows `in`");
            let ((wanted, kind), node) = (lowered?, node?);
            if kind != Type::Text {
                return self.problem(item, format!("a list of strings cannot hold {kind}"));
            }
            // Only a field can be a list of strings.
            let Node::Field(field) = node else { return None };
            return Some((Node::InList(Box::new(wanted), field), Type::Bool));
        };
        let (wanted, kind) = lowered?;
        if kind == Type::TextList {
            return self.problem(item, "a list cannot be an element of a list");
        }
        let mut set = Vec::with_capacity(elements.elements.len());
        for element in &elements.elements {
            match self.expect(element, kind, "an element of the list") {
                Some(Node::Literal(constant)) => set.push(constant),
                Some(_) => return self.problem(element, "an element of a list must be a literal"),
                None => return None,
            }
        }
        Some((Node::InSet(Box::new(wanted), set), Type::Bool))
    }

    fn size(&mut self, operand: &IdedExpr) -> Option<Typed> {
        match self.lower(operand)? {
            (node, Type::Text | Type::TextList) => Some((Node::Size(Box::new(node)), Type::Number)),
            (_, kind) => self.problem(operand, format!("{kind} has no size")),
        }
    }

    fn timestamp(&mut self, text: &IdedExpr) -> Option<Typed> {
        let Expr::Literal(LiteralValue::String(literal)) = &text.expr else {
            return self.problem(text, "timestamp takes a string literal");
        };
        match literal.inner().parse::<jiff::Timestamp>() {
            Ok(time) => Some((Node::Literal(Constant::Time(time.as_microsecond())), Type::Time)),
            Err(_) => self.problem(text, "not a time of RFC 3339, e.g. 2026-01-31T00:00:00Z"),
        }
    }

    /// `list.exists(x, …)` and `list.all(x, …)`, which the parser has already expanded.
    fn quantifier(&mut self, node: &IdedExpr, it: &ComprehensionExpr) -> Option<Typed> {
        if self.variable.is_some() {
            return self.problem(node, "quantifiers cannot nest");
        }
        let Expr::Call(step) = &it.loop_step.expr else {
            return self.problem(node, "only `exists` and `all` are supported");
        };
        let is_accumulator =
            |node: &IdedExpr| matches!(&node.expr, Expr::Ident(name) if *name == it.accu_var);
        let body = match step.args.as_slice() {
            [accumulator, body] if is_accumulator(accumulator) => body,
            _ => return self.problem(node, "only `exists` and `all` are supported"),
        };
        let universal = match step.func_name.as_str() {
            operators::LOGICAL_AND => true,
            operators::LOGICAL_OR => false,
            _ => return self.problem(node, "only `exists` and `all` are supported"),
        };
        let list = self.expect(&it.iter_range, Type::TextList, "what is quantified over");
        self.variable = Some(it.iter_var.clone());
        let body = self.expect(body, Type::Bool, "the body of a quantifier");
        self.variable = None;
        let (Node::Field(field), body) = (list?, Box::new(body?)) else { return None };
        let plan = if universal { Node::All(field, body) } else { Node::Exists(field, body) };
        Some((plan, Type::Bool))
    }
}

fn number(value: f64) -> Typed {
    (Node::Literal(Constant::Number(value)), Type::Number)
}
