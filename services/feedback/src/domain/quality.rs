//! How good scores were: what was said against what came.
//!
//! O(n log n). Equal scores are shared out evenly over the deciles, so that no figure depends
//! on the order of the rows.

use learn::metrics::{self, Outcome};

/// Which scores.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) scorer: String,
    pub(crate) start_us: i64,
    pub(crate) end_us: i64,
    /// Empty means all.
    pub(crate) kind: String,
    pub(crate) min_version: i64,
    pub(crate) max_version: i64,
}

/// A score with a known outcome.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged {
    pub(crate) value: f64,
    pub(crate) probability: Option<f64>,
    pub(crate) positive: bool,
}

/// The scores of a filter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) judged: Vec<Judged>,
    /// Scores without an outcome.
    pub(crate) waiting: i64,
}

/// A tenth of the scores.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decile {
    pub(crate) labels: i64,
    pub(crate) positives: i64,
    pub(crate) mean_value: f64,
    pub(crate) mean_probability: Option<f64>,
    pub(crate) conversion: f64,
    pub(crate) lift: f64,
}

/// How good they were.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quality {
    pub(crate) labels: i64,
    pub(crate) positives: i64,
    pub(crate) waiting: i64,
    pub(crate) auc: Option<f64>,
    pub(crate) log_loss: Option<f64>,
    pub(crate) brier: Option<f64>,
    pub(crate) calibration_error: Option<f64>,
    /// Best scores first.
    pub(crate) deciles: Vec<Decile>,
}

/// Judges the scores.
pub(crate) fn quality(mut sample: Sample) -> Quality {
    sample.judged.sort_unstable_by(|left, right| right.value.total_cmp(&left.value));
    let rows = &sample.judged;
    let ranks: Vec<Outcome> =
        rows.iter().map(|row| Outcome { probability: row.value, label: row.positive }).collect();
    // Only of a model: every score must have been a probability.
    let said: Option<Vec<Outcome>> = rows
        .iter()
        .map(|row| Some(Outcome { probability: row.probability?, label: row.positive }))
        .collect();
    let deciles = deciles(rows, said.is_some());
    Quality {
        labels: count(rows.len()),
        positives: count(rows.iter().filter(|row| row.positive).count()),
        waiting: sample.waiting,
        auc: metrics::auc(&ranks),
        log_loss: said.as_deref().and_then(metrics::log_loss),
        brier: said.as_deref().and_then(metrics::brier),
        calibration_error: calibration_error(&deciles),
        deciles,
    }
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// Rows of one score.
struct Group {
    rows: usize,
    positives: usize,
    value: f64,
    mean_probability: f64,
}

fn groups(rows: &[Judged]) -> impl Iterator<Item = Group> {
    rows.chunk_by(|left, right| left.value == right.value).map(|rows| {
        let sum: f64 = rows.iter().filter_map(|row| row.probability).sum();
        Group {
            rows: rows.len(),
            positives: rows.iter().filter(|row| row.positive).count(),
            value: rows.first().map_or(0.0, |row| row.value),
            mean_probability: sum / rows.len() as f64,
        }
    })
}

/// What falls into one decile.
#[derive(Clone, Copy, Default)]
struct Sum {
    positives: usize,
    value: f64,
    probability: f64,
}

/// `rows` in descending order of value. A group across a border gives each side its share of
/// positives, rounded so that the whole stays whole.
fn deciles(rows: &[Judged], with_probability: bool) -> Vec<Decile> {
    let parts = rows.len().min(10);
    let border = |part: usize| part * rows.len() / parts;
    let mut sums = vec![Sum::default(); parts];
    let (mut rank, mut part) = (0, 0);
    for group in groups(rows) {
        let (begin, end) = (rank, rank + group.rows);
        let positives_up_to = |at: usize| group.positives * (at - begin) / group.rows;
        while rank < end {
            let to = border(part + 1).min(end);
            let inside = (to - rank) as f64;
            sums[part].positives += positives_up_to(to) - positives_up_to(rank);
            sums[part].value += inside * group.value;
            sums[part].probability += inside * group.mean_probability;
            rank = to;
            if rank == border(part + 1) {
                part += 1;
            }
        }
    }
    let base = sums.iter().map(|sum| sum.positives).sum::<usize>() as f64 / rows.len() as f64;
    let decile = |(part, sum): (usize, &Sum)| {
        let labels = border(part + 1) - border(part);
        let conversion = sum.positives as f64 / labels as f64;
        Decile {
            labels: count(labels),
            positives: count(sum.positives),
            mean_value: sum.value / labels as f64,
            mean_probability: with_probability.then(|| sum.probability / labels as f64),
            conversion,
            lift: if base > 0.0 { conversion / base } else { 0.0 },
        }
    };
    sums.iter().enumerate().map(decile).collect()
}

/// Mean gap between what was said and what came, over the deciles.
fn calibration_error(deciles: &[Decile]) -> Option<f64> {
    let (mut gap, mut labels) = (0.0, 0.0);
    for decile in deciles {
        gap += decile.labels as f64 * (decile.mean_probability? - decile.conversion).abs();
        labels += decile.labels as f64;
    }
    (labels > 0.0).then(|| gap / labels)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(value: f64, positive: bool) -> Judged {
        Judged { value, probability: Some(value), positive }
    }

    fn sample(judged: Vec<Judged>) -> Sample {
        Sample { judged, waiting: 0 }
    }

    proptest! {
        #[test]
        fn deciles_partition_the_rows_and_ignore_their_order(
            rows in proptest::collection::vec((0..6_u8, any::<bool>()), 0..200),
        ) {
            let rows: Vec<Judged> =
                rows.iter().map(|(value, positive)| judged(f64::from(*value) / 5.0, *positive)).collect();
            let forward = quality(sample(rows.clone()));
            let backward = quality(sample(rows.iter().rev().copied().collect()));
            prop_assert_eq!(forward.deciles.len(), rows.len().min(10));
            prop_assert_eq!(forward.deciles.iter().map(|d| d.labels).sum::<i64>(), forward.labels);
            prop_assert_eq!(forward.deciles.iter().map(|d| d.positives).sum::<i64>(), forward.positives);
            let sizes: Vec<i64> = forward.deciles.iter().map(|d| d.labels).collect();
            let spread = sizes.iter().max().unwrap_or(&0) - sizes.iter().min().unwrap_or(&0);
            prop_assert!(spread <= 1);
            let shape = |quality: &Quality| -> Vec<(i64, i64)> {
                quality.deciles.iter().map(|d| (d.labels, d.positives)).collect()
            };
            prop_assert_eq!(shape(&forward), shape(&backward));
            prop_assert_eq!(forward.auc, backward.auc);
        }
    }

    #[test]
    fn a_perfect_ranking_has_all_its_positives_on_top() {
        let rows = (0..100).map(|n| judged(f64::from(n) / 100.0, n >= 90)).collect();
        let quality = quality(sample(rows));
        assert_eq!(quality.auc, Some(1.0));
        assert_eq!(quality.deciles[0].conversion, 1.0);
        assert!((quality.deciles[0].lift - 10.0).abs() < 1e-9);
        assert_eq!(quality.deciles[1].positives, 0);
    }

    #[test]
    fn known_figures_come_out() {
        // By hand: two deciles of one row each, said 0.8 and 0.4, came 1 and 0.
        let quality = quality(sample(vec![judged(0.8, true), judged(0.4, false)]));
        let close = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() < 1e-12;
        assert!(close(quality.log_loss, -(0.8_f64.ln() + 0.6_f64.ln()) / 2.0));
        assert!(close(quality.brier, (0.04 + 0.16) / 2.0));
        assert!(close(quality.calibration_error, (0.2 + 0.4) / 2.0));
    }

    #[test]
    fn points_are_no_probabilities_and_nothing_is_no_number() {
        let mut rows = vec![judged(60.0, true), judged(20.0, false)];
        rows[0].probability = None;
        let quality_of_points = quality(sample(rows));
        assert_eq!(quality_of_points.auc, Some(1.0));
        assert_eq!(quality_of_points.log_loss, None);
        assert_eq!(quality_of_points.calibration_error, None);
        let nothing = quality(sample(Vec::new()));
        assert_eq!((nothing.auc, nothing.brier, nothing.deciles.len()), (None, None, 0));
    }
}
