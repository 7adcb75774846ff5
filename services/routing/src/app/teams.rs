//! Teams: saved, read, deleted when nobody belongs to them.

use ::store::resource::{self, Change, Saved, Stored};
use kernel::TenantId;

use super::App;
use crate::Error;
use crate::domain::{Agent, Team};
use crate::store::{policy as ties, stir};

impl App {
    pub(crate) async fn save_team(
        &self,
        tenant: TenantId,
        name: &str,
        team: &Team,
        change: Change<'_>,
    ) -> Result<Saved, Error> {
        let saved = ::store::transaction!(&self.database, async |connection| {
            let saved = resource::upsert(connection, tenant, name, team, change).await?;
            if saved.changed && !change.validate_only {
                stir::stir(connection, &[tenant]).await?;
            }
            Ok::<_, Error>(saved)
        })?;
        self.changed(tenant);
        Ok(saved)
    }

    pub(crate) async fn team(&self, tenant: TenantId, name: &str) -> Result<Stored<Team>, Error> {
        self.resources.get(tenant, name).await.map_err(|error| absent(error, "the team"))
    }

    pub(crate) async fn delete_team(
        &self,
        tenant: TenantId,
        name: &str,
        change: Change<'_>,
    ) -> Result<(), Error> {
        ::store::transaction!(&self.database, async |connection| {
            match resource::delete::<Team>(connection, tenant, name, change).await {
                Err(::store::Error::NotFound) => return Ok(()),
                other => other?,
            };
            // Behind the lock of the team's row: an agent that is being saved holds it too.
            if ties::has_agents::<Agent>(&mut *connection, tenant, name).await? {
                return Err(Error::InUse(format!("team {name} still has agents")));
            }
            Ok(())
        })?;
        self.changed(tenant);
        Ok(())
    }

    /// After a change of the configuration.
    pub(super) fn changed(&self, tenant: TenantId) {
        self.configuration.refresh(tenant);
        self.bell.ring();
    }
}

/// Says what does not exist.
pub(super) fn absent(error: ::store::Error, what: &'static str) -> Error {
    match error {
        ::store::Error::NotFound => Error::NotFound(what),
        other => Error::Store(other),
    }
}
