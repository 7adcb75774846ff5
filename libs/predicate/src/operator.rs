//! The operators and functions of the language by their names in the syntax tree.

use cel::common::ast::{Expr, IdedExpr, operators};

use crate::plan::{Arithmetic, Comparison, TextTest};

/// What may be called by name.
pub(crate) const FUNCTIONS: [&str; 8] =
    ["has", "size", "startsWith", "endsWith", "contains", "exists", "all", "timestamp"];

pub(crate) fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

pub(crate) fn arithmetic(name: &str) -> Option<Arithmetic> {
    Some(match name {
        operators::ADD => Arithmetic::Add,
        operators::SUBSTRACT => Arithmetic::Subtract,
        operators::MULTIPLY => Arithmetic::Multiply,
        operators::DIVIDE => Arithmetic::Divide,
        _ => return None,
    })
}

pub(crate) fn text_test(name: &str) -> Option<TextTest> {
    Some(match name {
        "startsWith" => TextTest::StartsWith,
        "endsWith" => TextTest::EndsWith,
        "contains" => TextTest::Contains,
        _ => return None,
    })
}

/// The first name of a path: where a reader looks for an unknown field.
pub(crate) fn root_of(node: &IdedExpr) -> &IdedExpr {
    let mut node = node;
    loop {
        node = match &node.expr {
            Expr::Select(select) => &select.operand,
            Expr::Call(call) if call.func_name == operators::INDEX => match call.args.first() {
                Some(map) => map,
                None => return node,
            },
            _ => return node,
        };
    }
}
