//! CEL predicates and numeric expressions over declared fields: parsed, type-checked and
//! lowered once when saved, evaluated in about 0.2 µs afterwards.
//!
//! The language is the part of the Common Expression Language (<https://cel.dev>) that
//! segments, scorecards and routing policies need: `&& || ! ?:`, comparisons, `in`,
//! `has`, `startsWith`, `endsWith`, `contains`, `size`, `+ - * /`, `timestamp("…")`, and
//! `exists` / `all` over a declared list of strings. The `cel` crate parses; checking and
//! evaluation are ours. That crate's own interpreter is the oracle in the tests.
//!
//! Invariants
//! - A [`Predicate`] that exists names only declared fields with fitting types.
//! - Wherever CEL has an answer, ours is the same (tested on random expressions). Where CEL
//!   fails because a field is absent, ours is: **whatever is asked of an absent value is
//!   false** – each comparison (`!=` as well), `in`, text test, quantifier and the bare
//!   boolean. `!` then turns that false into true; use `has(x)` to tell the cases apart.
//! - There is one type of number, `f64`; so `7 / 2` is 3.5 where CEL's integers say 3, and
//!   a whole number that `f64` cannot hold is refused.
//! - Cost is bounded when saved: source ≤ 4 KB, depth ≤ 32, ≤ 512 nodes, no nested
//!   quantifiers; and when evaluated: lists ≤ 1,024 elements. No recursion, no allocation.
//!
//! Deliberately absent: regular expressions, durations and a clock (`now` is a field that
//! the caller may declare as a time), building of lists and maps, `map` and `filter`,
//! concatenation of strings, `null`.

mod check;
mod operator;
mod parse;
mod plan;
mod predicate;
mod problem;
mod schema;
mod value;

pub use predicate::{Expression, Predicate};
pub use problem::{Position, Problem, violations};
pub use schema::{Schema, Type};
pub use value::{EvalError, Field, Lookup, Value};
