//! Everything as it is, for consumers that begin anew: profiles, redirects, erasures, traits.

use std::collections::BTreeMap;

use feed::{Entry, Shards, SnapshotKey, SnapshotSource};
use kernel::Shard;
use uuid::Uuid;

use super::{Shared, declare};
use crate::domain::schema;
use crate::error::Error;
use crate::events;
use crate::store::{snapshot, traits};

/// Reads the subjects of this service.
pub(crate) struct Snapshot(pub(crate) Shared);

/// Tenant and subject.
type Key = (Uuid, Uuid);

/// How many tenants' traits one look reads: a tenant has some hundred at most.
const TENANTS: usize = 50;

/// What was found after a key. Each list is complete up to its last key; what comes later
/// belongs to later looks.
#[derive(Default)]
struct Found {
    subjects: BTreeMap<Key, Vec<Entry>>,
    /// Nothing if there is no more.
    complete_to: Option<Key>,
}

impl Found {
    fn add(&mut self, key: Key, entry: Entry) {
        self.subjects.entry(key).or_default().push(entry);
    }

    fn ends(&mut self, at: Option<Key>) {
        self.complete_to = [self.complete_to, at].into_iter().flatten().min();
    }
}

impl SnapshotSource for Snapshot {
    async fn snapshot(
        &self,
        shards: Shards,
        after: Option<SnapshotKey>,
        limit: usize,
    ) -> Result<Vec<Entry>, feed::Error> {
        let mut from = after.map_or((Uuid::nil(), Uuid::nil()), |(tenant, id)| (tenant.uuid(), id));
        loop {
            let found = self.look(shards, from, limit).await.map_err(::store::Error::from)?;
            let is_complete = |key: &Key| found.complete_to.is_none_or(|last| *key <= last);
            let page = found.subjects.into_iter().take_while(|(key, _)| is_complete(key));
            let page: Vec<Entry> = page.take(limit).flat_map(|(_, entries)| entries).collect();
            match found.complete_to {
                // Traits of other shards only: an empty page would be the end.
                Some(last) if page.is_empty() => from = last,
                _ => return Ok(page),
            }
        }
    }
}

impl Snapshot {
    async fn look(&self, shards: Shards, from: Key, limit: usize) -> Result<Found, Error> {
        let numbers: Vec<i16> = shards.numbers().collect();
        let (database, rows) = (&self.0.database, limit as i64);
        let mut found = Found::default();
        let customers = snapshot::customers(database, &numbers, from, rows).await?;
        let full = customers.last().filter(|_| customers.len() == limit);
        found.ends(full.map(|row| (row.tenant.uuid(), row.customer.uuid())));
        for row in customers {
            let entry =
                events::profile_changed(row.tenant, row.customer, row.version, &row.behaviour);
            found.add((row.tenant.uuid(), row.customer.uuid()), entry);
        }
        let redirects = snapshot::redirects(database, &numbers, from, rows).await?;
        let full = redirects.last().filter(|_| redirects.len() == limit);
        found.ends(full.map(|row| (row.tenant.uuid(), row.customer.uuid())));
        for row in &redirects {
            found.add((row.tenant.uuid(), row.customer.uuid()), events::profile_redirected(row));
        }
        let erased = feed::receipt::known(database.pool(), shards, from, limit).await?;
        let full = erased.last().filter(|_| erased.len() == limit);
        found.ends(full.map(|part| (part.tenant.uuid(), part.id)));
        for part in &erased {
            found.add((part.tenant.uuid(), part.id), events::customers_erased_before(part));
        }
        self.look_at_traits(shards, from, &mut found).await?;
        Ok(found)
    }

    /// The traits as the log tells of them: when a tenant's own declaration of a built-in one
    /// is deleted, that one is in force again.
    async fn look_at_traits(
        &self,
        shards: Shards,
        from: Key,
        found: &mut Found,
    ) -> Result<(), Error> {
        let last = found.complete_to.map_or(Uuid::max(), |(tenant, _)| tenant);
        let read = traits::of_tenants(&self.0.database, (from.0, last), TENANTS).await?;
        found.ends(read.up_to.map(|tenant| (tenant, Uuid::max())));
        for row in read.versions {
            let lookup = self.0.lookup.tenant(row.tenant)?;
            let subject = declare::subject(&lookup, &row.name);
            let key = (row.tenant.uuid(), subject);
            if key > from && shards.contains(Shard::of(subject)) {
                let declaration = row.declaration.or_else(|| schema::built_in_of(&row.name));
                let (tenant, version) = (row.tenant, row.version);
                let entry = events::trait_changed(
                    tenant,
                    subject,
                    &row.name,
                    version,
                    declaration.as_ref(),
                );
                found.add(key, entry);
            }
        }
        Ok(())
    }
}
