//! Offers: taken or given back.

use contracts::routing::v1::*;
use kernel::Violations;
use server::Call;

use super::demand::act;
use super::read;
use crate::Error;
use crate::app::App;
use crate::app::commit::Verb;

const MAX_REASON: usize = 64;

pub(super) async fn accept_offer(
    app: &App,
    call: &Call,
    request: AcceptOfferRequest,
) -> Result<AcceptOfferResponse, Error> {
    let mut violations = Violations::new();
    let offer = read::id(&mut violations, "offer_id", &request.offer_id);
    let agent = read::name(&mut violations, "agent", &request.agent);
    let (Some(offer), true) = (offer, violations.is_empty()) else {
        return Err(violations.into());
    };
    Ok(AcceptOfferResponse { demand: act(app, call, Verb::Accept { offer, agent }).await? })
}

pub(super) async fn decline_offer(
    app: &App,
    call: &Call,
    request: DeclineOfferRequest,
) -> Result<DeclineOfferResponse, Error> {
    let mut violations = Violations::new();
    let offer = read::id(&mut violations, "offer_id", &request.offer_id);
    let agent = read::name(&mut violations, "agent", &request.agent);
    let reason = read::text(&mut violations, "reason", &request.reason, MAX_REASON);
    let (Some(offer), true) = (offer, violations.is_empty()) else {
        return Err(violations.into());
    };
    let verb = Verb::Decline { offer, agent, reason };
    Ok(DeclineOfferResponse { demand: act(app, call, verb).await? })
}
