//! Demands: create, read, list, work on, close, explain.

use contracts::google::r#type::Money as Amount;
use contracts::routing::v1::*;
use kernel::{CustomerId, DemandId, Violations};
use prost::Message;
use server::Call;
use uuid::Uuid;

use super::page::Page;
use super::read;
use crate::Error;
use crate::app::App;
use crate::app::commit::{Act, Request, Verb};
use crate::app::create::Wanted;
use crate::domain::agent::{MAX_SKILLS, check_skill};
use crate::domain::{Closing, Demand, Money, Outcome, policy};
use crate::message;
use crate::store::demand::Filter;
use crate::store::{decision, demand, transition};

const MAX_HISTORY: i64 = 200;
const MAX_REASON: usize = 64;
const LIST: &str = "rapport.routing.v1.RoutingService/ListDemands";

pub(super) async fn create_demand(
    app: &App,
    call: &Call,
    request: CreateDemandRequest,
) -> Result<CreateDemandResponse, Error> {
    let demand = app.create(call, wanted(request)?).await?;
    Ok(CreateDemandResponse { demand: Some(message::demand(&demand)) })
}

fn wanted(request: CreateDemandRequest) -> Result<Wanted, Error> {
    let mut violations = Violations::new();
    let body = CreateDemandRequest { request_id: String::new(), ..request.clone() };
    let customer = read::id(&mut violations, "customer_id", &request.customer_id);
    let kind = read::name(&mut violations, "kind", &request.kind);
    let policy = match request.policy.as_str() {
        "" => policy::DEFAULT.to_owned(),
        name => read::name(&mut violations, "policy", name),
    };
    let mut required_skills = request.required_skills;
    if required_skills.len() > MAX_SKILLS {
        violations.add("required_skills", format!("must be at most {MAX_SKILLS}"));
    }
    for (position, skill) in required_skills.iter().enumerate() {
        violations.check(&format!("required_skills[{position}]"), check_skill(skill));
    }
    required_skills.sort_unstable();
    required_skills.dedup();
    let priority = i16::try_from(request.priority).ok().filter(|p| (-100..=100).contains(p));
    if priority.is_none() {
        violations.add("priority", "must be -100 to 100");
    }
    if request.at_least_profile_version < 0 {
        violations.add("at_least_profile_version", "must not be negative");
    }
    let event_us = read::past(&mut violations, "event_time", request.event_time);
    let request_id = match request.request_id.as_str() {
        "" => None,
        text => read::id(&mut violations, "request_id", text),
    };
    let (Some(customer), Some(priority), true) = (customer, priority, violations.is_empty()) else {
        return Err(violations.into());
    };
    Ok(Wanted {
        customer,
        kind,
        policy,
        required_skills,
        priority,
        event_us,
        at_least_profile_version: request.at_least_profile_version,
        request_id,
        body: body.encode_to_vec(),
    })
}

fn demand_id(text: &str) -> Result<DemandId, Error> {
    let mut violations = Violations::new();
    read::id(&mut violations, "demand_id", text).ok_or(Error::Invalid(violations))
}

/// The demand, if it is the tenant's.
async fn existing(app: &App, call: &Call, id: &str) -> Result<Demand, Error> {
    let id = demand_id(id)?;
    let found = demand::get(app.database.pool(), call.tenant(), id).await?;
    found.ok_or(Error::NotFound("the demand"))
}

pub(super) async fn get_demand(
    app: &App,
    call: &Call,
    request: GetDemandRequest,
) -> Result<GetDemandResponse, Error> {
    let demand = existing(app, call, &request.demand_id).await?;
    let pool = app.database.pool();
    let history = transition::history(pool, demand.tenant, demand.id, MAX_HISTORY).await?;
    Ok(GetDemandResponse {
        demand: Some(message::demand(&demand)),
        history: history.into_iter().map(message::transition).collect(),
    })
}

pub(super) async fn list_demands(
    app: &App,
    call: &Call,
    request: ListDemandsRequest,
) -> Result<ListDemandsResponse, Error> {
    let mut violations = Violations::new();
    let customer: Option<CustomerId> = match request.customer_id.as_str() {
        "" => None,
        text => read::id(&mut violations, "customer_id", text),
    };
    let mut states = Vec::new();
    for (position, state) in request.states.iter().enumerate() {
        match DemandState::try_from(*state) {
            Ok(DemandState::Unspecified) | Err(_) => {
                violations.add(format!("states[{position}]"), "must be a state of a demand");
            }
            // The numbers are the stored ones.
            Ok(state) => states.push(state as i16),
        }
    }
    let agent = match request.agent.as_str() {
        "" => None,
        name => Some(read::name(&mut violations, "agent", name)),
    };
    violations.into_result(())?;
    let filter = Filter { customer, states, agent };
    let bound = ListDemandsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let bound = bound.encode_to_vec();
    let wanted = (request.page_size, request.page_token.as_str());
    let page = Page::read(app, call.tenant(), LIST, &bound, wanted)?;
    let after = page.position().and_then(read_place);
    let pool = app.database.pool();
    let found = demand::list(pool, call.tenant(), &filter, after, page.size + 1).await?;
    let (demands, next_page_token) = page.cut(found, write_place)?;
    let demands = demands.iter().map(message::demand).collect();
    Ok(ListDemandsResponse { demands, next_page_token })
}

fn write_place(demand: &Demand) -> Vec<u8> {
    let mut place = demand.created_us.to_be_bytes().to_vec();
    place.extend_from_slice(demand.id.as_bytes());
    place
}

fn read_place(bytes: &[u8]) -> Option<(i64, Uuid)> {
    let (created_us, id) = bytes.split_at_checked(8)?;
    Some((i64::from_be_bytes(created_us.try_into().ok()?), Uuid::from_slice(id).ok()?))
}

/// Has a command to a demand carried out.
pub(super) async fn act(
    app: &App,
    call: &Call,
    verb: Verb,
) -> Result<Option<contracts::routing::v1::Demand>, Error> {
    let traceparent = server::layers::trace::traceparent();
    let act = Act { tenant: call.tenant(), verb, traceparent };
    let demand = app.submit(Request::Act(act)).await?;
    Ok(Some(message::demand(&demand)))
}

pub(super) async fn start_work(
    app: &App,
    call: &Call,
    request: StartWorkRequest,
) -> Result<StartWorkResponse, Error> {
    let mut violations = Violations::new();
    let demand = read::id(&mut violations, "demand_id", &request.demand_id);
    let agent = read::name(&mut violations, "agent", &request.agent);
    let (Some(demand), true) = (demand, violations.is_empty()) else {
        return Err(violations.into());
    };
    Ok(StartWorkResponse { demand: act(app, call, Verb::Start { demand, agent }).await? })
}

pub(super) async fn close_demand(
    app: &App,
    call: &Call,
    request: CloseDemandRequest,
) -> Result<CloseDemandResponse, Error> {
    let mut violations = Violations::new();
    let demand = read::id(&mut violations, "demand_id", &request.demand_id);
    let agent = read::name(&mut violations, "agent", &request.agent);
    let outcome = Outcome::from_number(request.result);
    // Not for callers to say.
    let outcome = outcome.filter(|outcome| *outcome != Outcome::Erased);
    if outcome.is_none() {
        violations.add("result", "must be what came of the demand");
    }
    if request.value.is_some() && outcome.is_some_and(|outcome| outcome != Outcome::Won) {
        violations.add("value", "only a won demand has a value");
    }
    let value = request.value.and_then(|amount| money(&mut violations, amount));
    let reason = read::text(&mut violations, "reason", &request.reason, MAX_REASON);
    let event_us = read::past(&mut violations, "event_time", request.event_time);
    let (Some(demand), Some(outcome), true) = (demand, outcome, violations.is_empty()) else {
        return Err(violations.into());
    };
    let closing = Closing { outcome, value, reason };
    let verb = Verb::Close { demand, agent, closing, event_us };
    Ok(CloseDemandResponse { demand: act(app, call, verb).await? })
}

fn money(violations: &mut Violations, amount: Amount) -> Option<Money> {
    let currency = amount.currency_code;
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        violations.add("value.currency_code", "must be three capital letters (ISO 4217)");
    }
    let negative = amount.units < 0 || amount.nanos < 0;
    if negative || amount.nanos > 999_999_999 {
        violations.add("value", "must be an amount that is not negative, nanos below one unit");
    }
    Some(Money { currency, units: amount.units, nanos: amount.nanos })
}

pub(super) async fn explain_decision(
    app: &App,
    call: &Call,
    request: ExplainDecisionRequest,
) -> Result<ExplainDecisionResponse, Error> {
    let demand = existing(app, call, &request.demand_id).await?;
    let pool = app.database.pool();
    let decisions = decision::of_demand(pool, demand.tenant, demand.id, MAX_HISTORY).await?;
    let decisions = decisions.into_iter().map(message::decision).collect();
    Ok(ExplainDecisionResponse { decisions })
}
