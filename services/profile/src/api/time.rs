//! Instants of the contract as microseconds, and back.

use jiff::Timestamp;
use kernel::Violations;

/// An instant; nothing, with a violation, for one that is none.
pub(super) fn micros(
    violations: &mut Violations,
    field: &str,
    time: &prost_types::Timestamp,
) -> Option<i64> {
    let nanos_are_good = (0..1_000_000_000).contains(&time.nanos);
    let micros = time.seconds.checked_mul(1_000_000);
    let micros = micros.and_then(|us| us.checked_add(i64::from(time.nanos) / 1_000));
    let within = |us: &i64| Timestamp::from_microsecond(*us).is_ok();
    let good = micros.filter(within).filter(|_| nanos_are_good);
    if good.is_none() {
        violations.add(field, "must be an instant between the years 1 and 9999");
    }
    good
}

/// The `as_of_time` of a read; now if absent.
pub(super) fn as_of(
    violations: &mut Violations,
    time: Option<&prost_types::Timestamp>,
) -> Option<i64> {
    match time {
        None => Some(Timestamp::now().as_microsecond()),
        Some(time) => micros(violations, "as_of_time", time),
    }
}

/// An instant of the contract.
pub(super) fn timestamp(us: i64) -> prost_types::Timestamp {
    let seconds = us.div_euclid(1_000_000);
    let nanos = us.rem_euclid(1_000_000) as i32 * 1_000; // below a thousand million
    prost_types::Timestamp { seconds, nanos }
}
