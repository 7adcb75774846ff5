//! Reading all profiles, page by page in the order of their ids, past the caches: nobody asks
//! for most of them again.

use kernel::{CustomerId, TenantId};
use uuid::Uuid;

use super::Shared;
use super::cache::Profile;
use crate::error::Error;
use crate::store::profile;

impl Shared {
    /// At most `limit` profiles after an id, and whether there are more. One whose state is
    /// damaged is passed over: a reader would never get past it.
    ///
    /// # Errors
    /// Those of the database and of the tenant's key.
    pub(crate) async fn profiles_after(
        &self,
        tenant: TenantId,
        after: Option<CustomerId>,
        limit: usize,
        with_personal: bool,
    ) -> Result<Page, Error> {
        let from = after.map_or(Uuid::nil(), CustomerId::uuid);
        let stored = profile::after(&self.database, tenant, from, limit + 1, with_personal).await?;
        let has_more = stored.len() > limit;
        let mut profiles = Vec::with_capacity(limit);
        let mut last = None;
        for (customer, stored) in stored.iter().take(limit) {
            last = Some(*customer);
            match self.opened(tenant, *customer, stored.version, stored).await {
                Ok(profile) => profiles.push(profile),
                Err(error @ Error::State(_)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(%tenant, %customer, error, "left out of a list");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Page { profiles, last: last.filter(|_| has_more) })
    }
}

/// Some profiles.
pub(crate) struct Page {
    pub(crate) profiles: Vec<Profile>,
    /// The last one that was looked at, if there are more after it.
    pub(crate) last: Option<CustomerId>,
}
