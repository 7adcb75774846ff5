//! Learned models: which features one reads, and its words for what it found.

use learn::{Example, FeatureValue, Features as ModelFeatures, Model};

use super::contribution::Contribution;
use super::features::{Features, Moment, Reading, for_model};
use super::spec::ModelSpec;
use super::traits::TraitSchema;

/// The name of the summand that says what holds before anything is known.
const BIAS: &str = "(bias)";

/// What a model has learned so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Knowledge {
    /// Labels learned.
    pub(crate) labels: i64,
    /// Of these, positive.
    pub(crate) positives: i64,
    pub(crate) model: Model,
}

/// A model's policy, ready to read features.
#[derive(Debug)]
pub(crate) struct ModelScorer {
    /// Nothing where the attribute is gone: then the feature is missing.
    readings: Vec<(String, Option<Reading>)>,
    demand_kinds: Vec<String>,
}

impl ModelScorer {
    pub(crate) fn new(spec: &ModelSpec, traits: &TraitSchema) -> Self {
        let reading = |name: &String| (name.clone(), Reading::parse(name, traits));
        Self {
            readings: spec.features.iter().map(reading).collect(),
            demand_kinds: spec.demand_kinds.clone(),
        }
    }

    /// Everything that it reads.
    pub(crate) fn readings(&self) -> impl Iterator<Item = &Reading> {
        self.readings.iter().filter_map(|(_, reading)| reading.as_ref())
    }

    /// 100 × the probability.
    pub(crate) fn value(&self, moment: Moment<'_>, model: &Model) -> f64 {
        100.0 * model.probability(&self.features(moment))
    }

    /// The probability and what it consists of, in log-odds.
    pub(crate) fn explain(&self, moment: Moment<'_>, model: &Model) -> (f64, Vec<Contribution>) {
        let features = self.features(moment);
        let prediction = model.predict(&features);
        let mut contributions = Vec::with_capacity(prediction.contributions.len() + 1);
        if prediction.bias != 0.0 {
            contributions.push(Contribution {
                name: BIAS.to_owned(),
                amount: prediction.bias,
                description: "before anything is known of the customer".to_owned(),
            });
        }
        for part in prediction.contributions {
            let description = self.describe(&part.feature, &features);
            contributions.push(Contribution {
                name: part.feature,
                amount: part.value,
                description,
            });
        }
        (prediction.probability, contributions)
    }

    /// Whether a label of this kind of demand is for this model.
    pub(crate) fn wants(&self, demand_kind: &str) -> bool {
        self.demand_kinds.is_empty() || self.demand_kinds.iter().any(|kind| kind == demand_kind)
    }

    /// The example of a use that was logged with these features.
    pub(crate) fn example(&self, logged: &Features, as_of_us: i64, label: bool) -> Example {
        let known = self.readings.iter().filter_map(|(name, _)| {
            let value = logged.get(name)?;
            Some((name.clone(), for_model(value.value(), as_of_us)))
        });
        Example { features: checked(known), label, weight: 1.0 }
    }

    fn features(&self, moment: Moment<'_>) -> ModelFeatures {
        let known = self.readings.iter().filter_map(|(name, reading)| {
            let value = reading.as_ref()?.get(moment)?;
            Some((name.clone(), for_model(value, moment.as_of_us)))
        });
        checked(known)
    }

    fn describe(&self, part: &str, features: &ModelFeatures) -> String {
        if part == learn::CALIBRATION {
            return "follows the share of positive outcomes of late".to_owned();
        }
        for (name, _) in &self.readings {
            let Some(rest) = part.strip_prefix(name.as_str()) else { continue };
            let short = name.strip_prefix("traits.").unwrap_or(name);
            if rest == " (missing)" {
                return format!("{short} is not known");
            }
            if let Some(level) = rest.strip_prefix('=') {
                return format!("{short} = {level}");
            }
            let number = features.iter().find_map(|(known, value)| match value {
                FeatureValue::Number(number) if known == name => Some(number),
                _ => None,
            });
            if let (true, Some(number)) = (rest.is_empty(), number) {
                return format!("{short} = {number}");
            }
        }
        part.to_owned()
    }
}

/// Names and levels were bounded when the policy was checked and the values were read; what
/// breaks a bound all the same (a number that is not finite) leaves the case unknown.
fn checked(features: impl Iterator<Item = (String, FeatureValue)>) -> ModelFeatures {
    ModelFeatures::new(features).unwrap_or_default()
}
