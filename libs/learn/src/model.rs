//! The online logistic model: FTRL-proximal weights under a continuous recalibration.
//!
//! Encoding: a category or boolean is one coordinate per level; a number is two (see
//! `numeric`) and a third for "missing", which speaks when the model knows the number and
//! the case does not list it. When 1,024 weights are in use, further levels and numbers are
//! refused (and counted): which ones depends on the order of the log alone.

use std::collections::BTreeMap;

use crate::calibration::{Calibrator, Recalibration};
use crate::features::{Example, FeatureValue, Features};
use crate::ftrl::{Coordinate, Rates, logistic};
use crate::numeric::Numeric;

/// The most weights of a model, bias not counted.
pub const MAX_WEIGHTS: usize = 1_024;
/// The name of the contribution that is the offset of the recalibration.
pub const CALIBRATION: &str = "(calibration)";
/// A weighted example counts at most like this many.
const MAX_WEIGHT: f64 = 1_000.0;

/// What distinguishes one learner from another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The rates of the weights.
    pub rates: Rates,
    /// The recalibration; `None` leaves the raw logit as it is.
    pub recalibration: Option<Recalibration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rates: Rates { alpha: 0.15, beta: 1.0, l1: 0.0, l2: 1.0 },
            recalibration: Some(Recalibration { memory: 25.0, variance: 0.2 }),
        }
    }
}

/// What one feature adds to the logit.
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    /// `age`, `age (missing)`, `job=student` or [`CALIBRATION`].
    pub feature: String,
    /// In log-odds; never 0.
    pub value: f64,
}

/// A prediction and its reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Between 0 and 1.
    pub probability: f64,
    /// `bias` plus every contribution, added in the listed order: exactly.
    pub logit: f64,
    /// What is said before anything is known about the case.
    pub bias: f64,
    /// What each feature adds, by name: numbers, then levels, then the recalibration.
    pub contributions: Vec<Contribution>,
}

/// One term of the raw logit.
struct Term<'a> {
    feature: &'a str,
    part: Part<'a>,
    /// Weight times input.
    value: f64,
}

enum Part<'a> {
    Number,
    Missing,
    Level(&'a str),
}

/// An online logistic model.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub(crate) settings: Settings,
    pub(crate) bias: Coordinate,
    pub(crate) numerics: BTreeMap<String, Numeric>,
    pub(crate) levels: BTreeMap<String, BTreeMap<String, Coordinate>>,
    pub(crate) weights: usize,
    pub(crate) calibrator: Option<Calibrator>,
    pub(crate) examples: u64,
    pub(crate) refused: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl Model {
    /// A model that knows nothing: it says 50 % of everything.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            bias: Coordinate::default(),
            numerics: BTreeMap::new(),
            levels: BTreeMap::new(),
            weights: 0,
            calibrator: settings.recalibration.map(Calibrator::new),
            examples: 0,
            refused: 0,
        }
    }

    /// How many labelled examples it has learnt from.
    #[must_use]
    pub fn examples(&self) -> u64 {
        self.examples
    }

    /// How often a level or number found the model full.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Learns from one example: O(features · log weights). An example that weighs nothing
    /// changes nothing.
    pub fn learn(&mut self, example: &Example) {
        if !(example.weight > 0.0 && example.weight.is_finite()) {
            return;
        }
        let weight = example.weight.min(MAX_WEIGHT);
        self.examples += 1;
        self.admit(&example.features);
        let raw = self.raw(&example.features);
        let error = logistic(raw) - f64::from(u8::from(example.label));
        self.step(&example.features, weight * error);
        self.follow(raw, example.label, weight);
    }

    /// Moves the recalibration alone: a model whose weights were promoted and stay as they
    /// are still follows the base rate. The ranking of cases does not change.
    pub fn recalibrate(&mut self, example: &Example) {
        if !(example.weight > 0.0 && example.weight.is_finite()) {
            return;
        }
        self.examples += 1;
        let raw = self.raw(&example.features);
        self.follow(raw, example.label, example.weight.min(MAX_WEIGHT));
    }

    fn follow(&mut self, raw: f64, label: bool, weight: f64) {
        let recalibration = self.calibrator.as_mut().zip(self.settings.recalibration);
        if let Some((calibrator, settings)) = recalibration {
            calibrator.learn(raw, label, weight, settings);
        }
    }

    /// The probability alone: no allocation.
    #[must_use]
    pub fn probability(&self, features: &Features) -> f64 {
        logistic(self.raw(features) + self.offset())
    }

    /// The probability with its reasons.
    #[must_use]
    pub fn predict(&self, features: &Features) -> Prediction {
        let offset = self.offset();
        let bias = self.bias.weight(self.bias_rates());
        let mut contributions = Vec::new();
        self.visit(features, &mut |term| {
            let feature = match term.part {
                Part::Number => term.feature.to_owned(),
                Part::Missing => format!("{} (missing)", term.feature),
                Part::Level(level) => format!("{}={level}", term.feature),
            };
            contributions.push(Contribution { feature, value: term.value });
        });
        if offset != 0.0 {
            contributions.push(Contribution { feature: CALIBRATION.to_owned(), value: offset });
        }
        let logit = contributions.iter().fold(bias, |sum, contribution| sum + contribution.value);
        Prediction { probability: logistic(logit), logit, bias, contributions }
    }

    /// The bias is not regularised.
    fn bias_rates(&self) -> Rates {
        Rates { l1: 0.0, l2: 0.0, ..self.settings.rates }
    }

    fn offset(&self) -> f64 {
        self.calibrator.map_or(0.0, |calibrator| calibrator.offset)
    }

    fn raw(&self, features: &Features) -> f64 {
        let mut logit = self.bias.weight(self.bias_rates());
        self.visit(features, &mut |term| logit += term.value);
        logit
    }

    /// Every term that is not 0, in the order of a prediction.
    fn visit<'a>(&'a self, features: &'a Features, take: &mut impl FnMut(Term<'a>)) {
        let rates = self.settings.rates;
        let mut pass = |feature, part, value: f64| {
            if value != 0.0 {
                take(Term { feature, part, value });
            }
        };
        for (name, numeric) in &self.numerics {
            match features.number(name) {
                Some(value) => {
                    let [plain, log] = numeric.encode(value);
                    let sum = plain * numeric.plain_weight.weight(rates)
                        + log * numeric.log_weight.weight(rates);
                    pass(name, Part::Number, sum);
                }
                None => pass(name, Part::Missing, numeric.missing_weight.weight(rates)),
            }
        }
        for (name, value) in features.iter() {
            let Some(level) = value.level() else { continue };
            let Some(known) = self.levels.get(name).and_then(|levels| levels.get(level)) else {
                continue;
            };
            pass(name, Part::Level(level), known.weight(rates));
        }
    }

    /// Makes room for what is new, as far as there is room, and updates the moments.
    fn admit(&mut self, features: &Features) {
        for (name, value) in features.iter() {
            match value {
                FeatureValue::Number(number) => {
                    if !self.numerics.contains_key(name) {
                        if self.weights + Numeric::WEIGHTS > MAX_WEIGHTS {
                            self.refused += 1;
                            continue;
                        }
                        self.weights += Numeric::WEIGHTS;
                    }
                    self.numerics.entry(name.clone()).or_default().observe(*number);
                }
                FeatureValue::Category(_) | FeatureValue::Bool(_) => {
                    let level = value.level().unwrap_or_default();
                    self.admit_level(name, level);
                }
            }
        }
    }

    fn admit_level(&mut self, name: &str, level: &str) {
        if self.levels.get(name).is_some_and(|levels| levels.contains_key(level)) {
            return;
        }
        if self.weights == MAX_WEIGHTS {
            self.refused += 1;
            return;
        }
        self.weights += 1;
        let levels = self.levels.entry(name.to_owned()).or_default();
        levels.insert(level.to_owned(), Coordinate::default());
    }

    /// One step of every coordinate that spoke; the gradient of each is `error` times its
    /// input.
    fn step(&mut self, features: &Features, error: f64) {
        let rates = self.settings.rates;
        let bias_rates = self.bias_rates();
        self.bias.step(error, bias_rates);
        for (name, numeric) in &mut self.numerics {
            match features.number(name) {
                Some(value) => {
                    let [plain, log] = numeric.encode(value);
                    numeric.plain_weight.step(error * plain, rates);
                    numeric.log_weight.step(error * log, rates);
                }
                None => numeric.missing_weight.step(error, rates),
            }
        }
        for (name, value) in features.iter() {
            let Some(level) = value.level() else { continue };
            if let Some(known) = self.levels.get_mut(name).and_then(|known| known.get_mut(level)) {
                known.step(error, rates);
            }
        }
    }
}
