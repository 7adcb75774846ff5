//! Scores, features and answers to bytes and back. The messages are this service's own: they
//! only ever gain fields.

use prost::{Message, Oneof};
use serde::Serialize;
use store::Error;

use crate::domain::{Contribution, Features, Kind, Logged, Reached, Scored, Standing};
use crate::store::Answer;

#[derive(Clone, PartialEq, Message)]
struct ContributionMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(double, tag = "2")]
    amount: f64,
    #[prost(string, tag = "3")]
    description: String,
}

#[derive(Clone, PartialEq, Message)]
struct ScoreMessage {
    #[prost(string, tag = "1")]
    scorer: String,
    #[prost(bool, tag = "2")]
    is_model: bool,
    #[prost(double, tag = "3")]
    value: f64,
    #[prost(double, optional, tag = "4")]
    probability: Option<f64>,
    #[prost(int64, tag = "5")]
    version: i64,
    #[prost(string, repeated, tag = "6")]
    reached: Vec<String>,
    /// Of a stored score, parallel to `reached`.
    #[prost(int64, repeated, tag = "7")]
    since: Vec<i64>,
    /// Of a stored score the strongest, of an answer all.
    #[prost(message, repeated, tag = "8")]
    contributions: Vec<ContributionMessage>,
    #[prost(double, tag = "9")]
    total: f64,
    /// Places in the list of features.
    #[prost(uint32, repeated, tag = "10")]
    read: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct ScoresMessage {
    #[prost(message, repeated, tag = "1")]
    scores: Vec<ScoreMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct FeatureMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(oneof = "ValueMessage", tags = "2, 3, 4, 5, 6")]
    value: Option<ValueMessage>,
}

#[derive(Clone, PartialEq, Oneof)]
enum ValueMessage {
    #[prost(sint64, tag = "2")]
    Int(i64),
    #[prost(double, tag = "3")]
    Number(f64),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(string, tag = "5")]
    Text(String),
    #[prost(sint64, tag = "6")]
    Time(i64),
}

#[derive(Clone, PartialEq, Message)]
struct FeaturesMessage {
    #[prost(message, repeated, tag = "1")]
    features: Vec<FeatureMessage>,
}

fn damaged(_: prost::DecodeError) -> Error {
    Error::damaged("a stored score does not decode")
}

fn contribution(contribution: &Contribution) -> ContributionMessage {
    ContributionMessage {
        name: contribution.name.clone(),
        amount: contribution.amount,
        description: contribution.description.clone(),
    }
}

fn contributions(messages: Vec<ContributionMessage>) -> Vec<Contribution> {
    let read = |message: ContributionMessage| Contribution {
        name: message.name,
        amount: message.amount,
        description: message.description,
    };
    messages.into_iter().map(read).collect()
}

fn reached(names: Vec<String>, since: Vec<i64>) -> Vec<Reached> {
    names.into_iter().zip(since).map(|(name, since)| Reached { name, since }).collect()
}

const fn kind(is_model: bool) -> Kind {
    if is_model { Kind::Model } else { Kind::Scorecard }
}

pub(super) fn encode_standings(scores: &[Standing]) -> Vec<u8> {
    let score = |score: &Standing| ScoreMessage {
        scorer: score.scorer.clone(),
        is_model: score.kind == Kind::Model,
        value: score.value,
        probability: score.probability,
        version: score.version,
        reached: score.reached.iter().map(|reached| reached.name.clone()).collect(),
        since: score.reached.iter().map(|reached| reached.since).collect(),
        contributions: score.reasons.iter().map(contribution).collect(),
        total: 0.0,
        read: Vec::new(),
    };
    ScoresMessage { scores: scores.iter().map(score).collect() }.encode_to_vec()
}

/// A score as the views of schema `bi` show it; see `migrations/bi.sql`.
#[derive(Serialize)]
struct Shown<'a> {
    scorer: &'a str,
    kind: &'static str,
    value: f64,
    probability: Option<f64>,
    grade: Option<&'a str>,
    version: i64,
}

fn shown(score: &Standing) -> Shown<'_> {
    Shown {
        scorer: &score.scorer,
        kind: match score.kind {
            Kind::Scorecard => "scorecard",
            Kind::Model => "model",
        },
        value: score.value,
        probability: score.probability,
        grade: Some(score.grade()).filter(|grade| !grade.is_empty()),
        version: score.version,
    }
}

/// What views show of scores: JSON.
pub(super) fn show_standings(scores: &[Standing]) -> Result<String, Error> {
    let shown: Vec<Shown<'_>> = scores.iter().map(shown).collect();
    serde_json::to_string(&shown).map_err(|_| Error::internal("a score is not JSON"))
}

pub(super) fn decode_standings(bytes: &[u8]) -> Result<Vec<Standing>, Error> {
    let message = ScoresMessage::decode(bytes).map_err(damaged)?;
    let score = |score: ScoreMessage| Standing {
        scorer: score.scorer,
        kind: kind(score.is_model),
        value: score.value,
        probability: score.probability,
        version: score.version,
        reached: reached(score.reached, score.since),
        reasons: contributions(score.contributions),
    };
    Ok(message.scores.into_iter().map(score).collect())
}

pub(super) fn encode_features(features: &Features) -> Vec<u8> {
    let feature = |(name, value): (&String, &Logged)| FeatureMessage {
        name: name.clone(),
        value: Some(match value {
            Logged::Int(number) => ValueMessage::Int(*number),
            Logged::Number(number) => ValueMessage::Number(*number),
            Logged::Bool(value) => ValueMessage::Bool(*value),
            Logged::Text(text) => ValueMessage::Text(text.clone()),
            Logged::Time(us) => ValueMessage::Time(*us),
        }),
    };
    FeaturesMessage { features: features.iter().map(feature).collect() }.encode_to_vec()
}

pub(super) fn decode_features(bytes: &[u8]) -> Result<Features, Error> {
    let message = FeaturesMessage::decode(bytes).map_err(damaged)?;
    let feature = |feature: FeatureMessage| {
        let value = match feature.value? {
            ValueMessage::Int(number) => Logged::Int(number),
            ValueMessage::Number(number) => Logged::Number(number),
            ValueMessage::Bool(value) => Logged::Bool(value),
            ValueMessage::Text(text) => Logged::Text(text),
            ValueMessage::Time(us) => Logged::Time(us),
        };
        Some((feature.name, value))
    };
    Ok(message.features.into_iter().filter_map(feature).collect())
}

pub(super) fn encode_answers(answers: &[Answer], features: &Features) -> Vec<u8> {
    let place = |name: &String| {
        features.keys().position(|known| known == name).and_then(|place| u32::try_from(place).ok())
    };
    let answer = |answer: &Scored| ScoreMessage {
        scorer: answer.scorer.clone(),
        is_model: answer.kind == Kind::Model,
        value: answer.value,
        probability: answer.probability,
        version: answer.version,
        reached: answer.reached.clone(),
        since: Vec::new(),
        contributions: answer.contributions.iter().map(contribution).collect(),
        total: answer.total,
        read: answer.read.iter().filter_map(place).collect(),
    };
    ScoresMessage { scores: answers.iter().map(answer).collect() }.encode_to_vec()
}

pub(super) fn decode_answers(bytes: &[u8], features: &Features) -> Result<Vec<Answer>, Error> {
    let message = ScoresMessage::decode(bytes).map_err(damaged)?;
    let names: Vec<&String> = features.keys().collect();
    let name = |place: u32| names.get(usize::try_from(place).ok()?).map(|name| (*name).clone());
    let answer = |score: ScoreMessage| Scored {
        scorer: score.scorer,
        kind: kind(score.is_model),
        value: score.value,
        probability: score.probability,
        version: score.version,
        reached: score.reached,
        total: score.total,
        contributions: contributions(score.contributions),
        read: score.read.into_iter().filter_map(name).collect(),
    };
    Ok(message.scores.into_iter().map(answer).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_reads_back_to_the_last_bit() {
        let features = Features::from([
            ("orders.count".to_owned(), Logged::Int(-3)),
            ("engagement".to_owned(), Logged::Number(0.1 + 0.2)),
            ("traits.job".to_owned(), Logged::Text("学生".to_owned())),
            ("traits.since".to_owned(), Logged::Time(-1)),
            ("traits.vip".to_owned(), Logged::Bool(false)),
        ]);
        let answers = vec![Scored {
            scorer: "lead".to_owned(),
            kind: Kind::Model,
            value: 33.300_000_000_000_004,
            probability: Some(0.333),
            version: 7,
            reached: vec!["warm".to_owned()],
            total: -0.7,
            contributions: vec![Contribution {
                name: "traits.job=学生".to_owned(),
                amount: -0.7,
                description: "job = 学生".to_owned(),
            }],
            read: vec!["orders.count".to_owned(), "traits.job".to_owned()],
        }];
        let stored = decode_features(&encode_features(&features)).unwrap();
        assert_eq!(stored, features);
        let bytes = encode_answers(&answers, &features);
        assert_eq!(decode_answers(&bytes, &stored).unwrap(), answers);
    }
}
