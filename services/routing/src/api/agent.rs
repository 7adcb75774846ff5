//! Agents and their presence.

use contracts::routing::v1::{Agent as Message, Presence as Wanted, *};
use kernel::Violations;
use server::Call;

use super::page::Page;
use super::read;
use super::team::{change, meta_of, meta_of_saved};
use crate::Error;
use crate::app::App;
use crate::domain::{Agent, Presence};
use crate::message;

const LIST: &str = "rapport.routing.v1.RoutingService/ListAgents";

pub(super) async fn upsert_agent(
    app: &App,
    call: &Call,
    request: UpsertAgentRequest,
) -> Result<UpsertAgentResponse, Error> {
    let Some(agent) = request.agent else {
        return Err(Violations::of("agent", "must be set").into());
    };
    let mut violations = Violations::new();
    let name = read::name(&mut violations, "agent.name", &agent.name);
    let body = body(&mut violations, agent);
    violations.add_below("agent", body.violations());
    if !request.assumed_teams.is_empty() && !request.validate_only {
        violations.add("assumed_teams", "must be empty unless validate_only is set");
    }
    violations.into_result(())?;
    let wanted = (request.etag.as_str(), request.validate_only);
    let change = change(call, wanted, &request.change_id)?;
    let assumed = &request.assumed_teams;
    let (saved, seat) = app.save_agent(call.tenant(), &name, &body, (change, assumed)).await?;
    let agent = message::agent(&name, &body, &seat, &meta_of_saved(&saved));
    Ok(UpsertAgentResponse { agent: Some(agent) })
}

fn body(violations: &mut Violations, agent: Message) -> Agent {
    // Out of range stays out of range.
    let level = |level: i32| u8::try_from(level).unwrap_or(u8::MAX);
    Agent {
        team: agent.team,
        skills: agent.skills.into_iter().map(|(skill, value)| (skill, level(value))).collect(),
        capacity: agent.capacity,
        hours: read::working_hours(violations, "agent.working_hours", agent.working_hours),
    }
}

pub(super) async fn get_agent(
    app: &App,
    call: &Call,
    request: GetAgentRequest,
) -> Result<GetAgentResponse, Error> {
    let mut violations = Violations::new();
    let name = read::name(&mut violations, "name", &request.name);
    violations.into_result(())?;
    let (stored, seat) = app.agent(call.tenant(), &name).await?;
    let agent = message::agent(&stored.name, &stored.body, &seat, &meta_of(&stored));
    Ok(GetAgentResponse { agent: Some(agent) })
}

pub(super) async fn list_agents(
    app: &App,
    call: &Call,
    request: ListAgentsRequest,
) -> Result<ListAgentsResponse, Error> {
    let mut violations = Violations::new();
    if !request.team.is_empty() {
        read::name(&mut violations, "team", &request.team);
    }
    violations.into_result(())?;
    let wanted = (request.page_size, request.page_token.as_str());
    let page = Page::read(app, call.tenant(), LIST, request.team.as_bytes(), wanted)?;
    let found = app.agents(call.tenant(), &request.team, &page.after(), page.size + 1).await?;
    let (agents, next_page_token) =
        page.cut(found, |(agent, _)| agent.name.clone().into_bytes())?;
    let agents = agents
        .iter()
        .map(|(stored, seat)| message::agent(&stored.name, &stored.body, seat, &meta_of(stored)))
        .collect();
    Ok(ListAgentsResponse { agents, next_page_token })
}

pub(super) async fn delete_agent(
    app: &App,
    call: &Call,
    request: DeleteAgentRequest,
) -> Result<DeleteAgentResponse, Error> {
    let mut violations = Violations::new();
    let name = read::name(&mut violations, "name", &request.name);
    violations.into_result(())?;
    let change = change(call, (&request.etag, false), &request.change_id)?;
    app.delete_agent(call.tenant(), &name, change).await?;
    Ok(DeleteAgentResponse {})
}

pub(super) async fn set_presence(
    app: &App,
    call: &Call,
    request: SetPresenceRequest,
) -> Result<SetPresenceResponse, Error> {
    let mut violations = Violations::new();
    let name = read::name(&mut violations, "agent", &request.agent);
    let presence = match Wanted::try_from(request.presence) {
        Ok(Wanted::Online) => Some(Presence::Online),
        Ok(Wanted::Away) => Some(Presence::Away),
        Ok(Wanted::Offline) => Some(Presence::Offline),
        Ok(Wanted::Unspecified) | Err(_) => None,
    };
    let Some(presence) = presence else {
        violations.add("presence", "must be online, away or offline");
        return Err(violations.into());
    };
    violations.into_result(())?;
    let (stored, seat) = app.set_presence(call.tenant(), &name, presence).await?;
    let agent = message::agent(&stored.name, &stored.body, &seat, &meta_of(&stored));
    Ok(SetPresenceResponse { agent: Some(agent) })
}
