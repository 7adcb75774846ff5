//! Parts of messages as domain values; what is wrong goes to the violations of the whole.

use std::str::FromStr;

use contracts::routing::v1 as proto;
use kernel::Violations;
use kernel::id::{NotAName, is_resource_name};
use prost_types::{Duration, Timestamp};

use crate::app::now_us;
use crate::domain::hours::{self, Interval, WorkingHours};

/// Clocks differ a little.
const TOLERATED_FUTURE_US: i64 = 5 * 60 * 1_000_000;
/// The latest second of the calendar, 9999-12-31T23:59:59Z, and the first of year 1.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A required id.
pub(super) fn id<T: FromStr>(violations: &mut Violations, field: &str, text: &str) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    violations.check(field, text.parse())
}

/// The name of a resource.
pub(super) fn name(violations: &mut Violations, field: &str, text: &str) -> String {
    if !is_resource_name(text) {
        violations.add(field, NotAName.to_string());
    }
    text.to_owned()
}

/// A text of bounded length, without control characters.
pub(super) fn text(violations: &mut Violations, field: &str, text: &str, bytes: usize) -> String {
    if text.len() > bytes {
        violations.add(field, format!("must be at most {bytes} bytes"));
    }
    if text.chars().any(char::is_control) {
        violations.add(field, "must not contain control characters");
    }
    text.to_owned()
}

/// An instant that is not in the future; none if absent.
pub(super) fn past(
    violations: &mut Violations,
    field: &str,
    time: Option<Timestamp>,
) -> Option<i64> {
    let time = time?;
    if !SECONDS.contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos) {
        violations.add(field, "must be a time between the years 1 and 9999");
        return None;
    }
    let us = time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000;
    if us > now_us().saturating_add(TOLERATED_FUTURE_US) {
        violations.add(field, "must not be in the future");
    }
    Some(us)
}

/// A duration in microseconds; none if absent.
pub(super) fn duration(
    violations: &mut Violations,
    field: &str,
    duration: Option<Duration>,
) -> Option<i64> {
    let duration = duration?;
    let fits =
        duration.seconds.unsigned_abs() < 1 << 40 && duration.nanos.unsigned_abs() < 1_000_000_000;
    if !fits {
        violations.add(field, "must be a duration");
        return None;
    }
    Some(duration.seconds * 1_000_000 + i64::from(duration.nanos) / 1_000)
}

/// Working hours; what cannot be read is noted, what does not make sense is for the domain.
pub(super) fn working_hours(
    violations: &mut Violations,
    field: &str,
    hours: Option<proto::WorkingHours>,
) -> Option<WorkingHours> {
    let hours = hours?;
    let mut intervals = Vec::with_capacity(hours.intervals.len());
    for (position, interval) in hours.intervals.iter().enumerate() {
        let path = format!("{field}.intervals[{position}]");
        let mut minute = |part: &str, text: &str| {
            let minute = hours::minute_of_day(text);
            if minute.is_none() {
                violations.add(format!("{path}.{part}"), "must be HH:MM, from 00:00 to 24:00");
            }
            minute
        };
        let (start, end) = (minute("start", &interval.start), minute("end", &interval.end));
        let weekdays = interval.weekdays.iter().map(|day| i8::try_from(*day).unwrap_or(0));
        if let (Some(start), Some(end)) = (start, end) {
            intervals.push(Interval { weekdays: weekdays.collect(), start, end });
        }
    }
    Some(WorkingHours { time_zone: hours.time_zone, intervals })
}
