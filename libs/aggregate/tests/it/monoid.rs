//! DESIGN 6.4: a state is a function of the set of its events.

use std::collections::HashSet;

use aggregate::{Behaviour, TraitValue};
use proptest::prelude::*;

use crate::sample::{BASE_US, Both, DAY_US, Sample, any_samples};

/// Merges neighbours chosen by `picks` until one state is left: any tree over any order.
fn merge_as_tree(mut parts: Vec<Both>, picks: &[usize]) -> Both {
    let mut picks = picks.iter().cycle();
    while parts.len() > 1 {
        let pick = picks.next().copied().unwrap_or(0);
        let right = parts.swap_remove(pick % parts.len());
        let at = (pick / 7) % parts.len();
        if pick % 2 == 0 {
            parts[at].merge(&right);
        } else {
            let mut merged = right;
            merged.merge(&parts[at]);
            parts[at] = merged;
        }
    }
    parts.pop().unwrap_or_default()
}

/// Events in any order, some of them again, and how to batch and merge them.
fn any_history() -> impl Strategy<Value = (Vec<Sample>, Vec<usize>, Vec<usize>)> {
    any_samples(90).prop_flat_map(|samples| {
        let twice: Vec<usize> = (0..samples.len()).chain(0..samples.len() / 3).collect();
        let picks = proptest::collection::vec(0..10_000_usize, 1..40);
        (Just(samples), Just(twice).prop_shuffle(), picks)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_order_duplication_batching_merge_and_split_give_the_same_bytes(
        (samples, arrivals, picks) in any_history()
    ) {
        let expected = Both::of_all(&samples).bytes();

        // The service admits each (evidence, message id) once.
        let mut admitted = HashSet::new();
        let mut batches = vec![Both::default()];
        for (step, arrival) in arrivals.iter().enumerate() {
            let sample = &samples[*arrival];
            if !admitted.insert((sample.evidence, &sample.message_id)) {
                continue;
            }
            if picks[step % picks.len()] % 3 == 0 {
                batches.push(Both::default());
            }
            if let Some(batch) = batches.last_mut() {
                batch.fold(sample);
            }
        }
        prop_assert_eq!(&merge_as_tree(batches, &picks).bytes(), &expected);

        let singles = arrivals.iter().collect::<HashSet<_>>().into_iter();
        let singles = singles.map(|arrival| Both::of(&samples[*arrival])).collect();
        prop_assert_eq!(&merge_as_tree(singles, &picks).bytes(), &expected);

        // A customer of three fragments; one of them moves out and back.
        let fragment = |evidence| Both::of_all(samples.iter().filter(|s| s.evidence == evidence));
        let mut rest = fragment(0);
        rest.merge(&fragment(2));
        let without = samples.iter().filter(|sample| sample.evidence != 1);
        prop_assert_eq!(&rest.bytes(), &Both::of_all(without).bytes());
        rest.merge(&fragment(1));
        prop_assert_eq!(&rest.bytes(), &expected);
    }

    #[test]
    fn storing_in_between_changes_nothing(samples in any_samples(60)) {
        let mut stored = Behaviour::default();
        for sample in &samples {
            stored = Behaviour::decode(&stored.encode()).unwrap();
            sample.with(|event| stored.fold(event));
        }
        prop_assert_eq!(stored, Both::of_all(&samples).behaviour);
    }

    #[test]
    fn attributes_are_idempotent(samples in any_samples(60)) {
        let once = Both::of_all(&samples).personal;
        let mut twice = once.clone();
        prop_assert!(!twice.merge(&once));
        for sample in &samples {
            prop_assert!(!sample.with(|event| twice.fold(event)));
        }
        prop_assert_eq!(twice, once);
    }
}

#[test]
fn the_latest_value_wins_whenever_it_arrives() {
    let says = |city: &str, event_us| {
        let value = TraitValue::text(city).unwrap();
        let traits = vec![("city".to_owned(), value, false)];
        Sample { traits, ..Sample::named("identify", event_us) }
    };
    let (old, new) = (says("Xiamen", BASE_US), says("Chengdu", BASE_US + 1));
    for order in [[&old, &new], [&new, &old]] {
        let state = Both::of_all(order).behaviour;
        let city = state.traits().find(|kept| kept.name() == "city").unwrap();
        assert_eq!(city.value(), &TraitValue::text("Chengdu").unwrap());
        assert_eq!(city.event_us(), BASE_US + 1);
    }
}

#[test]
fn a_counter_that_is_kept_is_exact_however_many_names_there_are() {
    let samples: Vec<Sample> = (0..1_000)
        .map(|n| Sample::named(&format!("Name {}", n % 100), BASE_US - n * DAY_US / 50))
        .collect();
    let state = Both::of_all(&samples).behaviour;
    assert_eq!(state.counters().len(), 32);
    assert!(state.counters().all(|counter| counter.total() == 10));
    assert_eq!(state.total_events(), 1_000);
}

#[test]
fn personal_values_never_reach_the_clear_part() {
    let value = TraitValue::text("li.lei@example.org").unwrap();
    let traits = vec![("email".to_owned(), value, true)];
    let both = Both::of(&Sample { traits, ..Sample::named("identify", BASE_US) });
    assert!(!String::from_utf8_lossy(&both.behaviour.encode()).contains("li.lei"));
    assert!(String::from_utf8_lossy(&both.personal.encode()).contains("li.lei"));
    assert!(both.behaviour.is_identified());
}
