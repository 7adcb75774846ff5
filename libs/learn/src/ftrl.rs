//! FTRL-proximal logistic regression, one coordinate at a time: McMahan et al., "Ad click
//! prediction: a view from the trenches", KDD 2013, algorithm 1.

/// The rates of the learner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Step size.
    pub alpha: f64,
    /// Damps the first steps.
    pub beta: f64,
    /// Keeps weights at exactly zero that do not earn their place.
    pub l1: f64,
    /// Keeps weights small.
    pub l2: f64,
}

/// One coordinate: the adjusted gradient sum and the sum of squared gradients.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Coordinate {
    pub(crate) z: f64,
    pub(crate) n: f64,
}

impl Coordinate {
    /// The weight that the sums imply.
    pub(crate) fn weight(self, rates: Rates) -> f64 {
        let pull = self.z.abs() - rates.l1;
        if pull <= 0.0 {
            return 0.0;
        }
        let rate = (rates.beta + self.n.sqrt()) / rates.alpha + rates.l2;
        -self.z.signum() * pull / rate
    }

    /// One step along a gradient.
    pub(crate) fn step(&mut self, gradient: f64, rates: Rates) {
        let weight = self.weight(rates);
        let squared = gradient * gradient;
        let sigma = ((self.n + squared).sqrt() - self.n.sqrt()) / rates.alpha;
        self.z += gradient - sigma * weight;
        self.n += squared;
    }
}

/// The logistic function.
pub(crate) fn logistic(logit: f64) -> f64 {
    if logit >= 0.0 {
        1.0 / (1.0 + (-logit).exp())
    } else {
        let odds = logit.exp();
        odds / (1.0 + odds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_steps_are_those_of_the_paper() {
        let rates = Rates { alpha: 0.5, beta: 1.0, l1: 0.1, l2: 0.0 };
        let mut coordinate = Coordinate::default();
        coordinate.step(0.5, rates);
        // n = 0.25, sigma = 1, w was 0: z = 0.5; w = -(0.5 - 0.1) / ((1 + 0.5) / 0.5).
        assert_eq!(coordinate, Coordinate { z: 0.5, n: 0.25 });
        assert!((coordinate.weight(rates) + 0.4 / 3.0).abs() < 1e-15);
        coordinate.step(-0.45, rates);
        assert!(coordinate.weight(rates).abs() < 0.4 / 3.0);
    }

    #[test]
    fn the_logistic_function_is_finite_everywhere() {
        assert_eq!(logistic(-800.0), 0.0);
        assert_eq!(logistic(800.0), 1.0);
        assert!((logistic(0.3) + logistic(-0.3) - 1.0).abs() < 1e-15);
    }
}
