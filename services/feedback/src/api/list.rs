//! ListOutcomes: the outcomes in force, in the order of their keys.

use ::store::page_token::Scope;
use contracts::feedback::v1 as proto;
use kernel::{DemandId, page};
use server::Call;

use super::outcome;
use crate::app::App;
use crate::error::Error;
use crate::store::outcome::{self as store, Listed};
use crate::{domain::Key, time};

const LIST: &str = "rapport.feedback.v1.FeedbackService/ListOutcomes";

pub(super) async fn outcomes(
    app: &App,
    call: &Call,
    request: &proto::ListOutcomesRequest,
) -> Result<proto::ListOutcomesResponse, Error> {
    let tenant = call.tenant();
    let size = page::size(request.page_size)?;
    let scope = Scope { tenant, method: LIST, filter: &[] };
    let position = app.tokens.page(&scope, &request.page_token)?;
    let after = position.and_then(|bytes| DemandId::from_slice(&bytes).ok());
    let after = after.map(|demand| Key { tenant, demand });
    let mut listed = store::after(&app.database, tenant, after, size + 1).await?;
    let has_more = listed.len() > size;
    listed.truncate(size);
    let next_page_token = match listed.last().filter(|_| has_more) {
        Some(last) => app.tokens.seal(&scope, last.key.demand.as_bytes())?,
        None => String::new(),
    };
    let outcomes = listed.iter().map(message).collect();
    Ok(proto::ListOutcomesResponse { outcomes, next_page_token })
}

fn message(listed: &Listed) -> proto::ListedOutcome {
    let customer = Some(listed.customer).filter(|customer| !customer.is_nil());
    proto::ListedOutcome {
        outcome: Some(outcome::message(listed.key.demand, &listed.outcome)),
        customer_id: customer.map(|customer| customer.to_string()).unwrap_or_default(),
        demand_kind: listed.kind.clone(),
        team: listed.team.clone(),
        agent: listed.agent.clone(),
        record_time: Some(time::timestamp(listed.outcome.recorded_us)),
    }
}
