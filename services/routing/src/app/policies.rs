//! Routing policies: saved, read, deleted when no open demand follows them.

use ::store::resource::{self, Change, Saved, Stored};
use kernel::TenantId;

use super::App;
use super::teams::absent;
use crate::Error;
use crate::domain::Policy;
use crate::store::{policy as ties, stir};

impl App {
    /// Saves a policy; queued demands follow it at once.
    pub(crate) async fn save_policy(
        &self,
        tenant: TenantId,
        name: &str,
        policy: &Policy,
        change: Change<'_>,
    ) -> Result<Saved, Error> {
        let saved = ::store::transaction!(&self.database, async |connection| {
            let saved = resource::upsert(connection, tenant, name, policy, change).await?;
            if saved.changed && !change.validate_only {
                stir::stir(connection, &[tenant]).await?;
            }
            Ok::<_, Error>(saved)
        })?;
        self.changed(tenant);
        Ok(saved)
    }

    pub(crate) async fn policy(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<Stored<Policy>, Error> {
        self.resources.get(tenant, name).await.map_err(|error| absent(error, "the policy"))
    }

    pub(crate) async fn delete_policy(
        &self,
        tenant: TenantId,
        name: &str,
        change: Change<'_>,
    ) -> Result<(), Error> {
        ::store::transaction!(&self.database, async |connection| {
            match resource::delete::<Policy>(connection, tenant, name, change).await {
                Err(::store::Error::NotFound) => return Ok(()),
                other => other?,
            };
            // Behind the lock of the policy's row: a demand that is being created holds it too.
            if ties::is_followed(&mut *connection, tenant, name).await? {
                return Err(Error::InUse(format!("open demands follow policy {name}")));
            }
            Ok(())
        })?;
        self.changed(tenant);
        Ok(())
    }
}
