//! Reading events back: timelines and what was refused.

use std::collections::HashMap;
use std::sync::Arc;

use ::store::DataKey;
use contracts::profile::v1 as wire;
use kernel::{CustomerId, EvidenceId, TenantId};
use prost::Message;
use uuid::Uuid;

use super::{Shared, seal};
use crate::error::Error;
use crate::store::event::{self, Place};
use crate::store::rejected;

/// What the events of a page have together, well below the 4 MiB that clients accept.
const PAGE_BYTES: i64 = 2 << 20;

/// An event, opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) place: Place,
    pub(crate) received_us: i64,
    pub(crate) event: wire::Event,
}

/// A refused event, opened.
#[derive(Debug)]
pub(crate) struct OpenedRejection {
    pub(crate) id: Uuid,
    pub(crate) received_us: i64,
    pub(crate) rejection: wire::RejectedEvent,
}

impl Shared {
    /// At most `limit` events of a customer, newest first, fewer if they are large, and whether
    /// there are more.
    ///
    /// # Errors
    /// [`Error::NotFound`] as [`Shared::profile`].
    pub(crate) async fn timeline(
        &self,
        tenant: TenantId,
        customer: CustomerId,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<(Vec<Opened>, bool), Error> {
        let profile = self.profile(tenant, customer).await?;
        let of = (tenant, profile.customer);
        let (stored, has_more) =
            event::timeline(&self.database, of, after, limit, PAGE_BYTES).await?;
        let tenant_key = self.tenant_keys.get(tenant).await?;
        let mut keys: HashMap<EvidenceId, Arc<DataKey>> = HashMap::new();
        let mut opened = Vec::with_capacity(stored.len());
        for row in stored {
            let evidence = row.place.evidence;
            let key = match keys.get(&evidence) {
                Some(key) => Arc::clone(key),
                None => {
                    let key = seal::open_key(tenant, &tenant_key, evidence, &row.wrapped_key)?;
                    let key = Arc::new(key);
                    keys.insert(evidence, Arc::clone(&key));
                    key
                }
            };
            let id = &row.place.message_id;
            let plain = seal::open_event(&key, (tenant, evidence), id, &row.payload)?;
            let event = wire::Event::decode(&*plain).map_err(damaged)?;
            opened.push(Opened { place: row.place, received_us: row.received_us, event });
        }
        Ok((opened, has_more))
    }

    /// At most `limit` refused events before (time, id), newest first, fewer if they are large,
    /// and whether there are more.
    ///
    /// # Errors
    /// Those of the database and of keys.
    pub(crate) async fn rejections(
        &self,
        tenant: TenantId,
        before: Option<(i64, Uuid)>,
        limit: usize,
    ) -> Result<(Vec<OpenedRejection>, bool), Error> {
        let before = before.unwrap_or((i64::MAX, Uuid::max()));
        let (stored, has_more) =
            rejected::list(&self.database, tenant, before, limit, PAGE_BYTES).await?;
        let tenant_key = self.tenant_keys.get(tenant).await?;
        let mut opened = Vec::with_capacity(stored.len());
        for row in stored {
            let sealed = (&*row.wrapped_key, &*row.sealed);
            let plain = seal::open_rejected(tenant, &tenant_key, row.id, sealed)?;
            let rejection = wire::RejectedEvent::decode(&*plain).map_err(damaged)?;
            opened.push(OpenedRejection { id: row.id, received_us: row.received_us, rejection });
        }
        Ok((opened, has_more))
    }
}

fn damaged(error: prost::DecodeError) -> Error {
    Error::Store(::store::Error::internal(error))
}
