//! What the language accepts, answers and refuses.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;

use predicate::{EvalError, Expression, Field, Lookup, Predicate, Schema, Type, Value};

fn schema() -> Schema {
    Schema::new()
        .with("traits.age", Type::Number)
        .with("traits.country", Type::Text)
        .with("traits.vip", Type::Bool)
        .with("traits.full-name", Type::Text)
        .with("orders.count", Type::Number)
        .with("orders.total", Type::Number)
        .with("orders.last", Type::Time)
        .with("now", Type::Time)
        .with("demand.skills", Type::TextList)
        .with("agent.skills", Type::TextList)
        .with_map("demand.attributes", Type::Text)
        .with_records("events", [("count", Type::Number), ("total", Type::Number)])
}

/// Fields by their printed name.
#[derive(Default)]
struct Fields {
    numbers: BTreeMap<&'static str, f64>,
    texts: BTreeMap<&'static str, &'static str>,
    lists: BTreeMap<&'static str, Vec<String>>,
    times: BTreeMap<&'static str, i64>,
}

impl Lookup for Fields {
    fn get(&self, field: &Field) -> Option<Value<'_>> {
        let name = field.to_string();
        let number = self.numbers.get(name.as_str()).map(|number| Value::Number(*number));
        let text = self.texts.get(name.as_str()).map(|text| Value::Text(text));
        let list = self.lists.get(name.as_str()).map(|list| Value::TextList(list));
        let time = self.times.get(name.as_str()).map(|time| Value::Time(*time));
        number.or(text).or(list).or(time)
    }
}

fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn customer() -> Fields {
    Fields {
        numbers: BTreeMap::from([
            ("traits.age", 34.0),
            ("orders.count", 4.0),
            ("orders.total", 250.0),
            ("events[\"Order Completed\"].total", 250.0),
        ]),
        texts: BTreeMap::from([
            ("traits.full-name", "张伟"),
            ("demand.attributes[\"channel\"]", "wechat"),
        ]),
        lists: BTreeMap::from([
            ("demand.skills", list(&["credit", "english"])),
            ("agent.skills", list(&["credit", "mortgage", "english"])),
        ]),
        times: BTreeMap::from([("orders.last", 1_767_225_600_000_000)]),
    }
}

fn holds(source: &str) -> bool {
    let predicate = Predicate::compile(source, &schema()).expect(source);
    predicate.eval(&customer()).expect(source)
}

#[test]
fn predicates_answer_over_every_kind_of_field() {
    for source in [
        "traits.age >= 18 && orders.count in [3, 4, 5]",
        "events[\"Order Completed\"].total > 100.5",
        "events['Order Completed'].total / orders.count == 62.5",
        "demand.attributes.channel == \"wechat\" && demand.attributes['channel'].contains('cha')",
        "demand.skills.all(skill, skill in agent.skills)",
        "agent.skills.exists(skill, skill.startsWith('mort'))",
        "traits[\"full-name\"].endsWith('伟') && size(traits[\"full-name\"]) == 2",
        "orders.last == timestamp('2026-01-01T00:00:00Z')",
        "(has(traits.age) ? traits.age : 99) < 40",
        "-orders.count + 5 == 1 && 7 / 2 == 3.5",
    ] {
        assert!(holds(source), "{source}");
        assert!(!holds(&format!("!({source})")), "not {source}");
    }
}

#[test]
fn whatever_is_asked_of_an_absent_value_is_false() {
    for source in [
        "traits.country == 'cn'",
        "traits.country != 'cn'",
        "traits.country in ['cn', 'de']",
        "traits.country.startsWith('c')",
        "traits.vip",
        "traits.vip == false",
        "has(traits.vip)",
        "events.Signup.count + 1 > 0",
        "now > orders.last",
    ] {
        assert!(!holds(source), "{source}");
    }
    assert!(holds("!has(traits.country) || traits.country != 'cn'"));
}

/// Compiles what must not, and gives the printed problems.
fn refused(source: &str) -> Vec<String> {
    match Predicate::compile(source, &schema()) {
        Ok(_) => panic!("accepted: {source}"),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn all_that_is_wrong_is_told_with_its_place_and_a_suggestion() {
    assert_eq!(
        refused("traits.aeg > 18 &&\n  traits.country == 7 && traits.country.startWith('c')"),
        [
            "1:1: unknown field `traits.aeg`; did you mean `traits.age`?",
            "2:18: a string cannot be compared with a number",
            "2:50: unknown function `startWith`; did you mean `startsWith`?",
        ]
    );
    assert!(refused("'张伟' == '张' &&\n '伟' == == 3")[0].starts_with("2:9: syntax"));
    assert_eq!(refused("traits['full-name'] == '张伟' && nwo == now")[0].get(..5), Some("1:32:"));
}

#[test]
fn what_does_not_fit_is_refused_with_a_reason() {
    for (source, reason) in [
        ("", "is empty"),
        ("traits.age >", "syntax"),
        ("traits.age + 1", "must be a boolean, this is a number"),
        ("traits.age == null", "ask `has(x)`"),
        ("traits.vip > false", "no order"),
        ("!traits.age", "the operand of ! must be a boolean"),
        ("traits.age % 2 == 0", "% is not supported"),
        ("traits.country + 'x' == 'y'", "an operand of arithmetic must be a number"),
        ("traits.country in [1, 2]", "must be a string, this is a number"),
        ("traits.age in demand.skills", "cannot hold a number"),
        ("traits.country in [traits.country]", "must be a literal"),
        ("events['x'] == 3", "write events[\"key\"].member with one of count, total"),
        ("events['x'].cuont == 3", "did you mean `count`?"),
        ("demand.attributes[traits.country] == 'x'", "key must be a string literal"),
        ("traits.age == 9007199254740993", "too large to be exact"),
        ("[1, 2].exists(x, x == 1)", "only stand to the right of `in`"),
        ("demand.skills.map(x, x) == []", "only `exists` and `all`"),
        ("demand.skills.exists(x, agent.skills.exists(y, x == y))", "cannot nest"),
        ("demand.skills.exists(traits, traits.age > 3)", "has no members"),
        ("orders.last > timestamp('yesterday')", "RFC 3339"),
        ("has(traits.aeg)", "did you mean `traits.age`?"),
    ] {
        let told = refused(source);
        assert!(told.iter().any(|problem| problem.contains(reason)), "{source}: {told:?}");
    }
}

#[test]
fn cost_is_bounded_before_the_parser_sees_it() {
    let chain = format!("traits.age > {}", "1 + ".repeat(900) + "1");
    let nested = format!("{}traits.vip{}", "(".repeat(900), ")".repeat(900));
    let deep = format!("traits.age > {}1", "1 + ".repeat(40));
    let long = format!("traits.country == '{}'", "x".repeat(5_000));
    let many = vec!["traits.vip"; 300].join(" || ");
    let nots = format!("{}traits.vip", "!".repeat(4_000));
    for source in [&chain, &nested, &deep, &long, &many, &nots] {
        assert_eq!(refused(source).len(), 1, "{source}");
    }
    let broad = vec!["traits.age == 1"; 60].join(" || ");
    assert!(!holds(&broad));
}

#[test]
fn operators_cannot_be_hidden_behind_a_quote() {
    let chain = format!("traits.age > {}1", "1 + ".repeat(300));
    for before in [
        r#"traits.country == r"\" || "#,
        r"traits.country == R'\' || ",
        r#"br"\" == b'' || "#,
        "// it's late\n",
        r#"traits.country == """a" b""" || "#,
        r#"traits.country == "" || "#,
        "' ",
    ] {
        let told = refused(&format!("{before}{chain}"));
        assert_eq!(told, ["more than 256 operators"], "{before}");
    }
}

#[test]
fn long_lists_of_numbers_and_comments_are_no_operators() {
    let numbers: Vec<String> = (0..300).map(|number| format!("{number}.5")).collect();
    assert!(holds(&format!("!(traits.age in [{}])", numbers.join(", "))));
    assert!(holds(&format!("!(traits.age in [-{}])", numbers.join(", -"))));
    assert!(holds(&format!("traits.age == 34 // {}\n && orders.count == 4", ".".repeat(300))));
    assert!(holds(&format!("traits.country != r'''{}''' || traits.age == 34", "+\"".repeat(300))));
}

#[test]
fn an_expression_gives_a_finite_number_or_says_why_not() {
    let value = |source: &str| Expression::compile(source, &schema()).unwrap().eval(&customer());
    assert_eq!(value("orders.total / orders.count"), Ok(Some(62.5)));
    assert_eq!(value("events.Signup.count * 2"), Ok(None));
    assert_eq!(value("orders.total / (orders.count - 4)"), Err(EvalError::NotFinite));
    assert!(Expression::compile("traits.vip", &schema()).is_err());
}

#[test]
fn a_lookup_that_breaks_the_schema_is_an_error() {
    let lookup = Fields { texts: BTreeMap::from([("traits.age", "34")]), ..Fields::default() };
    let predicate = Predicate::compile("traits.age > 3", &schema()).unwrap();
    let error = predicate.eval(&lookup).unwrap_err();
    assert_eq!(error.to_string(), "traits.age is declared as a number but the value is a string");
}

#[test]
fn a_predicate_knows_which_fields_it_reads() {
    let source = "has(traits.age) && events['x'].count > 1 && 'a' in agent.skills";
    let predicate = Predicate::compile(source, &schema()).unwrap();
    let names: Vec<_> = predicate.fields().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["agent.skills", "events[\"x\"].count", "traits.age"]);
}
