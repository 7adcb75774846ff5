//! Claims about every scorecard, every behaviour and every instant.

use std::sync::Arc;

use aggregate::{
    Amount, Behaviour, Currency, EventFacts, EventKind, LedgerFact, TraitFact, TraitValue,
};
use kernel::EvidenceId;
use proptest::prelude::*;
use uuid::Uuid;

use super::contribution::total;
use super::spec::{GroupSpec, Learning, ModelSpec, RuleSpec, ScorecardSpec, ThresholdSpec};
use super::standing::Change;
use super::*;

const HOUR_US: i64 = 3_600_000_000;
/// 2026-01-01T00:00:00Z.
const DAY_ONE: i64 = 1_767_225_600_000_000;

fn threshold(name: &str, value: f64) -> ThresholdSpec {
    ThresholdSpec { name: name.to_owned(), value }
}

fn rule(name: &str, when: &str, points: f64) -> RuleSpec {
    RuleSpec { name: name.to_owned(), when: when.to_owned(), points, ..RuleSpec::default() }
}

fn traits() -> TraitSchema {
    TraitSchema::new([
        ("job".to_owned(), TraitKind::Text),
        ("age".to_owned(), TraitKind::Number),
        ("joined".to_owned(), TraitKind::Time),
    ])
}

fn set_of(spec: &ScorecardSpec) -> ScorerSet {
    assert!(spec.check(&traits()).is_empty(), "{}", spec.check(&traits()));
    ScorerSet::compile(&[("card".to_owned(), 1, spec.clone())], &[], traits())
}

/// An event `hours` after the first day began.
fn event(behaviour: &mut Behaviour, name: &str, hours: i64, order: bool) {
    let amount = Amount { currency: Currency::new("EUR").unwrap(), micros: 99_000_000 };
    behaviour.fold(&EventFacts {
        name,
        kind: EventKind::Track,
        event_us: DAY_ONE + hours * HOUR_US,
        ledger: order.then_some(LedgerFact::OrderCompleted(Some(amount))),
        traits: &[],
        source: "test",
        evidence: EvidenceId::new(Uuid::nil()),
        message_id: "m",
    });
}

fn attribute(behaviour: &mut Behaviour, name: &str, value: &TraitValue, us: i64) {
    behaviour.fold(&EventFacts {
        name: "",
        kind: EventKind::Identify,
        event_us: us,
        ledger: None,
        traits: &[TraitFact { name, value, personal: false }],
        source: "test",
        evidence: EvidenceId::new(Uuid::nil()),
        message_id: "m",
    });
}

const CONDITIONS: [&str; 8] = [
    "events.total > 2",
    "events[\"A\"].total >= 1",
    "events[\"A\"].last_7_days > 0",
    "events[\"B\"].days_since_last > 3",
    "orders.days_since_last < 30",
    "rfm.recency_band >= 4",
    "life_cycle_stage in [\"at_risk\", \"lapsed\"]",
    "engagement > 1.5 && !(orders.count > 3)",
];
const CLOCKS: [&str; 3] =
    ["events[\"A\"].days_since_last", "days_since_last_event", "orders.days_since_last"];

prop_compose! {
    fn any_rule()(
        condition in 0..CONDITIONS.len(), points in -100.0..100.0_f64, group in 0..3_usize,
        decay in proptest::option::of((1..60_i64, 0..CLOCKS.len())),
    ) -> RuleSpec {
        RuleSpec {
            group: ["", "left", "right"][group].to_owned(),
            half_life_us: decay.map(|(days, _)| days * DAY_US),
            decay_since: decay.map_or(String::new(), |(_, clock)| CLOCKS[clock].to_owned()),
            ..rule("", CONDITIONS[condition], points)
        }
    }
}

prop_compose! {
    fn any_card()(
        base in -50.0..50.0_f64, rules in prop::collection::vec(any_rule(), 0..12),
        max in 0.0..80.0_f64, min in -80.0..0.0_f64,
        levels in prop::collection::vec(-120.0..120.0_f64, 1..4),
    ) -> ScorecardSpec {
        let named = |(number, rule): (usize, RuleSpec)| RuleSpec { name: format!("r{number}"), ..rule };
        let thresholds = levels.iter().enumerate();
        ScorecardSpec {
            base_points: base,
            rules: rules.into_iter().enumerate().map(named).collect(),
            groups: vec![
                GroupSpec { name: "left".to_owned(), max_points: Some(max), min_points: None },
                GroupSpec { name: "right".to_owned(), max_points: Some(max), min_points: Some(min) },
            ],
            thresholds: thresholds.map(|(n, value)| threshold(&format!("t{n}"), *value)).collect(),
            description: String::new(),
        }
    }
}

prop_compose! {
    fn any_behaviour()(
        events in prop::collection::vec((0..3_usize, 0..2_000_i64, any::<bool>()), 1..20),
    ) -> Behaviour {
        let mut behaviour = Behaviour::default();
        for (name, hours, order) in events {
            event(&mut behaviour, ["A", "B", "C"][name], hours, order);
        }
        behaviour
    }
}

/// The names of the reached thresholds at an instant.
fn reached(set: &ScorerSet, behaviour: &Behaviour, us: i64) -> Vec<String> {
    set.score(Moment::new(behaviour, us), &Weights::new()).remove(0).reached
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn contributions_add_up_in_any_order_and_caps_hold_exactly(
        spec in any_card(), behaviour in any_behaviour(), hours in 0..6_000_i64,
    ) {
        let set = set_of(&spec);
        let scored = set.score(Moment::new(&behaviour, DAY_ONE + hours * HOUR_US), &Weights::new());
        let scored = &scored[0];
        let mut amounts: Vec<f64> = scored.contributions.iter().map(|part| part.amount).collect();
        let forwards = amounts.iter().fold(0.0, |sum, amount| sum + amount);
        amounts.reverse();
        let backwards = amounts.iter().fold(0.0, |sum, amount| sum + amount);
        prop_assert_eq!(forwards.to_bits(), scored.value.to_bits());
        prop_assert_eq!(backwards.to_bits(), scored.value.to_bits());
        prop_assert_eq!(scored.total.to_bits(), scored.value.to_bits());
        for group in &spec.groups {
            let members = spec.rules.iter().filter(|rule| rule.group == group.name);
            let mut names: Vec<String> = members.map(|rule| rule.name.clone()).collect();
            names.push(format!("cap:{}", group.name));
            let parts = scored.contributions.iter().filter(|part| names.contains(&part.name));
            let sum: f64 = parts.map(|part| part.amount).sum();
            prop_assert!(group.max_points.is_none_or(|max| sum <= scorecard::on_grid(max)));
            prop_assert!(group.min_points.is_none_or(|min| sum >= scorecard::on_grid(min)));
        }
    }

    #[test]
    fn the_clock_is_due_exactly_when_a_scan_of_every_hour_sees_a_threshold_crossed(
        spec in any_card(), behaviour in any_behaviour(), hours in 0..2_500_i64,
    ) {
        const HORIZON_HOURS: i64 = 400 * 24;
        let set = set_of(&spec);
        let now_us = DAY_ONE + hours * HOUR_US + 1;
        let before = reached(&set, &behaviour, now_us);
        // What the timer does: look at each due instant until something was crossed.
        let mut due = next_crossing(&set, &Weights::new(), &behaviour, now_us);
        while let Some(us) = due.filter(|us| reached(&set, &behaviour, *us) == before) {
            due = next_crossing(&set, &Weights::new(), &behaviour, us);
            prop_assert!(due.is_none_or(|next| next > us));
            if us > now_us + HORIZON_HOURS * HOUR_US {
                due = None;
            }
        }
        let scan = (1..=HORIZON_HOURS).map(|hour| now_us + hour * HOUR_US);
        let seen = scan.into_iter().find(|us| reached(&set, &behaviour, *us) != before);
        match seen {
            Some(seen) => {
                let due = due.unwrap_or(i64::MAX);
                prop_assert!(due <= seen && due > seen - HOUR_US, "due {due}, seen {seen}");
            }
            None => prop_assert!(due.is_none_or(|due| due > now_us + HORIZON_HOURS * HOUR_US)),
        }
    }
}

#[test]
fn points_halve_with_each_half_life_and_count_nothing_before_the_first_event() {
    let spec = ScorecardSpec {
        rules: vec![RuleSpec {
            half_life_us: Some(7 * DAY_US),
            decay_since: "events[\"Pricing Viewed\"].days_since_last".to_owned(),
            ..rule("interest", "true", 40.0)
        }],
        ..ScorecardSpec::default()
    };
    let set = set_of(&spec);
    let mut behaviour = Behaviour::default();
    event(&mut behaviour, "Other", 0, false);
    let value = |behaviour: &Behaviour, day: i64| {
        let moment = Moment::new(behaviour, DAY_ONE + day * DAY_US);
        set.score(moment, &Weights::new()).remove(0).value
    };
    assert_eq!(value(&behaviour, 0), 0.0);
    event(&mut behaviour, "Pricing Viewed", 1, false);
    assert_eq!([0, 7, 14, 21].map(|day| value(&behaviour, day)), [40.0, 20.0, 10.0, 5.0]);
}

#[test]
fn a_cap_that_bites_is_a_contribution_of_its_own() {
    let grouped =
        |name: &str, points| RuleSpec { group: "g".to_owned(), ..rule(name, "true", points) };
    let spec = ScorecardSpec {
        base_points: 1.0,
        rules: vec![grouped("a", 15.0), rule("free", "true", 2.0), grouped("b", 10.0)],
        groups: vec![GroupSpec { name: "g".to_owned(), max_points: Some(20.0), min_points: None }],
        ..ScorecardSpec::default()
    };
    let behaviour = Behaviour::default();
    let scored = set_of(&spec).score(Moment::new(&behaviour, DAY_ONE), &Weights::new()).remove(0);
    let lines: Vec<_> =
        scored.contributions.iter().map(|part| (part.name.as_str(), part.amount)).collect();
    let expected = [("(base)", 1.0), ("a", 15.0), ("free", 2.0), ("b", 10.0), ("cap:g", -5.0)];
    assert_eq!(lines, expected);
    assert_eq!(scored.value, 23.0);
    let reasons: Vec<_> = scored.top_reasons().into_iter().map(|part| part.name).collect();
    assert_eq!(reasons, ["a", "b", "cap:g"]);
}

#[test]
fn a_value_of_another_type_than_declared_and_a_vanished_trait_are_absent() {
    let spec = ScorecardSpec {
        rules: vec![
            rule("job", "traits.job == \"student\"", 5.0),
            rule("age", "traits.age > 3", 7.0),
        ],
        ..ScorecardSpec::default()
    };
    let mut behaviour = Behaviour::default();
    attribute(&mut behaviour, "job", &TraitValue::text("student").unwrap(), DAY_ONE);
    attribute(&mut behaviour, "age", &TraitValue::text("many").unwrap(), DAY_ONE);
    let moment = Moment::new(&behaviour, DAY_ONE);
    assert_eq!(set_of(&spec).score(moment, &Weights::new())[0].value, 5.0);
    let later = TraitSchema::new([("age".to_owned(), TraitKind::Text)]);
    let set = ScorerSet::compile(&[("card".to_owned(), 1, spec)], &[], later);
    assert_eq!(set.score(moment, &Weights::new())[0].value, 0.0);
}

#[test]
fn a_model_accounts_for_its_logit_to_the_last_bit_and_learns_what_was_logged() {
    let names = ["traits.job", "traits.age", "traits.joined", "orders.count"];
    let spec = ModelSpec {
        features: names.map(str::to_owned).to_vec(),
        learning: Learning::On,
        demand_kinds: vec!["lead".to_owned()],
        thresholds: vec![threshold("likely", 60.0)],
        description: String::new(),
    };
    assert!(spec.check(&traits()).is_empty());
    let set = ScorerSet::compile(&[], &[("model".to_owned(), spec)], traits());
    let model = set.get("model").unwrap().model().unwrap();
    assert!(model.wants("lead") && !model.wants("win-back"));
    let mut knowledge = Knowledge::default();
    let mut last = Behaviour::default();
    for round in 0..200_i64 {
        let mut behaviour = Behaviour::default();
        let job = if round % 3 == 0 { "student" } else { "clerk" };
        attribute(&mut behaviour, "job", &TraitValue::text(job).unwrap(), DAY_ONE);
        let age = TraitValue::number(20.0 + (round % 7) as f64).unwrap();
        attribute(&mut behaviour, "age", &age, DAY_ONE);
        attribute(&mut behaviour, "joined", &TraitValue::time(DAY_ONE - round * DAY_US), DAY_ONE);
        let moment = Moment::new(&behaviour, DAY_ONE);
        let logged = set.snapshot(moment);
        assert_eq!(logged["orders.count"], Logged::Int(0), "also what never happened is logged");
        knowledge.model.learn(&model.example(&logged, DAY_ONE, job == "student"));
        knowledge.labels += 1;
        last = behaviour;
    }
    let weights = Weights::from([("model".to_owned(), Arc::new(knowledge))]);
    let scored = set.score(Moment::new(&last, DAY_ONE), &weights).remove(0);
    let sum = scored.contributions.iter().fold(0.0, |sum, part| sum + part.amount);
    assert_eq!(sum.to_bits(), scored.total.to_bits());
    assert_eq!(total(&scored.contributions).to_bits(), scored.total.to_bits());
    let probability = 1.0 / (1.0 + (-scored.total).exp());
    assert!((scored.probability.unwrap() - probability).abs() < 1e-12);
    assert!(scored.value < 20.0, "clerks never say yes: {}", scored.value);
    let job = scored.contributions.iter().find(|part| part.name == "traits.job=clerk").unwrap();
    assert_eq!(job.description, "job = clerk");
    assert!(job.amount < 0.0);
    assert_eq!(scored.version, 200);
}

fn scored(scorer: &str, value: f64, reached: &[&str]) -> Scored {
    Scored {
        scorer: scorer.to_owned(),
        kind: Kind::Scorecard,
        value,
        probability: None,
        version: 1,
        reached: reached.iter().map(|name| (*name).to_owned()).collect(),
        total: value,
        contributions: Vec::new(),
        read: Vec::new(),
    }
}

#[test]
fn each_crossing_of_a_threshold_is_known_by_its_own_version() {
    let since = |change: &Change| -> Vec<(String, i64)> {
        let all = change.scores.iter().flat_map(|score| &score.reached);
        all.map(|reached| (reached.name.clone(), reached.since)).collect()
    };
    let of = |name: &str, version| (name.to_owned(), version);
    let warm = transition(&[], vec![scored("s", 30.0, &["warm"])], 1);
    assert!(warm.changed);
    assert_eq!(since(&warm), [of("warm", 1)]);
    let same = transition(&warm.scores, vec![scored("s", 30.0, &["warm"])], 2);
    assert_eq!((same.changed, since(&same)), (false, since(&warm)));
    // Another threshold of the same scorer does not move the first one's crossing.
    let hot = transition(&same.scores, vec![scored("s", 60.0, &["warm", "hot"])], 2);
    assert_eq!(since(&hot), [of("warm", 1), of("hot", 2)]);
    let down = transition(&hot.scores, vec![scored("s", 5.0, &[])], 3);
    assert!(down.changed && since(&down).is_empty());
    // Nor is a crossing taken for an earlier one, also when the scorer was gone in between.
    let gone = transition(&down.scores, Vec::new(), 4);
    assert!(gone.changed && gone.scores.is_empty());
    let again = transition(&gone.scores, vec![scored("s", 60.0, &["warm", "hot"])], 5);
    assert_eq!(since(&again), [of("warm", 5), of("hot", 5)]);
}
