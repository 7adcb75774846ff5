//! GetTimeline and ListRejectedEvents.

use ::store::TokenSealer;
use ::store::page_token::Scope;
use contracts::profile::v1 as wire;
use kernel::{CustomerId, EvidenceId, Violations, page};
use server::Call;
use uuid::Uuid;

use super::time::timestamp;
use crate::app::Shared;
use crate::error::Error;
use crate::store::event::Place;

const GET_TIMELINE: &str = "rapport.profile.v1.ProfileService/GetTimeline";
const LIST_REJECTED: &str = "rapport.profile.v1.ProfileService/ListRejectedEvents";

pub(super) async fn get(
    shared: &Shared,
    tokens: &TokenSealer,
    call: &Call,
    request: &wire::GetTimelineRequest,
) -> Result<wire::GetTimelineResponse, Error> {
    let mut violations = Violations::new();
    let customer: Option<CustomerId> = violations.check("customer_id", request.customer_id.parse());
    let Some(customer) = customer else { return Err(violations.into()) };
    let size = page::size(request.page_size)?;
    let (tenant, filter) = (call.tenant(), customer.as_bytes().as_slice());
    let scope = Scope { tenant, method: GET_TIMELINE, filter };
    let position = tokens.page(&scope, &request.page_token)?;
    let after = position.as_deref().and_then(read_place);

    let (events, has_more) = shared.timeline(tenant, customer, after.as_ref(), size).await?;
    let next_page_token = match events.last().filter(|_| has_more) {
        Some(last) => tokens.seal(&scope, &write_place(&last.place))?,
        None => String::new(),
    };
    let event = |opened: crate::app::timeline::Opened| wire::TimelineEvent {
        event: Some(opened.event),
        evidence_id: opened.place.evidence.to_string(),
        receive_time: Some(timestamp(opened.received_us)),
    };
    let events = events.into_iter().map(event).collect();
    Ok(wire::GetTimelineResponse { events, next_page_token })
}

fn write_place(place: &Place) -> Vec<u8> {
    let mut bytes = place.occurred_us.to_be_bytes().to_vec();
    bytes.extend_from_slice(place.evidence.as_bytes());
    bytes.extend_from_slice(place.message_id.as_bytes());
    bytes
}

fn read_place(bytes: &[u8]) -> Option<Place> {
    let (occurred_us, rest) = bytes.split_first_chunk::<8>()?;
    let (evidence, message_id) = rest.split_first_chunk::<16>()?;
    Some(Place {
        occurred_us: i64::from_be_bytes(*occurred_us),
        evidence: EvidenceId::from_slice(evidence).ok()?,
        message_id: String::from_utf8(message_id.to_vec()).ok()?,
    })
}

pub(super) async fn rejected(
    shared: &Shared,
    tokens: &TokenSealer,
    call: &Call,
    request: &wire::ListRejectedEventsRequest,
) -> Result<wire::ListRejectedEventsResponse, Error> {
    let size = page::size(request.page_size)?;
    let scope = Scope { tenant: call.tenant(), method: LIST_REJECTED, filter: &[] };
    let position = tokens.page(&scope, &request.page_token)?;
    let before = position.as_deref().and_then(|bytes| {
        let (received_us, id) = bytes.split_first_chunk::<8>()?;
        Some((i64::from_be_bytes(*received_us), Uuid::from_slice(id).ok()?))
    });
    let (events, has_more) = shared.rejections(call.tenant(), before, size).await?;
    let next_page_token = match events.last().filter(|_| has_more) {
        Some(last) => {
            let mut position = last.received_us.to_be_bytes().to_vec();
            position.extend_from_slice(last.id.as_bytes());
            tokens.seal(&scope, &position)?
        }
        None => String::new(),
    };
    let event = |opened: crate::app::timeline::OpenedRejection| wire::RejectedEvent {
        rejection_id: opened.id.to_string(),
        receive_time: Some(timestamp(opened.received_us)),
        ..opened.rejection
    };
    let events = events.into_iter().map(event).collect();
    Ok(wire::ListRejectedEventsResponse { events, next_page_token })
}
