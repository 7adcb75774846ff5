//! From source text to the syntax tree of the `cel` crate, with bounds before the parser
//! sees it: its tree is walked by recursion, so what could grow deep is refused here.

use cel::common::ast::{IdedExpr, SourceInfo};
use cel::parser::Parser;

use crate::problem::{Position, Problem};

/// The longest source in bytes.
pub(crate) const MAX_SOURCE_BYTES: usize = 4096;
/// The deepest tree.
pub(crate) const MAX_DEPTH: usize = 32;
/// A chain like `1 + 1 + …` makes a tree as deep as it is long, whatever its brackets.
const MAX_CHAIN: usize = 256;

/// A parsed source: the tree and where its nodes stand.
pub(crate) struct Parsed {
    pub(crate) root: IdedExpr,
    info: SourceInfo,
}

impl Parsed {
    /// Where a node begins. Token offsets of the parser count bytes.
    pub(crate) fn position(&self, node: &IdedExpr) -> Option<Position> {
        let (start, _) = self.info.offset_for(node.id)?;
        let mut position = Position { line: 1, column: 1 };
        for (offset, character) in self.info.source.char_indices() {
            if offset >= start as usize {
                break;
            }
            if character == '\n' {
                position = Position { line: position.line + 1, column: 1 };
            } else {
                position.column += 1;
            }
        }
        Some(position)
    }
}

/// Parses `source`.
pub(crate) fn parse(source: &str) -> Result<Parsed, Vec<Problem>> {
    if let Some(problem) = too_large(source) {
        return Err(vec![problem]);
    }
    let parser = Parser::new().max_recursion_depth(MAX_DEPTH as u16).error_recovery_limit(8);
    match parser.parse_with_source_info(source) {
        Ok((root, info)) => Ok(Parsed { root, info }),
        Err(errors) => Err(errors.errors.iter().map(syntax_problem).collect()),
    }
}

fn too_large(source: &str) -> Option<Problem> {
    if source.trim().is_empty() {
        return Some(Problem::new("the expression is empty", None));
    }
    if source.len() > MAX_SOURCE_BYTES {
        let message =
            format!("the expression has {} bytes, more than {MAX_SOURCE_BYTES}", source.len());
        return Some(Problem::new(message, None));
    }
    let (depth, chain) = nesting(source);
    if depth > MAX_DEPTH {
        return Some(Problem::new(format!("brackets nest deeper than {MAX_DEPTH}"), None));
    }
    if chain > MAX_CHAIN {
        return Some(Problem::new(format!("more than {MAX_CHAIN} operators"), None));
    }
    None
}

/// The deepest nesting of brackets and the number of operators that may chain, outside of
/// string literals.
fn nesting(source: &str) -> (usize, usize) {
    let (mut depth, mut deepest, mut chain) = (0_usize, 0, 0);
    let mut quote = None;
    let mut escaped = false;
    for character in source.chars() {
        if let Some(open) = quote {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if character == open => quote = None,
                _ => {}
            }
            continue;
        }
        match character {
            '"' | '\'' => quote = Some(character),
            '(' | '[' | '{' => {
                depth += 1;
                deepest = deepest.max(depth);
                chain += usize::from(character != '(');
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '+' | '-' | '*' | '/' | '%' | '.' | '?' | '!' | '<' | '>' | '=' => chain += 1,
            _ => {}
        }
    }
    (deepest, chain)
}

fn syntax_problem(error: &cel::ParseError) -> Problem {
    let (line, column) = error.pos;
    let position = match (u32::try_from(line), u32::try_from(column)) {
        (Ok(line), Ok(column)) if line > 0 => Some(Position { line, column: column.max(1) }),
        _ => None,
    };
    Problem::new(format!("syntax: {}", error.msg), position)
}
