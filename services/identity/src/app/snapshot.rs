//! The whole map for a follower of the feed that begins from nothing, or again.

use ::store::Database;
use feed::{Entry, Error, Shards, SnapshotKey, SnapshotSource};
use kernel::Shard;

use crate::events;
use crate::store::{erasure, snapshot};

/// All evidence as if it had just moved to where it is, all ids whose founder ever moved, and all
/// erasures, in the order of (tenant, shard, subject).
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    database: Database,
}

impl Snapshot {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }
}

impl SnapshotSource for Snapshot {
    async fn snapshot(
        &self,
        shards: Shards,
        after: Option<SnapshotKey>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let numbers: Vec<i16> = shards.numbers().collect();
        let rows = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut connection = self.database.acquire().await?;
        let evidence = snapshot::evidence(&mut connection, &numbers, after, rows).await?;
        let redirects = snapshot::redirects(&mut connection, &numbers, after, rows).await?;
        let erased = erasure::snapshot(&mut connection, &numbers, after, rows).await?;
        let moved = evidence.into_iter().map(|(tenant, mapping)| {
            let same = (mapping.customer, mapping.customer);
            events::evidence_moved(tenant, mapping.evidence, same, mapping.map_version)
        });
        let redirected = redirects.into_iter().map(|(tenant, redirect)| {
            events::customer_redirected(tenant, redirect.from, redirect.into, redirect.version)
        });
        let erased = erased.iter().map(events::customer_erased);
        let mut entries: Vec<Entry> = moved.chain(redirected).chain(erased).collect();
        entries
            .sort_unstable_by_key(|entry| (entry.tenant, Shard::of(entry.subject), entry.subject));
        entries.truncate(limit);
        Ok(entries)
    }
}
