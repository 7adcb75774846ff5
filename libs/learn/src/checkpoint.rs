//! The state of a model as bytes: a version byte, then a protobuf message. Maps are sorted
//! lists, so equal states are equal bytes.

use std::collections::BTreeMap;

use prost::Message;

use crate::calibration::{Calibrator, Recalibration};
use crate::ftrl::{Coordinate, Rates};
use crate::model::{MAX_WEIGHTS, Model, Settings};
use crate::numeric::{Moments, Numeric};

/// The version of the layout and of the arithmetic: a change of either is a new version.
const VERSION: u8 = 1;

/// Why bytes are no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// No bytes at all.
    #[error("the checkpoint is empty")]
    Empty,
    /// Written by another version.
    #[error("checkpoint version {0} is not known, expected {VERSION}")]
    Version(u8),
    /// Not the bytes of a model.
    #[error("the checkpoint is damaged")]
    Damaged,
}

#[derive(Clone, PartialEq, Message)]
struct StateMessage {
    #[prost(double, repeated, tag = "1")]
    rates: Vec<f64>,
    /// Settings, then state; empty without recalibration.
    #[prost(double, repeated, tag = "2")]
    calibration: Vec<f64>,
    #[prost(double, repeated, tag = "3")]
    bias: Vec<f64>,
    #[prost(message, repeated, tag = "4")]
    numerics: Vec<NumericMessage>,
    #[prost(message, repeated, tag = "5")]
    levels: Vec<LevelMessage>,
    #[prost(uint64, tag = "6")]
    examples: u64,
    #[prost(uint64, tag = "7")]
    refused: u64,
}

#[derive(Clone, PartialEq, Message)]
struct NumericMessage {
    #[prost(string, tag = "1")]
    name: String,
    /// Plain moments, log moments, then three coordinates.
    #[prost(double, repeated, tag = "2")]
    state: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct LevelMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    level: String,
    #[prost(double, tag = "3")]
    z: f64,
    #[prost(double, tag = "4")]
    n: f64,
}

impl Model {
    /// The whole state as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let rates = self.settings.rates;
        let message = StateMessage {
            rates: vec![rates.alpha, rates.beta, rates.l1, rates.l2],
            calibration: self.encode_calibration(),
            bias: vec![self.bias.z, self.bias.n],
            numerics: self.numerics.iter().map(encode_numeric).collect(),
            levels: self.encode_levels(),
            examples: self.examples,
            refused: self.refused,
        };
        let mut bytes = vec![VERSION];
        bytes.extend(message.encode_to_vec());
        bytes
    }

    /// The model that was encoded.
    ///
    /// # Errors
    /// If the bytes are of another version or no checkpoint.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let (version, body) = bytes.split_first().ok_or(CheckpointError::Empty)?;
        if *version != VERSION {
            return Err(CheckpointError::Version(*version));
        }
        let message = StateMessage::decode(body).map_err(|_| CheckpointError::Damaged)?;
        decode_model(message).ok_or(CheckpointError::Damaged)
    }

    fn encode_calibration(&self) -> Vec<f64> {
        let (Some(settings), Some(state)) = (self.settings.recalibration, self.calibrator) else {
            return Vec::new();
        };
        vec![settings.memory, settings.variance, state.offset, state.variance]
    }

    fn encode_levels(&self) -> Vec<LevelMessage> {
        let mut messages = Vec::with_capacity(self.weights);
        for (name, levels) in &self.levels {
            for (level, coordinate) in levels {
                messages.push(LevelMessage {
                    name: name.clone(),
                    level: level.clone(),
                    z: coordinate.z,
                    n: coordinate.n,
                });
            }
        }
        messages
    }
}

fn encode_numeric((name, numeric): (&String, &Numeric)) -> NumericMessage {
    let mut state = Vec::with_capacity(12);
    for moments in [numeric.plain, numeric.log] {
        state.extend([moments.count, moments.mean, moments.squares]);
    }
    for coordinate in [numeric.plain_weight, numeric.log_weight, numeric.missing_weight] {
        state.extend([coordinate.z, coordinate.n]);
    }
    NumericMessage { name: name.clone(), state }
}

fn decode_model(message: StateMessage) -> Option<Model> {
    let [alpha, beta, l1, l2] = message.rates.try_into().ok()?;
    let [z, n] = message.bias.try_into().ok()?;
    let (recalibration, calibrator) = decode_calibration(&message.calibration)?;
    let mut numerics = BTreeMap::new();
    for numeric in message.numerics {
        numerics.insert(numeric.name, decode_numeric(numeric.state)?);
    }
    let mut levels: BTreeMap<String, BTreeMap<String, Coordinate>> = BTreeMap::new();
    let mut weights = numerics.len() * Numeric::WEIGHTS;
    for level in message.levels {
        let known = levels.entry(level.name).or_default();
        if known.insert(level.level, Coordinate { z: level.z, n: level.n }).is_none() {
            weights += 1;
        }
    }
    if weights > MAX_WEIGHTS {
        return None;
    }
    Some(Model {
        settings: Settings { rates: Rates { alpha, beta, l1, l2 }, recalibration },
        bias: Coordinate { z, n },
        numerics,
        levels,
        weights,
        calibrator,
        examples: message.examples,
        refused: message.refused,
    })
}

fn decode_calibration(state: &[f64]) -> Option<(Option<Recalibration>, Option<Calibrator>)> {
    match *state {
        [] => Some((None, None)),
        [memory, prior, offset, variance] => {
            let settings = Recalibration { memory, variance: prior };
            Some((Some(settings), Some(Calibrator { offset, variance })))
        }
        _ => None,
    }
}

fn decode_numeric(state: Vec<f64>) -> Option<Numeric> {
    let [a, b, c, d, e, f, plain_z, plain_n, log_z, log_n, missing_z, missing_n] =
        state.try_into().ok()?;
    Some(Numeric {
        plain: Moments { count: a, mean: b, squares: c },
        log: Moments { count: d, mean: e, squares: f },
        plain_weight: Coordinate { z: plain_z, n: plain_n },
        log_weight: Coordinate { z: log_z, n: log_n },
        missing_weight: Coordinate { z: missing_z, n: missing_n },
    })
}
