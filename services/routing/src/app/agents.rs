//! Agents: what is configured (a resource) and what moves (presence and load), kept together.

use std::collections::BTreeMap;

use ::store::resource::{self, Change, Saved, Stored};
use kernel::{TenantId, Violations};

use super::App;
use super::teams::absent;
use crate::Error;
use crate::domain::plan::Seat;
use crate::domain::{Agent, Presence, Team};
use crate::store::{agent, policy as ties, stir};

/// A new agent.
const NEW: Seat = Seat { presence: Presence::Offline, load: 0, capacity: 1, last_offer_us: None };

impl App {
    /// Saves an agent of a team that exists, or is assumed to: a check may come before the team.
    pub(crate) async fn save_agent(
        &self,
        tenant: TenantId,
        name: &str,
        body: &Agent,
        (change, assumed_teams): (Change<'_>, &[String]),
    ) -> Result<(Saved, Seat), Error> {
        let is_assumed = assumed_teams.contains(&body.team);
        let saved = ::store::transaction!(&self.database, async |connection| {
            let team = [(tenant, body.team.as_str())];
            if !is_assumed && ties::hold::<Team>(connection, &team).await?.is_empty() {
                return Err(Error::Invalid(Violations::of("agent.team", "does not exist")));
            }
            let saved = resource::upsert(connection, tenant, name, body, change).await?;
            if change.validate_only {
                let known = agent::some(&mut *connection, tenant, &[name.to_owned()]).await?;
                return Ok((saved, known.get(name).copied().unwrap_or(NEW)));
            }
            let seat = agent::save(connection, tenant, name, body.capacity).await?;
            if saved.changed {
                stir::stir(connection, &[tenant]).await?;
            }
            Ok((saved, seat))
        })?;
        self.changed(tenant);
        Ok(saved)
    }

    pub(crate) async fn agent(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<(Stored<Agent>, Seat), Error> {
        let stored: Stored<Agent> =
            self.resources.get(tenant, name).await.map_err(|error| absent(error, "the agent"))?;
        let seats = self.seats(tenant, &[name.to_owned()]).await?;
        Ok((stored, seats.get(name).copied().unwrap_or(NEW)))
    }

    /// Presence and load of some agents.
    pub(crate) async fn seats(
        &self,
        tenant: TenantId,
        names: &[String],
    ) -> Result<BTreeMap<String, Seat>, Error> {
        Ok(agent::some(self.database.pool(), tenant, names).await?)
    }

    /// Up to `limit` agents by name, those of a team or all.
    pub(crate) async fn agents(
        &self,
        tenant: TenantId,
        team: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(Stored<Agent>, Seat)>, Error> {
        let mut found: Vec<Stored<Agent>> = Vec::new();
        let mut after = after.to_owned();
        while found.len() < limit {
            let page: Vec<Stored<Agent>> = self.resources.list(tenant, &after, 1_000).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.name);
            let more = page.len() == 1_000;
            found.extend(page.into_iter().filter(|a| team.is_empty() || a.body.team == team));
            if !more {
                break;
            }
        }
        found.truncate(limit);
        let names: Vec<String> = found.iter().map(|agent| agent.name.clone()).collect();
        let seats = self.seats(tenant, &names).await?;
        let seated = |agent: Stored<Agent>| {
            let seat = seats.get(&agent.name).copied().unwrap_or(NEW);
            (agent, seat)
        };
        Ok(found.into_iter().map(seated).collect())
    }

    pub(crate) async fn delete_agent(
        &self,
        tenant: TenantId,
        name: &str,
        change: Change<'_>,
    ) -> Result<(), Error> {
        ::store::transaction!(&self.database, async |connection| {
            match resource::delete::<Agent>(connection, tenant, name, change).await {
                Err(::store::Error::NotFound) => return Ok(()),
                other => other?,
            };
            if !agent::delete(connection, tenant, name).await? {
                return Err(Error::InUse(format!("agent {name} still has offers or demands")));
            }
            Ok(())
        })?;
        self.changed(tenant);
        Ok(())
    }

    /// Says whether an agent takes offers.
    pub(crate) async fn set_presence(
        &self,
        tenant: TenantId,
        name: &str,
        presence: Presence,
    ) -> Result<(Stored<Agent>, Seat), Error> {
        let seat = ::store::transaction!(&self.database, async |connection| {
            let seat = agent::set_presence(connection, tenant, name, presence).await?;
            if seat.is_some_and(|seat| seat.is_free()) {
                stir::stir(connection, &[tenant]).await?;
            }
            Ok::<_, Error>(seat)
        })?;
        let seat = seat.ok_or(Error::NotFound("the agent"))?;
        self.bell.ring();
        let stored = self.resources.get(tenant, name).await;
        Ok((stored.map_err(|error| absent(error, "the agent"))?, seat))
    }
}
