//! Reading profiles: from the process, from Redis, from Postgres.

use std::sync::Arc;
use std::time::Duration;

use aggregate::{Behaviour, Personal};
use kernel::{CustomerId, TenantId};
use server::Call;

use super::cache::Profile;
use super::{Shared, seal};
use crate::error::Error;
use crate::store::profile::{self, Stored};
use crate::store::redirect;

/// Longer chains of redirects are a fault: identity names the end at once.
const HOPS: usize = 8;
/// How long a wait for a version goes without looking.
const LOOK: Duration = Duration::from_millis(50);
/// How long a caller without deadline waits for a version.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether caches may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Anywhere,
    Postgres,
}

impl Shared {
    /// The profile that a customer id leads to.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the tenant has no such customer, or it never had an event.
    pub(crate) async fn profile(
        &self,
        tenant: TenantId,
        customer: CustomerId,
    ) -> Result<Arc<Profile>, Error> {
        match self.profiles.get(tenant, customer).await {
            Some(profile) => Ok(profile),
            None => self.load(tenant, customer, From::Anywhere).await,
        }
    }

    /// The same, once it has at least `version`; waits for that until the call's deadline.
    ///
    /// # Errors
    /// [`Error::NotYet`] at the deadline; as [`Shared::profile`].
    pub(crate) async fn profile_at_least(
        &self,
        call: &Call,
        customer: CustomerId,
        version: i64,
    ) -> Result<Arc<Profile>, Error> {
        let tenant = call.tenant();
        let mut changes = self.profiles.changes();
        let profile = self.profile(tenant, customer).await?;
        if profile.has_reached(version) {
            return Ok(profile);
        }
        let limit = tokio::time::Instant::now() + call.remaining().unwrap_or(PATIENCE);
        loop {
            changes.mark_unchanged();
            let before = self.profiles.stamp(customer);
            let profile = self.load(tenant, customer, From::Postgres).await?;
            if profile.has_reached(version) {
                return Ok(profile);
            }
            let left = limit.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                return Err(Error::NotYet);
            }
            let changed = async {
                // Changes of others are none of ours; an error says that the process ends.
                while self.profiles.stamp(customer) == before && changes.changed().await.is_ok() {}
            };
            // An error is the time-out: then look.
            let _ = tokio::time::timeout(left.min(LOOK), changed).await;
        }
    }

    async fn load(
        &self,
        tenant: TenantId,
        asked: CustomerId,
        from: From,
    ) -> Result<Arc<Profile>, Error> {
        let asked_stamp = self.profiles.stamp(asked);
        let mut stamp = asked_stamp;
        let mut customer = asked;
        let mut asked_version = None;
        for _ in 0..HOPS {
            let stored = self.stored(tenant, customer, from).await?;
            let version = stored.as_ref().map_or(0, |stored| stored.version);
            let asked_version = *asked_version.get_or_insert(version);
            if let Some(stored) = stored.filter(|stored| !stored.fragments.is_empty()) {
                let profile =
                    Arc::new(self.opened(tenant, customer, asked_version, &stored).await?);
                self.profiles.put(tenant, (asked, asked_stamp), stamp, &profile).await;
                return Ok(profile);
            }
            let into = redirect::get(&self.database, tenant, customer).await?;
            customer = into.ok_or(Error::NotFound("the customer"))?;
            stamp = self.profiles.stamp(customer);
        }
        Err(Error::NotFound("the customer"))
    }

    async fn stored(
        &self,
        tenant: TenantId,
        customer: CustomerId,
        from: From,
    ) -> Result<Option<Stored>, Error> {
        let stamp = self.profiles.stamp(customer);
        if from == From::Anywhere
            && let Some(stored) = self.profiles.get_stored(tenant, customer).await
        {
            return Ok(Some(stored));
        }
        let stored = profile::get(&self.database, tenant, customer).await?;
        if let Some(stored) = stored.as_ref().filter(|stored| !stored.fragments.is_empty()) {
            self.profiles.put_stored(tenant, (customer, stamp), stored).await;
        }
        Ok(stored)
    }

    pub(super) async fn opened(
        &self,
        tenant: TenantId,
        customer: CustomerId,
        asked_version: i64,
        stored: &Stored,
    ) -> Result<Profile, Error> {
        let mut personal = Personal::default();
        if stored.fragments.iter().any(|part| part.personal.is_some()) {
            let tenant_key = self.tenant_keys.get(tenant).await?;
            for part in &stored.fragments {
                let Some((sealed, wrapped)) = &part.personal else { continue };
                let key = seal::open_key(tenant, &tenant_key, part.evidence, wrapped)?;
                let plain = seal::open_personal(&key, (tenant, part.evidence), sealed)?;
                personal.merge(&Personal::decode(&plain)?);
            }
        }
        Ok(Profile {
            customer,
            version: stored.version,
            behaviour: Behaviour::decode(&stored.behaviour)?,
            personal,
            evidence: stored.fragments.iter().map(|part| part.evidence).collect(),
            asked_version,
        })
    }
}

impl Profile {
    /// Versions of ingest answers count for the customer that was named there. If its id
    /// leads elsewhere since, its own version says whether the event had arrived.
    fn has_reached(&self, version: i64) -> bool {
        self.asked_version >= version
    }
}
