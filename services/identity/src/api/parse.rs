//! Words that several RPCs read and write.

use contracts::common::v1::Identifier;
use jiff::Timestamp;
use kernel::{RequestId, Violations};

use crate::app::Set;

/// The longest reason of a decision, in bytes.
const MAX_REASON_BYTES: usize = 500;

/// Namespaces and raw values, as the engine reads them.
pub(super) fn set(identifiers: Vec<Identifier>) -> Set {
    identifiers.into_iter().map(|one| (one.namespace, one.value)).collect()
}

/// A normalised identifier.
pub(super) fn identifier(identifier: &linkage::Identifier) -> Identifier {
    Identifier {
        namespace: identifier.namespace().to_string(),
        value: identifier.value().to_owned(),
    }
}

/// A point in time.
pub(super) fn time(time: Timestamp) -> prost_types::Timestamp {
    let micros = time.as_microsecond();
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: (micros.rem_euclid(1_000_000) * 1_000) as i32,
    }
}

/// 0001-01-01 and the second after 9999-12-31, as `google.protobuf.Timestamp` says.
const SECONDS: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;

/// An instant in microseconds since 1970, `now_us` if none is given.
pub(super) fn event_us(
    violations: &mut Violations,
    field: &str,
    time: Option<prost_types::Timestamp>,
    now_us: i64,
) -> i64 {
    let Some(time) = time else { return now_us };
    if !SECONDS.contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos) {
        violations.add(field, "must be between the years 1 and 9999, with 0 to 999,999,999 nanos");
        return now_us;
    }
    time.seconds * 1_000_000 + i64::from(time.nanos / 1_000)
}

/// An optional request id.
pub(super) fn request_id(violations: &mut Violations, text: &str) -> Option<RequestId> {
    if text.is_empty() {
        return None;
    }
    violations.check("request_id", text.parse())
}

/// The reason of a decision.
pub(super) fn reason(violations: &mut Violations, text: &str) {
    if text.len() > MAX_REASON_BYTES {
        violations.add("reason", format!("must be at most {MAX_REASON_BYTES} bytes"));
    }
}
