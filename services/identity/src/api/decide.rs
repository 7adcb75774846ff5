//! MergeCustomers, SplitCustomer.

use contracts::identity::v1::{
    MergeCustomersRequest, MergeCustomersResponse, SplitCustomerRequest, SplitCustomerResponse,
};
use jiff::Timestamp;
use kernel::{CustomerId, EvidenceId, Violations};
use prost::Message;
use server::Call;
use server::layers::trace;

use super::parse;
use crate::Error;
use crate::app::{App, Demand, SplitOutcome};

/// How much evidence one split may move.
const MAX_MOVED: usize = 1_000;
const MERGE: &str = "rapport.identity.v1.IdentityService/MergeCustomers";
const SPLIT: &str = "rapport.identity.v1.IdentityService/SplitCustomer";

pub(super) async fn merge(
    app: &App,
    call: &Call,
    request: MergeCustomersRequest,
) -> Result<MergeCustomersResponse, Error> {
    let mut violations = Violations::new();
    let left = violations.check("customer_id", request.customer_id.parse::<CustomerId>());
    let right = violations.check("other_customer_id", request.other_customer_id.parse());
    if left.is_some() && left == right {
        violations.add("other_customer_id", "must be another customer");
    }
    parse::reason(&mut violations, &request.reason);
    let request_id = parse::request_id(&mut violations, &request.request_id);
    let (Some(left), Some(right), true) = (left, right, violations.is_empty()) else {
        return Err(violations.into());
    };
    let request_id = request_id.map(|id| (id, request.encode_to_vec()));
    let demand = demand(call, MERGE, &request.reason, request_id);
    let decided = app.merge(&demand, (left, right)).await?;
    Ok(MergeCustomersResponse {
        customer_id: decided.outcome.to_string(),
        decision_id: decided.decision.to_string(),
    })
}

pub(super) async fn split(
    app: &App,
    call: &Call,
    request: SplitCustomerRequest,
) -> Result<SplitCustomerResponse, Error> {
    let mut violations = Violations::new();
    let id = violations.check("customer_id", request.customer_id.parse());
    let mut moved: Vec<EvidenceId> = Vec::new();
    if request.evidence_ids.is_empty() || request.evidence_ids.len() > MAX_MOVED {
        violations.add("evidence_ids", format!("must be 1 to {MAX_MOVED}"));
    } else {
        for (index, text) in request.evidence_ids.iter().enumerate() {
            let id =
                violations.check(&format!("evidence_ids[{index}]"), text.parse::<EvidenceId>());
            moved.extend(id);
        }
    }
    parse::reason(&mut violations, &request.reason);
    let request_id = parse::request_id(&mut violations, &request.request_id);
    let (Some(id), true) = (id, violations.is_empty()) else { return Err(violations.into()) };
    let request_id = request_id.map(|id| (id, request.encode_to_vec()));
    let demand = demand(call, SPLIT, &request.reason, request_id);
    let decided = app.split(&demand, (id, &moved)).await?;
    let SplitOutcome { stayed, moved } = decided.outcome;
    Ok(SplitCustomerResponse {
        customer_id: stayed.to_string(),
        split_customer_id: moved.to_string(),
        decision_id: decided.decision.to_string(),
    })
}

fn demand<'a>(
    call: &'a Call,
    method: &'static str,
    reason: &'a str,
    request: Option<(kernel::RequestId, Vec<u8>)>,
) -> Demand<'a> {
    Demand {
        tenant: call.tenant(),
        principal: &call.principal().subject,
        method,
        reason,
        request,
        now_us: Timestamp::now().as_microsecond(),
        traceparent: trace::traceparent(),
    }
}
