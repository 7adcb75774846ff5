//! Measures against answers worked out by hand or known from scikit-learn's documentation.

use learn::metrics::{
    Outcome, auc, base_rate, brier, calibration_error, lift, log_loss, reliability, top_conversion,
};

fn outcomes(rows: &[(f64, bool)]) -> Vec<Outcome> {
    rows.iter().map(|&(probability, label)| Outcome { probability, label }).collect()
}

fn near(left: Option<f64>, right: f64) -> bool {
    left.is_some_and(|left| (left - right).abs() < 1e-12)
}

#[test]
fn known_answers() {
    // The example of sklearn.metrics.roc_auc_score: 0.75.
    let rows = outcomes(&[(0.1, false), (0.4, false), (0.35, true), (0.8, true)]);
    assert!(near(auc(&rows), 0.75));
    // The example of sklearn.metrics.brier_score_loss: 0.0375.
    let rows = outcomes(&[(0.1, false), (0.9, true), (0.8, true), (0.3, false)]);
    assert!(near(brier(&rows), 0.0375));
    // The example of sklearn.metrics.log_loss: 0.21616….
    let rows = outcomes(&[(0.9, true), (0.1, false), (0.2, false), (0.65, true)]);
    assert!(log_loss(&rows).is_some_and(|loss| (loss - 0.216_161_874_680_145_17).abs() < 1e-12));
}

#[test]
fn calibration_error_is_the_mean_gap_of_the_bands() {
    // Band .1: says .1 four times, one came (gap .6); band .9: says .95 twice, both (gap .1).
    let rows = outcomes(&[
        (0.1, true),
        (0.1, false),
        (0.1, false),
        (0.1, false),
        (0.95, true),
        (0.95, true),
    ]);
    assert!(near(calibration_error(&rows), 0.7 / 6.0));
    assert!(near(calibration_error(&outcomes(&[(1.0, true), (0.0, false)])), 0.0));
}

#[test]
fn the_top_decile_shares_out_a_group_of_equals() {
    let mut rows = vec![(0.9, true)];
    rows.extend((0..9).map(|row| (0.5, row < 3)));
    rows.extend([(0.1, false); 10]);
    // Two of twenty rows: the one above all, and one of a group of which a third came.
    let rows = outcomes(&rows);
    assert!(near(top_conversion(&rows, 0.1), (1.0 + 1.0 / 3.0) / 2.0));
    assert!(near(lift(&rows, 0.1), (2.0 / 3.0) / 0.2));
    let constant = outcomes(&[(0.3, true), (0.3, false), (0.3, false), (0.3, false)]);
    assert!(near(top_conversion(&constant, 0.1), 0.25));
    assert!(near(lift(&constant, 0.1), 1.0));
    let bands = reliability(&rows);
    assert_eq!(bands.len(), 10);
    assert!(near(Some(bands[9].predicted), 0.7) && near(Some(bands[9].count), 2.0));
}

#[test]
fn what_makes_no_sense_has_no_answer() {
    assert_eq!(auc(&[]), None);
    assert_eq!(auc(&outcomes(&[(0.3, true), (0.4, true)])), None);
    assert_eq!((log_loss(&[]), brier(&[]), base_rate(&[])), (None, None, None));
    assert_eq!((calibration_error(&[]), top_conversion(&[], 0.1)), (None, None));
    assert_eq!(lift(&outcomes(&[(0.3, false)]), 0.1), None);
    assert!(reliability(&[]).is_empty());
}
