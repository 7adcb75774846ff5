//! Following identity: evidence moves between customers, customer ids redirect.
//!
//! Same order of locks as ingest: map rows, fragments, customers, feed. A move that is older
//! than the map row's version is ignored; the customers on both sides are merged anew from the
//! fragments they have then.

use std::collections::BTreeMap;

use kernel::{CustomerId, EvidenceId, Shard, TenantId};
use sqlx::PgConnection;

use crate::domain::fold::{CustomerKey, NewCustomer};
use crate::domain::merge;
use crate::error::Error;
use crate::events;
use crate::store::customer;
use crate::store::fragment::{self, Move, NewMapping, Wanted};
use crate::store::redirect::{self, Redirect};

/// What a run of identity's log says, the latest of each subject.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    moves: BTreeMap<(TenantId, Shard, EvidenceId), Move>,
    redirects: BTreeMap<(TenantId, Shard, CustomerId), Redirect>,
}

impl Heard {
    pub(crate) fn moved(&mut self, it: Move) {
        let kept = self.moves.entry(fragment::key_order(it.key)).or_insert(it);
        if kept.map_version < it.map_version {
            *kept = it;
        }
    }

    pub(crate) fn redirected(&mut self, it: Redirect) {
        let key = customer::key_order((it.tenant, it.customer));
        let kept = self.redirects.entry(key).or_insert(it);
        if kept.version < it.version {
            *kept = it;
        }
    }
}

/// Applies what was heard, in the consumer's transaction.
pub(crate) async fn apply(connection: &mut PgConnection, heard: Heard) -> Result<(), Error> {
    let moves: Vec<Move> = heard.moves.into_values().collect();
    let customers = apply_moves(connection, &moves).await?;
    let changed = |row: &NewCustomer| {
        events::profile_changed(row.tenant, row.customer, row.version, row.state())
    };
    let mut entries: Vec<feed::Entry> = customers.iter().map(changed).collect();

    let redirects: Vec<Redirect> = heard.redirects.into_values().collect();
    if !redirects.is_empty() {
        let newer = redirect::upsert(connection, &redirects).await?;
        let newer: std::collections::HashSet<_> = newer.into_iter().collect();
        let is_newer = |it: &&Redirect| newer.contains(&(it.tenant, it.customer));
        entries.extend(redirects.iter().filter(is_newer).map(events::profile_redirected));
    }
    feed::append(connection, &entries).await?;
    Ok(())
}

async fn apply_moves(
    connection: &mut PgConnection,
    moves: &[Move],
) -> Result<Vec<NewCustomer>, Error> {
    if moves.is_empty() {
        return Ok(Vec::new());
    }
    let mapping = |it: &Move| NewMapping {
        tenant: it.key.0,
        evidence: it.key.1,
        customer: it.customer,
        map_version: it.map_version,
        wrapped_key: None,
    };
    let mut mappings: Vec<NewMapping> = moves.iter().map(mapping).collect();
    fragment::insert(connection, &mut mappings).await?;
    let wanted = |it: &Move| Wanted { key: it.key, state: false, personal: false };
    let wanted: Vec<Wanted> = moves.iter().map(wanted).collect();
    let locked = fragment::lock(connection, &wanted).await?;

    let mut newer = Vec::with_capacity(moves.len());
    let mut affected: Vec<CustomerKey> = Vec::new();
    for (it, old) in moves.iter().zip(&locked) {
        if it.map_version <= old.map_version {
            continue;
        }
        newer.push(*it);
        // A fragment without events changes no profile.
        if old.version > 0 && old.customer != it.customer {
            affected.push((it.key.0, old.customer));
            affected.push((it.key.0, it.customer));
        }
    }
    if newer.is_empty() {
        return Ok(Vec::new());
    }
    affected.sort_unstable_by_key(|key| customer::key_order(*key));
    affected.dedup();
    customer::insert(connection, &affected).await?;
    let customers = customer::lock(connection, &affected).await?;
    fragment::set_customers(connection, &newer).await?;
    // A later statement than the locks: it sees what every earlier holder wrote.
    let fragments = fragment::of_customers(connection, &affected).await?;
    let merged = merge::merge(customers, &fragments)?;
    customer::write(connection, &merged).await?;
    Ok(merged)
}
