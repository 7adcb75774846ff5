//! Everything as it is, for consumers that begin anew: profiles, redirects, traits.

use std::collections::BTreeMap;

use feed::{Entry, Shards, SnapshotKey, SnapshotSource};
use kernel::Shard;
use uuid::Uuid;

use super::{Shared, declare};
use crate::events;
use crate::store::{snapshot, traits};

/// Reads the subjects of this service.
pub(crate) struct Snapshot(pub(crate) Shared);

impl SnapshotSource for Snapshot {
    async fn snapshot(
        &self,
        shards: Shards,
        after: Option<SnapshotKey>,
        limit: usize,
    ) -> Result<Vec<Entry>, feed::Error> {
        let numbers: Vec<i16> = shards.numbers().collect();
        let from = after.map_or((Uuid::nil(), Uuid::nil()), |(tenant, id)| (tenant.uuid(), id));
        let database = &self.0.database;
        let rows = limit as i64;
        // Each list is complete up to its last key; what comes later belongs to later pages.
        let mut subjects: BTreeMap<(Uuid, Uuid), Vec<Entry>> = BTreeMap::new();
        let mut complete_to = None;
        let customers = snapshot::customers(database, &numbers, from, rows).await?;
        if customers.len() == limit {
            complete_to = customers.last().map(|row| (row.tenant.uuid(), row.customer.uuid()));
        }
        for row in customers {
            let entry =
                events::profile_changed(row.tenant, row.customer, row.version, &row.behaviour);
            subjects.entry((row.tenant.uuid(), row.customer.uuid())).or_default().push(entry);
        }
        let redirects = snapshot::redirects(database, &numbers, from, rows).await?;
        if redirects.len() == limit {
            let last = redirects.last().map(|row| (row.tenant.uuid(), row.customer.uuid()));
            complete_to = [complete_to, last].into_iter().flatten().min();
        }
        for row in &redirects {
            let entry = events::profile_redirected(row);
            subjects.entry((row.tenant.uuid(), row.customer.uuid())).or_default().push(entry);
        }
        for row in traits::all(database).await? {
            let lookup = self.0.lookup.tenant(row.tenant)?;
            let subject = declare::subject(&lookup, &row.name);
            let key = (row.tenant.uuid(), subject);
            if key > from && shards.contains(Shard::of(subject)) {
                let declaration = row.declaration.as_ref();
                let entry =
                    events::trait_changed(row.tenant, subject, &row.name, row.version, declaration);
                subjects.entry(key).or_default().push(entry);
            }
        }
        let is_complete = |key: &(Uuid, Uuid)| complete_to.is_none_or(|last| *key <= last);
        let page = subjects.into_iter().take_while(|(key, _)| is_complete(key)).take(limit);
        Ok(page.flat_map(|(_, entries)| entries).collect())
    }
}
