//! The algebra that callers rely on, over random logs.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use learn::metrics::{Outcome, auc, reliability, top_conversion};
use learn::{CheckpointError, Example, FeatureValue, Features, MAX_WEIGHTS, Model};
use proptest::prelude::*;
use proptest::sample::select;

fn feature() -> impl Strategy<Value = (String, FeatureValue)> {
    let number = prop_oneof![-3.0..3.0, -1e12..1e12, Just(0.0), Just(f64::MAX)];
    prop_oneof![
        (select(vec!["age", "balance"]), number)
            .prop_map(|(name, number)| (name.to_owned(), FeatureValue::Number(number))),
        (select(vec!["job", "月"]), select(vec!["a", "b", "", "学生"]))
            .prop_map(|(name, level)| (name.to_owned(), FeatureValue::Category(level.to_owned()))),
        any::<bool>().prop_map(|value| ("loan".to_owned(), FeatureValue::Bool(value))),
    ]
}

fn features() -> impl Strategy<Value = Features> {
    prop::collection::vec(feature(), 0..6)
        .prop_filter_map("one number a name", |features| Features::new(features).ok())
}

fn example() -> impl Strategy<Value = Example> {
    (features(), any::<bool>(), select(vec![1.0, 0.25, 7.5]))
        .prop_map(|(features, label, weight)| Example { features, label, weight })
}

fn log() -> impl Strategy<Value = Vec<Example>> {
    prop::collection::vec(example(), 0..60)
}

fn fold(mut model: Model, log: &[Example]) -> Model {
    log.iter().for_each(|example| model.learn(example));
    model
}

fn outcomes() -> impl Strategy<Value = Vec<Outcome>> {
    let outcome = (0_u8..12, any::<bool>())
        .prop_map(|(twelfths, label)| Outcome { probability: f64::from(twelfths) / 12.0, label });
    prop::collection::vec(outcome, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn contributions_add_up_to_the_logit_exactly(log in log(), case in features()) {
        let model = fold(Model::default(), &log);
        let prediction = model.predict(&case);
        let mut sum = prediction.bias;
        for contribution in &prediction.contributions {
            sum += contribution.value;
        }
        prop_assert_eq!(sum.to_bits(), prediction.logit.to_bits());
        prop_assert!(prediction.logit.is_finite());
        prop_assert_eq!(model.probability(&case), prediction.probability);
    }

    #[test]
    fn a_checkpoint_in_the_middle_changes_nothing(log in log(), at in 0_usize..60) {
        let (before, after) = log.split_at(at.min(log.len()));
        let checkpoint = fold(Model::default(), before).encode();
        let resumed = fold(Model::decode(&checkpoint).unwrap(), after);
        prop_assert_eq!(resumed.encode(), fold(Model::default(), &log).encode());
    }

    #[test]
    fn a_damaged_checkpoint_is_refused_or_a_model(
        log in log(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = fold(Model::default(), &log).encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(model) = Model::decode(&bytes) {
            let _ = model.predict(&Features::default());
        }
    }

    #[test]
    fn auc_is_the_share_of_pairs_in_order(outcomes in outcomes()) {
        let (mut won, mut pairs) = (0.0, 0.0);
        for positive in outcomes.iter().filter(|outcome| outcome.label) {
            for negative in outcomes.iter().filter(|outcome| !outcome.label) {
                pairs += 1.0;
                won += match positive.probability.total_cmp(&negative.probability) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
            }
        }
        let naive = (pairs > 0.0).then(|| won / pairs);
        match (auc(&outcomes), naive) {
            (Some(ours), Some(naive)) => prop_assert!((ours - naive).abs() < 1e-12),
            (ours, naive) => prop_assert_eq!(ours, naive),
        }
    }

    #[test]
    fn bands_hold_every_row_once_whatever_the_order(mut outcomes in outcomes()) {
        let bands = reliability(&outcomes);
        let rows: f64 = bands.iter().map(|band| band.count).sum();
        let came: f64 = bands.iter().map(|band| band.count * band.observed).sum();
        let positives = outcomes.iter().filter(|outcome| outcome.label).count();
        prop_assert!((rows - outcomes.len() as f64).abs() < 1e-9);
        prop_assert!((came - positives as f64).abs() < 1e-9);
        outcomes.reverse();
        prop_assert_eq!(bands, reliability(&outcomes));
        let all = top_conversion(&outcomes, 1.0).unwrap();
        prop_assert!((all - positives as f64 / outcomes.len() as f64).abs() < 1e-9);
    }
}

fn category(name: &str, level: String) -> Features {
    Features::new([(name.to_owned(), FeatureValue::Category(level))]).unwrap()
}

#[test]
fn a_full_model_refuses_new_levels_and_goes_on() {
    let mut model = Model::default();
    for level in 0..MAX_WEIGHTS + 40 {
        let features = category("city", level.to_string());
        model.learn(&Example { features, label: true, weight: 1.0 });
    }
    assert_eq!(model.refused(), 40);
    assert_eq!(model.examples(), (MAX_WEIGHTS + 40) as u64);
    let late = model.predict(&category("city", MAX_WEIGHTS.to_string()));
    assert!(late.contributions.iter().all(|contribution| contribution.feature == "(calibration)"));
    assert_eq!(Model::decode(&model.encode()), Ok(model));
}

#[test]
fn a_missing_number_has_its_own_reason() {
    let mut model = Model::default();
    let known = Features::new([("income".to_owned(), FeatureValue::Number(3.0))]).unwrap();
    for round in 0..200 {
        let missing = round % 2 == 0;
        let features = if missing { Features::default() } else { known.clone() };
        model.learn(&Example { features, label: missing, weight: 1.0 });
    }
    let prediction = model.predict(&Features::default());
    assert_eq!(prediction.contributions[0].feature, "income (missing)");
    assert!(prediction.contributions[0].value > 0.5);
    assert!(prediction.probability > model.probability(&known) + 0.3);
}

#[test]
fn everything_wrong_with_features_is_told() {
    let number = |name: &str, value| (name.to_owned(), FeatureValue::Number(value));
    let wrong = Features::new([
        number("a", 1.0),
        number("a", 2.0),
        number("b", f64::NAN),
        number("(calibration)", 1.0),
        ("c".to_owned(), FeatureValue::Category("x".repeat(129))),
    ]);
    let fields: Vec<_> = wrong.unwrap_err().into_iter().map(|wrong| wrong.field).collect();
    assert_eq!(fields, ["(calibration)", "b", "c", "a"]);
}

#[test]
fn a_truth_and_its_word_are_one_level_and_learn_once() {
    let truth = ("loan".to_owned(), FeatureValue::Bool(true));
    let word = ("loan".to_owned(), FeatureValue::Category("true".to_owned()));
    let no = ("loan".to_owned(), FeatureValue::Category("false".to_owned()));
    let both = Features::new([truth.clone(), no.clone(), word.clone()]).unwrap();
    assert_eq!(both, Features::new([word.clone(), truth.clone(), no]).unwrap());
    assert_eq!(both.iter().count(), 2);

    let learned = |features| {
        let mut model = Model::default();
        let features = Features::new(features).unwrap();
        model.learn(&Example { features, label: true, weight: 1.0 });
        model
    };
    assert_eq!(learned(vec![truth.clone(), word]), learned(vec![truth]));
}

#[test]
fn bytes_of_another_version_are_not_read() {
    let mut bytes = Model::default().encode();
    bytes[0] = 9;
    assert_eq!(Model::decode(&bytes), Err(CheckpointError::Version(9)));
    assert_eq!(Model::decode(&[]), Err(CheckpointError::Empty));
    assert_eq!(Model::decode(&[1, 255]), Err(CheckpointError::Damaged));
}

#[test]
fn an_example_that_weighs_nothing_changes_nothing() {
    let mut model = Model::default();
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        model.learn(&Example { features: category("a", "b".to_owned()), label: true, weight });
    }
    assert_eq!(model, Model::default());
}
