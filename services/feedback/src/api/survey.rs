//! RecordSurvey.

use contracts::feedback::v1 as proto;
use jiff::Timestamp;
use kernel::Violations;
use server::Call;

use super::read;
use crate::domain::survey::{Scale, Survey};

const MAX_ID: usize = 128;

pub(super) fn survey(
    call: &Call,
    request: proto::RecordSurveyRequest,
    now: Timestamp,
) -> Result<Survey, Violations> {
    let mut violations = Violations::new();
    let id = request.survey_id;
    if id.is_empty() || id.len() > MAX_ID || id.contains('\0') {
        violations.add("survey_id", "must be 1 to 128 bytes without a zero byte");
    }
    let key = read::demand(&mut violations, call, &request.demand_id);
    let scale = Scale::from_number(request.kind);
    if scale.is_none() {
        violations.add("kind", "must be NPS or CSAT");
    }
    let range = scale.map_or(0..=10, Scale::range);
    if !range.contains(&request.score) {
        let text = format!("must be {} to {}", range.start(), range.end());
        violations.add("score", text);
    }
    let event_us = read::event_us(&mut violations, request.event_time.as_ref(), now);
    let score = i16::try_from(request.score).ok();
    let (Some(key), Some(scale), Some(score), Some(event_us), true) =
        (key, scale, score, event_us, violations.is_empty())
    else {
        return Err(violations);
    };
    Ok(Survey { id, key, scale, score, event_us })
}
