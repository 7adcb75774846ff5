//! All scorers of a tenant, and what they say of a customer.

use std::collections::HashMap;
use std::sync::Arc;

use super::contribution::{Contribution, strongest, total};
use super::features::{Features, Logged, Moment, Reading, snapshot};
use super::model::{Knowledge, ModelScorer};
use super::scorecard::{Scorecard, on_grid};
use super::spec::{ModelSpec, ScorecardSpec, ThresholdSpec};
use super::traits::TraitSchema;

/// What the models of a tenant know, by name.
pub(crate) type Weights = HashMap<String, Arc<Knowledge>>;

/// The two kinds of scorers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Scorecard,
    Model,
}

/// A scorer that is ready to score.
#[derive(Debug)]
pub(crate) struct Scorer {
    pub(crate) name: String,
    /// Lowest first.
    thresholds: Vec<ThresholdSpec>,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Card { version: i64, card: Scorecard },
    Model(ModelScorer),
}

/// What a scorer says, with all its reasons.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scored {
    pub(crate) scorer: String,
    pub(crate) kind: Kind,
    pub(crate) value: f64,
    /// Of a model.
    pub(crate) probability: Option<f64>,
    /// Of a scorecard: its resource version. Of a model: the labels it has learned.
    pub(crate) version: i64,
    /// The thresholds that the value reaches, lowest first; the last is the grade.
    pub(crate) reached: Vec<String>,
    /// The sum of the contributions in their order.
    pub(crate) total: f64,
    pub(crate) contributions: Vec<Contribution>,
    /// The features that were read.
    pub(crate) read: Vec<String>,
}

impl Scored {
    /// Empty if below all thresholds.
    pub(crate) fn grade(&self) -> &str {
        self.reached.last().map_or("", String::as_str)
    }

    /// The strongest contributions, at most three.
    pub(crate) fn top_reasons(&self) -> Vec<Contribution> {
        strongest(&self.contributions)
    }
}

impl Scorer {
    fn new(name: String, thresholds: &[ThresholdSpec], inner: Inner) -> Self {
        let mut thresholds = thresholds.to_vec();
        thresholds.sort_by(|left, right| {
            left.value.total_cmp(&right.value).then_with(|| left.name.cmp(&right.name))
        });
        for threshold in &mut thresholds {
            threshold.value = on_grid(threshold.value);
        }
        Self { name, thresholds, inner }
    }

    /// How many thresholds the value reaches, which says which.
    pub(crate) fn level(&self, moment: Moment<'_>, weights: &Weights) -> usize {
        let value = match &self.inner {
            Inner::Card { card, .. } => card.value(moment),
            Inner::Model(model) => match weights.get(&self.name) {
                Some(knowledge) => model.value(moment, &knowledge.model),
                None => model.value(moment, &learn::Model::default()),
            },
        };
        self.reached(value)
    }

    fn reached(&self, value: f64) -> usize {
        self.thresholds.iter().take_while(|threshold| value >= threshold.value).count()
    }

    pub(crate) fn has_thresholds(&self) -> bool {
        !self.thresholds.is_empty()
    }

    /// Everything that it reads.
    pub(crate) fn readings(&self) -> Box<dyn Iterator<Item = &Reading> + '_> {
        match &self.inner {
            Inner::Card { card, .. } => Box::new(card.readings()),
            Inner::Model(model) => Box::new(model.readings()),
        }
    }

    pub(crate) fn model(&self) -> Option<&ModelScorer> {
        match &self.inner {
            Inner::Model(model) => Some(model),
            Inner::Card { .. } => None,
        }
    }

    fn score(&self, moment: Moment<'_>, weights: &Weights) -> Scored {
        let (kind, probability, version, contributions) = match &self.inner {
            Inner::Card { version, card } => {
                (Kind::Scorecard, None, *version, card.explain(moment))
            }
            Inner::Model(model) => {
                let unlearned = Knowledge::default();
                let knowledge = weights.get(&self.name).map_or(&unlearned, Arc::as_ref);
                let (probability, contributions) = model.explain(moment, &knowledge.model);
                (Kind::Model, Some(probability), knowledge.labels, contributions)
            }
        };
        let total = total(&contributions);
        let value = probability.map_or(total, |probability| 100.0 * probability);
        let reached = self.thresholds.iter().take(self.reached(value));
        let mut read: Vec<String> = self.readings().map(Reading::name).collect();
        read.sort_unstable();
        read.dedup();
        Scored {
            scorer: self.name.clone(),
            kind,
            value,
            probability,
            version,
            reached: reached.map(|threshold| threshold.name.clone()).collect(),
            total,
            contributions,
            read,
        }
    }
}

/// All scorers of a tenant, by name.
#[derive(Debug, Default)]
pub(crate) struct ScorerSet {
    scorers: Vec<Scorer>,
    traits: TraitSchema,
}

impl ScorerSet {
    /// From (name, version, specification).
    pub(crate) fn compile(
        cards: &[(String, i64, ScorecardSpec)],
        models: &[(String, ModelSpec)],
        traits: TraitSchema,
    ) -> Self {
        let cards = cards.iter().map(|(name, version, spec)| {
            let card = Scorecard::compile(name, spec, &traits);
            Scorer::new(name.clone(), &spec.thresholds, Inner::Card { version: *version, card })
        });
        let models = models.iter().map(|(name, spec)| {
            let model = ModelScorer::new(spec, &traits);
            Scorer::new(name.clone(), &spec.thresholds, Inner::Model(model))
        });
        let mut scorers: Vec<Scorer> = cards.chain(models).collect();
        scorers.sort_by(|left, right| left.name.cmp(&right.name));
        Self { scorers, traits }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Scorer> {
        self.scorers.iter().find(|scorer| scorer.name == name)
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Scorer> {
        self.scorers.iter()
    }

    /// What all scorers say, by name.
    pub(crate) fn score(&self, moment: Moment<'_>, weights: &Weights) -> Vec<Scored> {
        self.scorers.iter().map(|scorer| scorer.score(moment, weights)).collect()
    }

    /// Everything that is known, including what a scorer read of events that never happened.
    pub(crate) fn snapshot(&self, moment: Moment<'_>) -> Features {
        let mut features = snapshot(moment, &self.traits);
        for reading in self.scorers.iter().flat_map(Scorer::readings) {
            if let Some(value) = reading.get(moment) {
                features.insert(reading.name(), Logged::of(value));
            }
        }
        features
    }
}
