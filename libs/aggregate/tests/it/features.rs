//! Features against a plain computation over the events themselves.

use aggregate::{Behaviour, EventMeasure, Feature, FeatureView, LedgerFact, TraitValue, Value};
use proptest::prelude::*;

use crate::sample::{BASE_US, Both, DAY_US, Sample, any_samples};

fn day(us: i64) -> i64 {
    us.div_euclid(DAY_US)
}

fn count_window<'a>(samples: impl Iterator<Item = &'a Sample>, days: i64, now_us: i64) -> i64 {
    let age = |sample: &Sample| day(now_us) - day(sample.event_us);
    samples.filter(|sample| (0..days).contains(&age(sample))).count() as i64
}

proptest! {
    #[test]
    fn windows_equal_a_count_over_the_events(
        samples in any_samples(90),
        ahead_us in 0..40 * DAY_US,
    ) {
        let state = Both::of_all(&samples).behaviour;
        // Events lie at most a day ahead of the clock.
        let now_us = state.last_us().unwrap_or(BASE_US) - DAY_US + ahead_us;
        let view = FeatureView::new(&state, now_us);
        for (window, name) in [(7, "last_7_days"), (30, "last_30_days")] {
            let all = count_window(samples.iter(), window, now_us);
            prop_assert_eq!(view.lookup(&format!("events.{name}")), Some(Value::Int(all)));
            for counter in state.counters() {
                let named = samples.iter().filter(|sample| {
                    let name = if sample.name.is_empty() { "page" } else { &sample.name };
                    name == counter.name()
                });
                let feature = format!("events[\"{}\"].{name}", counter.name());
                let expected = count_window(named, window, now_us);
                prop_assert_eq!(view.lookup(&feature), Some(Value::Int(expected)));
            }
        }
    }

    #[test]
    fn engagement_is_close_to_the_decayed_sum(samples in any_samples(90), ahead in 0..99_i64) {
        let state = Both::of_all(&samples).behaviour;
        let now_us = state.last_us().unwrap_or(BASE_US) + ahead * DAY_US;
        let age = |sample: &Sample| (day(now_us) - day(sample.event_us)) as f64;
        let exact: f64 = samples.iter().map(|sample| (-age(sample) / 14.0).exp2()).sum();
        let engagement = state.engagement(now_us);
        // Only what is summed in blocks (beyond 32 days) is approximated by its mean age.
        let lowest = 0.93 * exact - 1e-6;
        prop_assert!((lowest..=1.001 * exact).contains(&engagement), "{engagement} {exact}");
    }

    #[test]
    fn nothing_changes_before_its_next_change(samples in any_samples(60), hours in -24..9_000_i64) {
        let state = Both::of_all(&samples).behaviour;
        let now_us = state.last_us().unwrap_or(BASE_US) + hours * DAY_US / 24;
        let view = FeatureView::new(&state, now_us);
        for (feature, value) in view.all() {
            let next_us = view.next_change_us(&feature);
            prop_assert!(next_us.is_none_or(|next_us| next_us > now_us));
            let until_us = next_us.unwrap_or(now_us + 3_000 * DAY_US) - 1;
            for at_us in [until_us, now_us + (until_us - now_us) / 2] {
                let later = FeatureView::new(&state, at_us).get(&feature);
                prop_assert_eq!(later, Some(value), "{} at {}", feature, at_us);
            }
        }
        let next_us = state.next_change_us(now_us).unwrap_or(now_us + 3_000 * DAY_US);
        let before = FeatureView::new(&state, next_us - 1);
        for name in ["rfm.recency_band", "life_cycle_stage", "events.last_7_days"] {
            prop_assert_eq!(before.lookup(name), view.lookup(name));
        }
    }

    #[test]
    fn names_of_features_read_back(name in "[ -~]{1,20}") {
        let feature = Feature::event(&name, EventMeasure::Last30Days);
        prop_assert_eq!(feature.to_string().parse(), Ok(feature));
    }
}

fn stage(state: &Behaviour, now_us: i64) -> Option<Value<'_>> {
    FeatureView::new(state, now_us).lookup("life_cycle_stage")
}

#[test]
fn a_customer_moves_through_the_stages_without_an_event() {
    let mut state = Both::of(&Sample::named("Viewed", BASE_US)).behaviour;
    assert_eq!(stage(&Behaviour::default(), BASE_US), None);
    assert_eq!(stage(&state, BASE_US), Some(Value::Text("visitor")));

    let traits = vec![("city".to_owned(), TraitValue::bool(true), true)];
    Sample { traits, ..Sample::named("identify", BASE_US) }.with(|event| state.fold(event));
    assert_eq!(stage(&state, BASE_US), Some(Value::Text("lead")));

    let order = |event_us| Sample {
        ledger: Some(LedgerFact::OrderCompleted(None)),
        ..Sample::named("Order Completed", event_us)
    };
    order(BASE_US).with(|event| state.fold(event));
    assert_eq!(stage(&state, BASE_US), Some(Value::Text("new_customer")));
    order(BASE_US - DAY_US).with(|event| state.fold(event));
    assert_eq!(stage(&state, BASE_US), Some(Value::Text("active")));

    let life_cycle: Feature = "life_cycle_stage".parse().unwrap();
    let at_risk_us = FeatureView::new(&state, BASE_US).next_change_us(&life_cycle).unwrap();
    assert_eq!(at_risk_us, BASE_US + 90 * DAY_US + 1);
    assert_eq!(stage(&state, at_risk_us - 1), Some(Value::Text("active")));
    assert_eq!(stage(&state, at_risk_us), Some(Value::Text("at_risk")));
    let lapsed_us = FeatureView::new(&state, at_risk_us).next_change_us(&life_cycle).unwrap();
    assert_eq!(stage(&state, lapsed_us - 1), Some(Value::Text("at_risk")));
    assert_eq!(stage(&state, lapsed_us), Some(Value::Text("lapsed")));
    assert_eq!(FeatureView::new(&state, lapsed_us).next_change_us(&life_cycle), None);
}

#[test]
fn what_cannot_be_known_has_no_value() {
    let few = Both::of(&Sample::named("Viewed", BASE_US)).behaviour;
    let view = FeatureView::new(&few, BASE_US);
    assert_eq!(view.lookup("events[\"Never\"].total"), Some(Value::Int(0)));
    assert_eq!(view.lookup("events[\"Never\"].days_since_last"), None);
    assert_eq!(view.lookup("traits.city"), None);
    assert_eq!(view.lookup("orders.days_since_last"), None);
    for unknown in ["orders", "events[\"\"].total", "events[\"a\"].sum", "traits.", "traits.1"] {
        assert!(unknown.parse::<Feature>().is_err(), "{unknown}");
    }

    let names: Vec<String> = (0..200).map(|n| format!("Name {n}")).collect();
    let samples: Vec<Sample> = names.iter().map(|name| Sample::named(name, BASE_US)).collect();
    let many = Both::of_all(&samples).behaviour;
    let view = FeatureView::new(&many, BASE_US);
    let totals = names.iter().map(|name| view.get(&Feature::event(name, EventMeasure::Total)));
    let (known, unknown): (Vec<_>, Vec<_>) = totals.partition(Option::is_some);
    assert_eq!((known.len(), unknown.len()), (32, 168));
    assert!(known.iter().all(|total| *total == Some(Value::Int(1))));
}
