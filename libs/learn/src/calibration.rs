//! Continuous recalibration: an offset on the logit that follows the stream with a short
//! memory.
//!
//! Ranking changes slowly and base rates change fast, so the weights learn with a long memory
//! and this one number with a short one. Method: dynamic logistic regression with forgetting
//! (McCormick, Raftery, Madigan and Burd, Biometrics 2012) – a Gaussian over the offset, its
//! variance widened before each label, then one Newton step. The variance never exceeds the
//! prior, so a quiet time cannot wind it up and no label moves the offset by more. O(1).
//!
//! Deliberately no slope: on the train rows of bank-marketing a second, multiplying parameter
//! bought .001 of log-loss for .007 of AUC within a chunk and, with a wider prior, ran away
//! (log-loss .33 to 1.2); and with an offset alone the ranking is that of the weights.

use crate::ftrl::logistic;

/// How fast the recalibration forgets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recalibration {
    /// How much it remembers, in units of Fisher information: a label at probability p brings
    /// p(1 − p), so 25 are about 100 labels at even odds, 530 at 5 %. Infinite never forgets.
    pub memory: f64,
    /// Prior variance of the offset, in squared log-odds.
    pub variance: f64,
}

/// The state: mean and variance of the offset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Calibrator {
    pub(crate) offset: f64,
    pub(crate) variance: f64,
}

impl Calibrator {
    pub(crate) fn new(settings: Recalibration) -> Self {
        Self { offset: 0.0, variance: settings.variance }
    }

    /// One label for a raw logit.
    pub(crate) fn learn(&mut self, raw: f64, label: bool, weight: f64, settings: Recalibration) {
        let probability = logistic(raw + self.offset);
        let error = f64::from(u8::from(label)) - probability;
        let information = weight * probability * (1.0 - probability);
        // Forgets at the pace at which labels inform: one row of a rare outcome says little
        // and pushes little out.
        let widened = self.variance * (information / settings.memory).exp();
        let prior = widened.min(settings.variance);
        self.variance = prior / (1.0 + information * prior);
        self.offset += (weight * error * self.variance).clamp(-prior, prior);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Recalibration = Recalibration { memory: 25.0, variance: 0.2 };

    #[test]
    fn the_offset_follows_a_change_of_the_base_rate() {
        let mut calibrator = Calibrator::new(SETTINGS);
        // A model that says 10 % in a world of 25 %.
        let raw = (0.1_f64 / 0.9).ln();
        for round in 0..4_000 {
            calibrator.learn(raw, round % 4 == 0, 1.0, SETTINGS);
        }
        let calibrated = logistic(raw + calibrator.offset);
        assert!((calibrated - 0.25).abs() < 0.03, "{calibrated}");
    }

    #[test]
    fn extreme_cases_move_it_by_no_more_than_the_prior() {
        let mut calibrator = Calibrator::new(SETTINGS);
        for round in 0..3_000_u32 {
            let before = calibrator.offset;
            let raw = if round % 2 == 0 { -700.0 } else { 700.0 };
            calibrator.learn(raw, round % 2 == 0, 1_000.0, SETTINGS);
            assert!((calibrator.offset - before).abs() <= SETTINGS.variance);
            assert!(calibrator.variance > 0.0 && calibrator.variance <= SETTINGS.variance);
        }
    }
}
