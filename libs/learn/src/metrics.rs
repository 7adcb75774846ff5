//! How good probabilities are: pure functions of pairs (probability, label), O(n log n) at
//! most, `None` where the question makes no sense (no rows, one class only).
//!
//! Equal probabilities are one group: no measure here depends on the order of the rows.

/// What was said and what came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The predicted probability, from 0 to 1.
    pub probability: f64,
    /// What came.
    pub label: bool,
}

/// One band of a reliability table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// How many rows; a group of equals across a border is shared out, hence not whole.
    pub count: f64,
    /// Mean of what was said.
    pub predicted: f64,
    /// Share that came.
    pub observed: f64,
}

/// Logarithms of 0 would be infinite.
const LEAST_PROBABILITY: f64 = 1e-15;

/// Rows of one probability.
struct Group {
    probability: f64,
    count: f64,
    positives: f64,
}

/// Groups of equals, lowest probability first.
fn groups(outcomes: &[Outcome]) -> Vec<Group> {
    let mut sorted: Vec<_> = outcomes.to_vec();
    sorted.sort_unstable_by(|left, right| left.probability.total_cmp(&right.probability));
    let mut groups: Vec<Group> = Vec::new();
    for outcome in sorted {
        let positive = f64::from(u8::from(outcome.label));
        match groups.last_mut() {
            Some(group) if group.probability == outcome.probability => {
                group.count += 1.0;
                group.positives += positive;
            }
            _ => groups.push(Group {
                probability: outcome.probability,
                count: 1.0,
                positives: positive,
            }),
        }
    }
    groups
}

/// Area under the ROC curve: the chance that a positive row is ranked above a negative one,
/// a tie counting half (Mann and Whitney, 1947).
#[must_use]
pub fn auc(outcomes: &[Outcome]) -> Option<f64> {
    let (mut negatives, mut positives, mut won) = (0.0, 0.0, 0.0);
    for group in groups(outcomes) {
        let group_negatives = group.count - group.positives;
        won += group.positives * (negatives + group_negatives / 2.0);
        negatives += group_negatives;
        positives += group.positives;
    }
    let pairs = positives * negatives;
    (pairs > 0.0).then(|| won / pairs)
}

/// Mean negative log-likelihood, in nats.
#[must_use]
pub fn log_loss(outcomes: &[Outcome]) -> Option<f64> {
    mean(outcomes, |outcome| {
        let said = if outcome.label { outcome.probability } else { 1.0 - outcome.probability };
        -said.max(LEAST_PROBABILITY).ln()
    })
}

/// Mean squared error of the probability (Brier, 1950).
#[must_use]
pub fn brier(outcomes: &[Outcome]) -> Option<f64> {
    mean(outcomes, |outcome| (outcome.probability - f64::from(u8::from(outcome.label))).powi(2))
}

/// The share of positives.
#[must_use]
pub fn base_rate(outcomes: &[Outcome]) -> Option<f64> {
    mean(outcomes, |outcome| f64::from(u8::from(outcome.label)))
}

fn mean(outcomes: &[Outcome], value: impl Fn(&Outcome) -> f64) -> Option<f64> {
    let sum: f64 = outcomes.iter().map(value).sum();
    (!outcomes.is_empty()).then(|| sum / outcomes.len() as f64)
}

/// Expected calibration error: the mean gap between what was said and what came, over ten
/// bands of equal width (Naeini, Cooper and Hauskrecht, 2015). A perfect model has about
/// .005 on 10,000 rows and .025 on 1,000: differences below that mean nothing.
#[must_use]
pub fn calibration_error(outcomes: &[Outcome]) -> Option<f64> {
    const BANDS: usize = 10;
    let mut gaps = [0.0_f64; BANDS];
    for outcome in outcomes {
        let band = ((outcome.probability * BANDS as f64) as usize).min(BANDS - 1);
        gaps[band] += outcome.probability - f64::from(u8::from(outcome.label));
    }
    let sum: f64 = gaps.iter().map(|gap| gap.abs()).sum();
    (!outcomes.is_empty()).then(|| sum / outcomes.len() as f64)
}

/// Reliability by decile: ten bands of equally many rows, lowest probability first.
#[must_use]
pub fn reliability(outcomes: &[Outcome]) -> Vec<Band> {
    let groups = groups(outcomes);
    let size = outcomes.len() as f64 / 10.0;
    let bands = (0..10_u32).map(|band| {
        let from = f64::from(band) * size;
        slice(&groups, from, from + size)
    });
    bands.flatten().collect()
}

/// The share of positives among the `fraction` of rows with the highest probability, e.g.
/// 0.1 for the top decile.
#[must_use]
pub fn top_conversion(outcomes: &[Outcome], fraction: f64) -> Option<f64> {
    let rows = outcomes.len() as f64;
    let top = slice(&groups(outcomes), rows * (1.0 - fraction), rows)?;
    Some(top.observed)
}

/// How many times the base rate the top `fraction` converts.
#[must_use]
pub fn lift(outcomes: &[Outcome], fraction: f64) -> Option<f64> {
    let base = base_rate(outcomes).filter(|rate| *rate > 0.0)?;
    Some(top_conversion(outcomes, fraction)? / base)
}

/// The rows ranked `from` to `to`; a group across a border gives its share.
fn slice(groups: &[Group], from: f64, to: f64) -> Option<Band> {
    let (mut rank, mut count, mut predicted, mut positives) = (0.0_f64, 0.0, 0.0, 0.0);
    for group in groups {
        let inside = (rank + group.count).min(to) - rank.max(from);
        rank += group.count;
        if inside > 0.0 {
            count += inside;
            predicted += inside * group.probability;
            positives += inside * group.positives / group.count;
        }
    }
    (count > 0.0).then(|| Band { count, predicted: predicted / count, observed: positives / count })
}
