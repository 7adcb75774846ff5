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
