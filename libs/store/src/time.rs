//! Timestamps as they stand in hot tables: microseconds since 1970 in a `bigint`.

use jiff::Timestamp;

/// Microseconds since 1970; the rest below is cut off towards zero.
#[must_use]
pub fn to_micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// The time at `micros`. Beyond the years −9999 and 9999 the nearest end of that range.
#[must_use]
pub fn from_micros(micros: i64) -> Timestamp {
    let end = if micros < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_microsecond(micros).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micros_come_back_and_the_ends_hold() {
        for micros in [0, 1, -1, 1_795_338_000_123_456] {
            assert_eq!(to_micros(from_micros(micros)), micros);
        }
        assert_eq!(from_micros(i64::MAX), Timestamp::MAX);
        assert_eq!(from_micros(i64::MIN), Timestamp::MIN);
    }
}
