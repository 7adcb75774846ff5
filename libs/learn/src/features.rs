//! What a model is told about one case.

use kernel::Violations;

/// The longest name of a feature and the longest level, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// The most features of one case.
const MAX_FEATURES: usize = 256;

/// A value of a feature. An absent number is simply not listed; the model then uses its
/// weight for "missing".
#[derive(Debug, Clone, PartialEq)]
pub enum FeatureValue {
    /// A quantity, standardised as the model runs.
    Number(f64),
    /// A level; each gets its own weight. A feature may have several levels at once.
    Category(String),
    /// Two levels, `true` and `false`.
    Bool(bool),
}

impl FeatureValue {
    /// The level, if it is not a number.
    pub(crate) fn level(&self) -> Option<&str> {
        match self {
            Self::Number(_) => None,
            Self::Category(level) => Some(level),
            Self::Bool(true) => Some("true"),
            Self::Bool(false) => Some("false"),
        }
    }

    fn is_bool(&self) -> bool {
        matches!(self, Self::Bool(_))
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Category(_) | Self::Bool(_) => 1,
        }
    }
}

/// The checked features of one case, in the order of their names: the order in which they
/// were given has no influence, not even on rounding.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features(Vec<(String, FeatureValue)>);

impl Features {
    /// Sorts and checks.
    ///
    /// # Errors
    /// Every name that is empty, too long or begins with `(`, every number that is not
    /// finite or given twice, every level that is too long, and too many features.
    pub fn new(
        features: impl IntoIterator<Item = (String, FeatureValue)>,
    ) -> Result<Self, Violations> {
        let mut features: Vec<_> = features.into_iter().collect();
        features.sort_by(|(name, value), (other_name, other)| {
            let key = (name, value.rank(), value.level(), value.is_bool());
            key.cmp(&(other_name, other.rank(), other.level(), other.is_bool()))
        });
        // `true` and "true" are one level: its weight must not learn twice from one case.
        features.dedup_by(|(name, value), (other_name, other)| {
            name == other_name
                && (value == other
                    || value.level().is_some_and(|level| other.level() == Some(level)))
        });
        let mut violations = Violations::new();
        if features.len() > MAX_FEATURES {
            violations.add("", format!("must have at most {MAX_FEATURES} features"));
        }
        for (name, value) in &features {
            check(name, value, &mut violations);
        }
        for pair in features.windows(2) {
            let [(name, value), (next_name, next)] = pair else { continue };
            if name == next_name && value.level().is_none() && next.level().is_none() {
                violations.add(name, "must have one number");
            }
        }
        violations.into_result(Self(features))
    }

    /// By name.
    pub fn iter(&self) -> std::slice::Iter<'_, (String, FeatureValue)> {
        self.0.iter()
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        let first = self.0.partition_point(|(other, _)| other.as_str() < name);
        match self.0.get(first) {
            Some((other, FeatureValue::Number(value))) if other == name => Some(*value),
            _ => None,
        }
    }
}

fn check(name: &str, value: &FeatureValue, violations: &mut Violations) {
    let good_name = !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.starts_with('(');
    if !good_name {
        let rule = format!("a name must have 1 to {MAX_NAME_BYTES} bytes and not begin with (");
        violations.add(name, rule);
    }
    match value {
        FeatureValue::Number(number) if !number.is_finite() => {
            violations.add(name, "must be a finite number");
        }
        FeatureValue::Category(level) if level.len() > MAX_NAME_BYTES => {
            violations.add(name, format!("must have at most {MAX_NAME_BYTES} bytes"));
        }
        FeatureValue::Number(_) | FeatureValue::Category(_) | FeatureValue::Bool(_) => {}
    }
}

/// A case whose outcome is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// What was known when the score was used, not later.
    pub features: Features,
    /// The outcome.
    pub label: bool,
    /// How much it counts: 1 is a plain case. Not above 0 or not finite teaches nothing.
    pub weight: f64,
}
