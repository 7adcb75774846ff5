//! Ours against the interpreter of the `cel` crate, on random expressions over random
//! contexts: wherever CEL answers, ours is the same.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cel::{Context, Program, Value as CelValue};
use predicate::{Field, Lookup, Predicate, Schema, Type, Value};
use proptest::prelude::*;
use proptest::sample::select;

const NUMBERS: [&str; 4] =
    ["traits.age", "orders.total", "events[\"Order Completed\"].count", "events.Signup.count"];
const TEXTS: [&str; 3] = ["traits.country", "traits[\"full-name\"]", "demand.attributes.channel"];
const BOOLS: [&str; 2] = ["traits.vip", "traits.member"];
const LISTS: [&str; 2] = ["demand.skills", "agent.skills"];
const WORDS: [&str; 6] = ["", "c", "cn", "cn-北京", "北", "credit"];

fn schema() -> Schema {
    Schema::new()
        .with("traits.age", Type::Number)
        .with("orders.total", Type::Number)
        .with("traits.country", Type::Text)
        .with("traits.full-name", Type::Text)
        .with("traits.vip", Type::Bool)
        .with("traits.member", Type::Bool)
        .with("demand.skills", Type::TextList)
        .with("agent.skills", Type::TextList)
        .with_map("demand.attributes", Type::Text)
        .with_records("events", [("count", Type::Number)])
}

#[derive(Debug, Clone)]
enum Held {
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<String>),
}

/// Values by the segments of their path joined by dots.
#[derive(Debug, Clone, Default)]
struct Fields(BTreeMap<String, Held>);

impl Lookup for Fields {
    fn get(&self, field: &Field) -> Option<Value<'_>> {
        let parts = [Some(&field.path), field.key.as_ref(), field.member.as_ref()];
        let name = parts.into_iter().flatten().cloned().collect::<Vec<_>>().join(".");
        Some(match self.0.get(&name)? {
            Held::Bool(value) => Value::Bool(*value),
            Held::Number(value) => Value::Number(*value),
            Held::Text(value) => Value::Text(value),
            Held::List(value) => Value::TextList(value),
        })
    }
}

impl Fields {
    /// The same as nested maps of the interpreter.
    fn bind(&self, context: &mut Context<'_, '_>) {
        for root in ["traits", "orders", "events", "demand", "agent"] {
            context.add_variable_from_value(root, self.tree(root));
        }
    }

    fn tree(&self, prefix: &str) -> CelValue {
        let mut entries: HashMap<String, CelValue> = HashMap::new();
        for (name, held) in &self.0 {
            let Some(rest) = name.strip_prefix(&format!("{prefix}.")) else { continue };
            let (head, below) = rest.split_once('.').unwrap_or((rest, ""));
            let value = if below.is_empty() {
                cel_value(held)
            } else {
                self.tree(&format!("{prefix}.{head}"))
            };
            entries.insert(head.to_owned(), value);
        }
        CelValue::from(entries)
    }
}

fn cel_value(held: &Held) -> CelValue {
    let text = |text: &String| CelValue::String(Arc::new(text.clone()));
    match held {
        Held::Bool(value) => CelValue::Bool(*value),
        Held::Number(value) => CelValue::Float(*value),
        Held::Text(value) => text(value),
        Held::List(values) => CelValue::List(Arc::new(values.iter().map(text).collect())),
    }
}

fn word() -> impl Strategy<Value = String> {
    select(&WORDS[..]).prop_map(str::to_owned)
}

fn held() -> impl Strategy<Value = (&'static str, Held)> {
    let number = (-4_i32..5).prop_map(|halves| Held::Number(f64::from(halves) / 2.0));
    let numbers = select(vec![
        "traits.age",
        "orders.total",
        "events.Order Completed.count",
        "events.Signup.count",
    ]);
    let texts = select(vec!["traits.country", "traits.full-name", "demand.attributes.channel"]);
    prop_oneof![
        (numbers, number),
        (texts, word().prop_map(Held::Text)),
        (select(&BOOLS[..]), any::<bool>().prop_map(Held::Bool)),
        (select(&LISTS[..]), prop::collection::vec(word(), 0..4).prop_map(Held::List)),
    ]
}

/// Some fields, others absent.
fn some_fields() -> impl Strategy<Value = Fields> {
    prop::collection::vec(held(), 0..24).prop_map(|held| {
        Fields(held.into_iter().map(|(name, held)| (name.to_owned(), held)).collect())
    })
}

/// Every field present.
fn all_fields() -> impl Strategy<Value = Fields> {
    let complete = [
        ("traits.age", Held::Number(1.5)),
        ("orders.total", Held::Number(-1.0)),
        ("events.Order Completed.count", Held::Number(2.0)),
        ("events.Signup.count", Held::Number(0.0)),
        ("traits.country", Held::Text("cn".to_owned())),
        ("traits.full-name", Held::Text("cn-北京".to_owned())),
        ("demand.attributes.channel", Held::Text(String::new())),
        ("traits.vip", Held::Bool(true)),
        ("traits.member", Held::Bool(false)),
        ("demand.skills", Held::List(vec!["credit".to_owned()])),
        ("agent.skills", Held::List(Vec::new())),
    ];
    some_fields().prop_map(move |mut fields| {
        for (name, held) in &complete {
            fields.0.entry((*name).to_owned()).or_insert_with(|| held.clone());
        }
        fields
    })
}

fn number_source() -> impl Strategy<Value = String> {
    let literal = (-4_i32..5).prop_map(|halves| format!("{:?}", f64::from(halves) / 2.0));
    let leaf = prop_oneof![select(&NUMBERS[..]).prop_map(str::to_owned), literal];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), select(vec!["+", "-", "*", "/"]), inner.clone())
                .prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            inner.prop_map(|operand| format!("(-({operand}))")),
        ]
    })
}

fn text_source() -> impl Strategy<Value = String> {
    let literal = word().prop_map(|word| format!("{word:?}"));
    prop_oneof![select(&TEXTS[..]).prop_map(str::to_owned), literal]
}

fn bool_source() -> impl Strategy<Value = String> {
    let compare = || select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let number =
        prop_oneof![3 => number_source(), 1 => (-3_i32..4).prop_map(|whole| whole.to_string())];
    let words = || {
        prop::collection::vec(word().prop_map(|word| format!("{word:?}")), 0..4)
            .prop_map(|words| format!("[{}]", words.join(", ")))
    };
    let list = || select(&LISTS[..]).prop_map(str::to_owned);
    let tests = || select(vec!["startsWith", "endsWith", "contains"]);
    let fields = [&NUMBERS[..], &TEXTS[..2], &BOOLS[..], &LISTS[..]].concat();
    let selectable: Vec<_> = fields.into_iter().filter(|name| !name.ends_with(']')).collect();
    let leaf = prop_oneof![
        any::<bool>().prop_map(|value| value.to_string()),
        select(&BOOLS[..]).prop_map(str::to_owned),
        (number_source(), compare(), number).prop_map(|(l, op, r)| format!("({l} {op} {r})")),
        (text_source(), compare(), text_source()).prop_map(|(l, op, r)| format!("({l} {op} {r})")),
        (number_source(), -3_i32..4)
            .prop_map(|(item, whole)| format!("({item} in [{whole}, 0.5])")),
        (text_source(), prop_oneof![words(), list()])
            .prop_map(|(item, set)| format!("({item} in {set})")),
        (text_source(), tests(), text_source())
            .prop_map(|(text, test, part)| format!("{text}.{test}({part})")),
        (prop_oneof![text_source(), list()], 0_i32..5)
            .prop_map(|(of, than)| format!("(size({of}) > {than})")),
        select(selectable).prop_map(|field| format!("has({field})")),
        (list(), select(vec!["exists", "all"]), tests(), text_source(), any::<bool>()).prop_map(
            |(list, quantifier, test, part, negated)| {
                let not = if negated { "!" } else { "" };
                format!("{list}.{quantifier}(x, {not}x.{test}({part}))")
            }
        ),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), select(vec!["&&", "||", "==", "!="]), inner.clone())
                .prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            inner.clone().prop_map(|operand| format!("!({operand})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(c, y, n)| format!("({c} ? {y} : {n})")),
        ]
    })
}

/// The answer of the interpreter, if it has one.
fn oracle(root: &Context<'_, '_>, source: &str, fields: &Fields) -> Result<bool, String> {
    let program = Program::compile(source).unwrap();
    let mut scope = root.new_inner_scope();
    fields.bind(&mut scope);
    match program.execute(&scope) {
        Ok(CelValue::Bool(value)) => Ok(value),
        other => Err(format!("{other:?}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn wherever_cel_answers_ours_is_the_same(source in bool_source(), fields in some_fields()) {
        let ours = Predicate::compile(&source, &schema()).unwrap().eval(&fields).unwrap();
        if let Ok(theirs) = oracle(&Context::default(), &source, &fields) {
            prop_assert_eq!(ours, theirs, "{}", source);
        }
    }

    #[test]
    fn with_all_fields_present_cel_always_answers_and_agrees(
        source in bool_source(),
        fields in all_fields(),
    ) {
        // Dividing by zero can give NaN, which CEL refuses to order.
        prop_assume!(!source.contains('/'));
        let ours = Predicate::compile(&source, &schema()).unwrap().eval(&fields).unwrap();
        let theirs = oracle(&Context::default(), &source, &fields);
        prop_assert_eq!(Ok(ours), theirs, "{}", source);
    }

    #[test]
    fn garbage_is_refused_without_a_panic(
        tokens in prop::collection::vec(select(vec![
            "traits.age", "x", "(", ")", "[", "]", "{", "}", "'", "\"", "\\", "&&", "||", "!", "-", "1",
            "2.5", "in", "?", ":", ".", ",", "has", "size", "exists", "all", "map", "'北'", "==", "<", "\n",
            "`", "@", "null", "b'x'", "r'\\'", "true", "timestamp", "\u{0}", "9e999", "0xg",
        ]), 0..24),
        glue in select(vec!["", " "]),
    ) {
        let _ = Predicate::compile(&tokens.join(glue), &schema());
    }
}
