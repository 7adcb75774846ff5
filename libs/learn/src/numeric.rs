//! How a number becomes coordinates: standardised by the mean and variance seen so far.
//!
//! Amounts and counts have heavy tails, ages do not; instead of guessing which is which (a
//! rule that could change its mind in mid-stream would invalidate the weights learnt), every
//! number has two coordinates, itself and its signed logarithm, and the learner weighs them.
//! A third speaks when the number is missing. Running moments: Welford, 1962.

use crate::ftrl::Coordinate;

/// Standardised values are cut off here.
const CLIP: f64 = 4.0;

/// Count, mean and sum of squared deviations.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Moments {
    pub(crate) count: f64,
    pub(crate) mean: f64,
    pub(crate) squares: f64,
}

impl Moments {
    fn observe(&mut self, value: f64) {
        self.count += 1.0;
        let before = value - self.mean;
        self.mean += before / self.count;
        self.squares += before * (value - self.mean);
    }

    /// In standard deviations from the mean; 0 while there is no spread.
    fn standardise(&self, value: f64) -> f64 {
        let deviation = (self.squares / self.count).sqrt();
        if !(deviation.is_normal() && deviation.is_finite()) {
            return 0.0;
        }
        ((value - self.mean) / deviation).clamp(-CLIP, CLIP)
    }
}

/// The coordinates of one numeric feature.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Numeric {
    pub(crate) plain: Moments,
    pub(crate) log: Moments,
    pub(crate) plain_weight: Coordinate,
    pub(crate) log_weight: Coordinate,
    pub(crate) missing_weight: Coordinate,
}

impl Numeric {
    /// How many weights it has.
    pub(crate) const WEIGHTS: usize = 3;

    pub(crate) fn observe(&mut self, value: f64) {
        self.plain.observe(clamp(value));
        self.log.observe(signed_log(value));
    }

    /// The standardised value and the standardised signed logarithm.
    pub(crate) fn encode(&self, value: f64) -> [f64; 2] {
        [self.plain.standardise(clamp(value)), self.log.standardise(signed_log(value))]
    }
}

/// So that squares stay finite.
fn clamp(value: f64) -> f64 {
    value.clamp(-1e100, 1e100)
}

fn signed_log(value: f64) -> f64 {
    value.signum() * value.abs().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_moments_are_those_of_the_whole() {
        let values = [3.0, -1.0, 4.0, 1.0, -5.0, 9.0];
        let mut moments = Moments::default();
        values.iter().for_each(|value| moments.observe(*value));
        let mean = values.iter().sum::<f64>() / 6.0;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 6.0;
        assert!((moments.mean - mean).abs() < 1e-12);
        assert!((moments.standardise(5.0) - (5.0 - mean) / variance.sqrt()).abs() < 1e-12);
        assert_eq!(moments.standardise(1e9), CLIP);
    }

    #[test]
    fn a_number_without_spread_says_nothing() {
        let mut numeric = Numeric::default();
        assert_eq!(numeric.encode(7.0), [0.0, 0.0]);
        numeric.observe(f64::MAX);
        numeric.observe(f64::MAX);
        assert_eq!(numeric.encode(7.0), [0.0, 0.0]);
    }
}
