//! Resolve, BatchResolve.

use contracts::identity::v1::batch_resolve_result::Result as Outcome;
use contracts::identity::v1::{
    BatchResolveRequest, BatchResolveResponse, BatchResolveResult, IgnoreReason, IgnoredIdentifier,
    Resolution, ResolveRequest, ResolveResponse,
};
use jiff::Timestamp;
use kernel::Violations;
use server::Call;
use server::layers::trace;

use super::parse;
use crate::Error;
use crate::app::{App, Refused, Resolved, Seen};

/// How many sets one call may have.
const MAX_SETS: usize = 500;

pub(super) async fn one(
    app: &App,
    call: &Call,
    request: ResolveRequest,
) -> Result<ResolveResponse, Error> {
    let context = context();
    let mut violations = Violations::new();
    let event_us = parse::event_us(&mut violations, "event_time", request.event_time, context.0);
    violations.into_result(())?;
    let seen = Seen { set: parse::set(request.identifiers), event_us };
    let mut resolved = app.resolve(call.tenant(), &[seen], context).await?;
    match resolved.pop() {
        Some(Ok(one)) => Ok(ResolveResponse { resolution: Some(resolution(one)) }),
        Some(Err(Refused::Invalid(violations))) => Err(violations.into()),
        Some(Err(Refused::Erased(erased_us))) => Err(Error::Erased(erased_us)),
        None => Err(::store::Error::internal("a set has no answer").into()),
    }
}

pub(super) async fn batch(
    app: &App,
    call: &Call,
    request: BatchResolveRequest,
) -> Result<BatchResolveResponse, Error> {
    if request.requests.is_empty() || request.requests.len() > MAX_SETS {
        return Err(Violations::of("requests", format!("must be 1 to {MAX_SETS}")).into());
    }
    let context = context();
    let mut violations = Violations::new();
    let mut sets = Vec::with_capacity(request.requests.len());
    for (index, one) in request.requests.into_iter().enumerate() {
        let field = format!("requests[{index}].event_time");
        let event_us = parse::event_us(&mut violations, &field, one.event_time, context.0);
        sets.push(Seen { set: parse::set(one.identifiers), event_us });
    }
    violations.into_result(())?;
    let resolved = app.resolve(call.tenant(), &sets, context).await?;
    let result = |outcome| BatchResolveResult { result: Some(outcome) };
    let results = resolved.into_iter().map(|one| match one {
        Ok(one) => result(Outcome::Resolution(resolution(one))),
        Err(Refused::Invalid(violations)) => result(Outcome::Error(violations.to_string())),
        Err(Refused::Erased(erased_us)) => result(Outcome::Erased(time(erased_us))),
    });
    Ok(BatchResolveResponse { results: results.collect() })
}

/// The time of the call and its trace.
fn context() -> (i64, Option<String>) {
    (Timestamp::now().as_microsecond(), trace::traceparent())
}

fn resolution(resolved: Resolved) -> Resolution {
    let Resolved { answer, ignored, shared_only } = resolved;
    let ignored = ignored.into_iter().map(|(index, reason)| IgnoredIdentifier {
        index: index as i32,
        reason: ignore_reason(reason).into(),
    });
    Resolution {
        customer_id: answer.mapping.customer.to_string(),
        evidence_id: answer.mapping.evidence.to_string(),
        map_version: answer.mapping.map_version,
        created: answer.origin.created,
        merged_customer_ids: answer.origin.merged.iter().map(ToString::to_string).collect(),
        ignored: ignored.collect(),
        shared_only,
        erase_time: answer.mapping.erased_us.map(time),
    }
}

fn time(us: i64) -> prost_types::Timestamp {
    parse::time(::store::time::from_micros(us))
}

const fn ignore_reason(reason: linkage::IgnoreReason) -> IgnoreReason {
    match reason {
        linkage::IgnoreReason::Placeholder => IgnoreReason::Placeholder,
        linkage::IgnoreReason::Masked => IgnoreReason::Masked,
        linkage::IgnoreReason::Malformed => IgnoreReason::Malformed,
        linkage::IgnoreReason::Blocked => IgnoreReason::Blocked,
        linkage::IgnoreReason::Duplicate => IgnoreReason::Duplicate,
    }
}
