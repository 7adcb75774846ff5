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

/// The deepest nesting of brackets and the number of operators that may chain, in what the
/// lexer makes tokens of: not in comments, string literals and numbers. O(length) per quote
/// that is never closed, else O(length).
fn nesting(source: &str) -> (usize, usize) {
    let (mut depth, mut deepest, mut chain) = (0_usize, 0, 0);
    let mut before = None;
    let mut rest = source;
    while let Some(sign) = rest.chars().next() {
        let length = lexeme(rest, before);
        if length == sign.len_utf8() {
            match sign {
                '(' | '[' | '{' => {
                    depth += 1;
                    deepest = deepest.max(depth);
                    chain += usize::from(sign != '(');
                }
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                '+' | '-' | '*' | '/' | '%' | '.' | '?' | '!' | '<' | '>' | '=' => chain += 1,
                _ => {}
            }
        }
        if !sign.is_whitespace() {
            before = Some(sign);
        }
        rest = &rest[length..];
    }
    (deepest, chain)
}

/// The bytes of the token or comment at the beginning of `rest`, after the grammar of CEL.
/// What is no string, comment, word or number is one sign, also a quote that is never
/// closed: what stands behind it counts.
fn lexeme(rest: &str, before: Option<char>) -> usize {
    let one = rest.chars().next().map_or(0, char::len_utf8);
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    // The sign of a listed number is part of it.
    if rest.starts_with('-') && matches!(before, Some('[' | ',')) {
        return 1 + number(&rest[1..]);
    }
    if let length @ 1.. = number(rest) {
        return length;
    }
    let word = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
    let (prefix, quoted) = rest.split_at(word);
    let is_raw = matches!(prefix, "r" | "R" | "br" | "bR" | "Br" | "BR");
    if (is_raw || matches!(prefix, "" | "b" | "B"))
        && let Some(length) = string(quoted, is_raw)
    {
        return word + length;
    }
    word.max(one)
}

/// The bytes of a number without sign, 0 if there is none. A dot is part of one only before a
/// digit.
fn number(rest: &str) -> usize {
    let digits = |from: usize| {
        let text = &rest.as_bytes()[from..];
        from + text.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let whole = digits(0);
    if rest[whole..].starts_with('.') {
        let fraction = digits(whole + 1);
        return if fraction > whole + 1 { fraction } else { whole };
    }
    whole
}

/// The bytes of a string literal with its quotes, if it is closed.
fn string(rest: &str, is_raw: bool) -> Option<usize> {
    let triple = ["\"\"\"", "'''"].into_iter().find(|quotes| rest.starts_with(quotes));
    let single = ["\"", "'"].into_iter().find(|quote| rest.starts_with(quote));
    triple
        .and_then(|quotes| closed(rest, quotes, is_raw, true))
        .or_else(|| closed(rest, single?, is_raw, false))
}

fn closed(rest: &str, quotes: &str, is_raw: bool, many_lines: bool) -> Option<usize> {
    let mut at = quotes.len();
    loop {
        let left = rest.get(at..)?;
        if left.starts_with(quotes) {
            return Some(at + quotes.len());
        }
        at += match left.chars().next()? {
            '\n' | '\r' if !many_lines => return None,
            '\\' if !is_raw => 1 + left.chars().nth(1)?.len_utf8(),
            character => character.len_utf8(),
        };
    }
}

fn syntax_problem(error: &cel::ParseError) -> Problem {
    let (line, column) = error.pos;
    let position = match (u32::try_from(line), u32::try_from(column)) {
        (Ok(line), Ok(column)) if line > 0 => Some(Position { line, column: column.max(1) }),
        _ => None,
    };
    Problem::new(format!("syntax: {}", error.msg), position)
}
