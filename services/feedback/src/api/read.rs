//! Fields that several requests have.

use jiff::Timestamp;
use kernel::{DemandId, Violations, id};
use prost_types::Timestamp as Message;
use server::Call;

use crate::domain::Key;
use crate::time;

const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// The demand, in the caller's tenant.
pub(super) fn demand(violations: &mut Violations, call: &Call, text: &str) -> Option<Key> {
    let demand = violations.check("demand_id", text.parse::<DemandId>())?;
    Some(Key { tenant: call.tenant(), demand })
}

/// A time that may be left out. At most a day ahead: a typing error in the year must not
/// outweigh every later correction.
pub(super) fn event_us(
    violations: &mut Violations,
    message: Option<&Message>,
    now: Timestamp,
) -> Option<i64> {
    let now_us = now.as_microsecond();
    let Some(message) = message else { return Some(now_us) };
    match time::micros(Some(message)) {
        None => violations.add("event_time", "must be a valid timestamp"),
        Some(event_us) if event_us > now_us + DAY_US => {
            violations.add("event_time", "must not be more than 24 hours ahead");
        }
        valid => return valid,
    }
    None
}

/// `start_time` and `end_time` of a filter; absent means unbounded.
pub(super) fn range(
    violations: &mut Violations,
    start: Option<&Message>,
    end: Option<&Message>,
) -> (i64, i64) {
    let mut bound = |field: &str, message: Option<&Message>, default: i64| {
        let valid = time::micros(message);
        if message.is_some() && valid.is_none() {
            violations.add(field, "must be a valid timestamp");
        }
        valid.unwrap_or(default)
    };
    let start_us = bound("start_time", start, i64::MIN);
    let end_us = bound("end_time", end, i64::MAX);
    if start_us >= end_us {
        violations.add("end_time", "must be after start_time");
    }
    (start_us, end_us)
}

/// A name that may be left out.
pub(super) fn optional_name(violations: &mut Violations, field: &str, name: &str) {
    if !name.is_empty() && !id::is_resource_name(name) {
        violations.add(field, id::NotAName.to_string());
    }
}
