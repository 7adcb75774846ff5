//! Teams.

use ::store::resource::{Change, Origin, Saved, Stored};
use contracts::routing::v1::{Team as Message, *};
use jiff::Timestamp;
use kernel::Violations;
use server::Call;

use super::page::Page;
use super::read;
use crate::Error;
use crate::app::App;
use crate::domain::Team;
use crate::message::{self, Meta};

const LIST: &str = "rapport.routing.v1.RoutingService/ListTeams";

/// What is known of a resource that was just saved.
pub(super) fn meta_of_saved(saved: &Saved) -> Meta {
    let updated_us = saved.update_time.as_microsecond();
    Meta { version: saved.version, etag: saved.etag.clone(), updated_us }
}

/// What is known of a resource that was read.
pub(super) fn meta_of<R>(stored: &Stored<R>) -> Meta {
    let updated_us = stored.update_time.as_microsecond();
    Meta { version: stored.version, etag: stored.etag.clone(), updated_us }
}

/// How a caller wants a resource changed.
pub(super) fn change<'a>(
    call: &'a Call,
    (etag, validate_only): (&'a str, bool),
    change_id: &'a str,
) -> Result<Change<'a>, Violations> {
    let origin = Origin::new(&call.principal().subject, change_id)?;
    let etag = (!etag.is_empty()).then_some(etag);
    Ok(Change { etag, validate_only, now: Timestamp::now(), origin })
}

pub(super) async fn upsert_team(
    app: &App,
    call: &Call,
    request: UpsertTeamRequest,
) -> Result<UpsertTeamResponse, Error> {
    let Some(team) = request.team else { return Err(Violations::of("team", "must be set").into()) };
    let mut violations = Violations::new();
    let name = read::name(&mut violations, "team.name", &team.name);
    let hours = read::working_hours(&mut violations, "team.working_hours", team.working_hours);
    let body = Team { display_name: team.display_name, hours };
    violations.add_below("team", body.violations());
    violations.into_result(())?;
    let wanted = (request.etag.as_str(), request.validate_only);
    let change = change(call, wanted, &request.change_id)?;
    let saved = app.save_team(call.tenant(), &name, &body, change).await?;
    let team = message::team(&name, &body, &meta_of_saved(&saved));
    Ok(UpsertTeamResponse { team: Some(team) })
}

fn show(stored: &Stored<Team>) -> Message {
    message::team(&stored.name, &stored.body, &meta_of(stored))
}

pub(super) async fn get_team(
    app: &App,
    call: &Call,
    request: GetTeamRequest,
) -> Result<GetTeamResponse, Error> {
    let mut violations = Violations::new();
    let name = read::name(&mut violations, "name", &request.name);
    violations.into_result(())?;
    let stored = app.team(call.tenant(), &name).await?;
    Ok(GetTeamResponse { team: Some(show(&stored)) })
}

pub(super) async fn list_teams(
    app: &App,
    call: &Call,
    request: ListTeamsRequest,
) -> Result<ListTeamsResponse, Error> {
    let wanted = (request.page_size, request.page_token.as_str());
    let page = Page::read(app, call.tenant(), LIST, &[], wanted)?;
    let found = app.resources.list::<Team>(call.tenant(), &page.after(), page.size + 1).await?;
    let (teams, next_page_token) = page.cut(found, |team| team.name.clone().into_bytes())?;
    Ok(ListTeamsResponse { teams: teams.iter().map(show).collect(), next_page_token })
}

pub(super) async fn delete_team(
    app: &App,
    call: &Call,
    request: DeleteTeamRequest,
) -> Result<DeleteTeamResponse, Error> {
    let mut violations = Violations::new();
    let name = read::name(&mut violations, "name", &request.name);
    violations.into_result(())?;
    let change = change(call, (&request.etag, false), &request.change_id)?;
    app.delete_team(call.tenant(), &name, change).await?;
    Ok(DeleteTeamResponse {})
}
