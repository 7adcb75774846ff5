//! RecordOutcome.

use contracts::feedback::v1 as proto;
use jiff::Timestamp;
use kernel::{DemandId, Violations};
use server::Call;

use super::read;
use crate::domain::outcome::{Outcome, OutcomeResult, Recording, Statement};
use crate::{money, time};

const MAX_REASON: usize = 64;

pub(super) fn recording(
    call: &Call,
    request: proto::RecordOutcomeRequest,
    now: Timestamp,
) -> Result<Recording, Violations> {
    let mut violations = Violations::new();
    let key = read::demand(&mut violations, call, &request.demand_id);
    let result = OutcomeResult::from_number(request.result);
    if result.is_none() {
        violations.add("result", "must be one of won, lost, solved, unsolved, spam, no answer");
    }
    let value = request.value.as_ref();
    let value = value.and_then(|value| violations.check("value", money::value(value)));
    if request.reason.len() > MAX_REASON {
        violations.add("reason", "must be at most 64 bytes");
    }
    if request.reason.contains('\0') {
        violations.add("reason", "must not contain a zero byte");
    }
    let event_us = read::event_us(&mut violations, request.event_time.as_ref(), now);
    let (Some(key), Some(result), Some(event_us), true) =
        (key, result, event_us, violations.is_empty())
    else {
        return Err(violations);
    };
    Ok(Recording {
        key,
        statement: Statement { result, value, reason: request.reason, event_us },
        time_is_now: request.event_time.is_none(),
        recorded_us: now.as_microsecond(),
        traceparent: None,
    })
}

pub(super) fn message(demand: DemandId, outcome: &Outcome) -> proto::Outcome {
    let statement = &outcome.statement;
    let value = statement.value.as_ref();
    proto::Outcome {
        demand_id: demand.to_string(),
        result: i32::from(statement.result.number()),
        value: value.map(|value| money::money(value.micros.into(), &value.currency)),
        reason: statement.reason.clone(),
        event_time: Some(time::timestamp(statement.event_us)),
        version: outcome.version,
    }
}
