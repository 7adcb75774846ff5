//! Times of messages as microseconds since 1970.

use prost_types::{Duration, Timestamp};

/// 0001-01-01 and 9999-12-31, the ends of protobuf's range, in seconds.
const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// The time, if there is one and it is valid.
pub(crate) fn micros(time: Option<&Timestamp>) -> Option<i64> {
    let time = time?;
    let valid = RANGE.contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    valid.then(|| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
}

/// The message of a time.
pub(crate) fn timestamp(micros: i64) -> Timestamp {
    let nanos = micros.rem_euclid(1_000_000) as i32 * 1_000;
    Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}

/// The message of a span that is not negative.
pub(crate) fn duration(micros: f64) -> Duration {
    let micros = micros.round() as i64;
    Duration { seconds: micros / 1_000_000, nanos: (micros % 1_000_000) as i32 * 1_000 }
}
