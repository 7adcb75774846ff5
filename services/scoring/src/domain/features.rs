//! Reading features of a behaviour at an instant, and keeping them for later.

use std::collections::BTreeMap;

use aggregate::{Behaviour, Feature, FeatureView, Value};
use learn::FeatureValue;

use super::DAY_US;
use super::traits::{TraitKind, TraitSchema};

/// The longest level that a model takes, in bytes.
const MAX_LEVEL_BYTES: usize = 128;

/// A behaviour at an instant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) view: FeatureView<'a>,
    pub(crate) as_of_us: i64,
}

impl<'a> Moment<'a> {
    pub(crate) fn new(behaviour: &'a Behaviour, as_of_us: i64) -> Self {
        Self { view: FeatureView::new(behaviour, as_of_us), as_of_us }
    }
}

/// A feature that may be read: declared, not personal.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    feature: Feature,
    /// Of an attribute.
    kind: Option<TraitKind>,
}

impl Reading {
    /// Nothing if the name is no feature, or its attribute is not declared or personal.
    pub(crate) fn parse(name: &str, traits: &TraitSchema) -> Option<Self> {
        Self::of(name.parse().ok()?, traits)
    }

    pub(crate) fn of(feature: Feature, traits: &TraitSchema) -> Option<Self> {
        let name = feature.to_string();
        let Some(attribute) = name.strip_prefix("traits.") else {
            return Some(Self { feature, kind: None });
        };
        let kind = traits.get(attribute)?;
        Some(Self { feature, kind: Some(kind) })
    }

    pub(crate) fn get<'a>(&self, moment: Moment<'a>) -> Option<Value<'a>> {
        let value = moment.view.get(&self.feature)?;
        match self.kind {
            Some(kind) if !kind.admits(&value) => None,
            _ => Some(value),
        }
    }

    pub(crate) fn name(&self) -> String {
        self.feature.to_string()
    }

    /// The earliest instant after the moment at which the value may change by the clock.
    pub(crate) fn next_change_us(&self, moment: Moment<'_>) -> Option<i64> {
        match self.kind {
            // A model reads an instant as days since.
            Some(TraitKind::Time) => Some(next_midnight_us(moment.as_of_us)),
            _ => moment.view.next_change_us(&self.feature),
        }
    }
}

fn next_midnight_us(us: i64) -> i64 {
    us.div_euclid(DAY_US).saturating_add(1).saturating_mul(DAY_US)
}

/// A value that outlives the behaviour it was read from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Logged {
    Int(i64),
    Number(f64),
    Bool(bool),
    Text(String),
    Time(i64),
}

impl Logged {
    pub(crate) fn of(value: Value<'_>) -> Self {
        match value {
            Value::Int(number) => Self::Int(number),
            Value::Number(number) => Self::Number(number),
            Value::Bool(value) => Self::Bool(value),
            Value::Text(text) => Self::Text(text.to_owned()),
            Value::Time(us) => Self::Time(us),
        }
    }

    /// To read it like a fresh one.
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Self::Int(number) => Value::Int(*number),
            Self::Number(number) => Value::Number(*number),
            Self::Bool(value) => Value::Bool(*value),
            Self::Text(text) => Value::Text(text),
            Self::Time(us) => Value::Time(*us),
        }
    }
}

/// Features by name, in the order of the names.
pub(crate) type Features = BTreeMap<String, Logged>;

/// Everything that is known at the moment: what a later model may want to learn from.
pub(crate) fn snapshot(moment: Moment<'_>, traits: &TraitSchema) -> Features {
    let mut features = Features::new();
    for (feature, value) in moment.view.all() {
        let Some(reading) = Reading::of(feature, traits) else { continue };
        if reading.kind.is_none_or(|kind| kind.admits(&value)) {
            features.insert(reading.name(), Logged::of(value));
        }
    }
    features
}

/// As a model takes it. An instant becomes whole days of UTC before the moment.
pub(crate) fn for_model(value: Value<'_>, as_of_us: i64) -> FeatureValue {
    match value {
        Value::Int(number) => FeatureValue::Number(number as f64),
        Value::Number(number) => FeatureValue::Number(number),
        Value::Bool(value) => FeatureValue::Bool(value),
        Value::Text(text) => {
            FeatureValue::Category(text[..text.floor_char_boundary(MAX_LEVEL_BYTES)].to_owned())
        }
        Value::Time(us) => {
            let days = as_of_us.div_euclid(DAY_US) - us.div_euclid(DAY_US);
            FeatureValue::Number(days as f64)
        }
    }
}
