//! Following identity: evidence moves between customers, customer ids redirect.
//!
//! Same order of locks as ingest: map rows, fragments, customers, feed. A move that is older
//! than the map row's version is ignored; what becomes of the customers on both sides says
//! [`merge`].

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use kernel::{CustomerId, EvidenceId, Shard, TenantId};
use sqlx::PgConnection;

use super::Shared;
use super::erase::{self, Erased};
use crate::domain::fold::{Customer, CustomerKey, NewCustomer};
use crate::domain::merge::{self, How, Share};
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
    erased: Vec<Erased>,
}

impl Heard {
    pub(crate) fn moved(&mut self, it: Move) {
        let kept = self.moves.entry(fragment::key_order(it.key)).or_insert(it);
        if kept.map_version < it.map_version {
            *kept = it;
        }
    }

    pub(crate) fn erased(&mut self, it: Erased) {
        self.erased.push(it);
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
    // First: what moved since is of who came after.
    let mut entries = erase::apply(connection, &heard.erased).await?;
    let moves: Vec<Move> = heard.moves.into_values().collect();
    let customers = apply_moves(connection, &moves).await?;
    entries.extend(customers.iter().map(changed));

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

pub(super) fn changed(row: &NewCustomer) -> feed::Entry {
    events::profile_changed(row.tenant, row.customer, row.version, row.state())
}

/// The first pause of a customer that could not be merged; it doubles up to [`LONGEST_REST`].
const FIRST_REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(300);

/// Customers that could not be merged: until when they are left alone, and how long that is.
pub(crate) type Resting = HashMap<CustomerKey, (Instant, Duration)>;

/// Merges the customers whose merge was put off. One that cannot be merged stays as it is and
/// is tried again later and later: each time reads all of its fragments.
///
/// # Errors
/// Those of the database.
pub(crate) async fn settle(shared: &Shared, resting: &mut Resting) -> Result<(), Error> {
    for key in customer::stale(&shared.database).await? {
        if resting.get(&key).is_some_and(|(until, _)| *until > Instant::now()) {
            continue;
        }
        let settled: Result<(), Error> =
            ::store::transaction!(&shared.database, async |connection| {
                let mut stale = customer::lock(connection, &[key]).await?;
                stale.retain(|customer| customer.stale);
                let merged = merged_anew(connection, stale).await?;
                customer::write(connection, &merged).await?;
                let entries: Vec<feed::Entry> = merged.iter().map(changed).collect();
                feed::append(connection, &entries).await?;
                Ok(())
            });
        match settled {
            Ok(()) => {
                resting.remove(&key);
                shared.tail.wake();
                shared.profiles.forget(&[key]).await;
            }
            Err(error) => {
                let pause = resting.get(&key).map_or(FIRST_REST, |(_, pause)| *pause * 2);
                let pause = pause.min(LONGEST_REST);
                resting.insert(key, (Instant::now() + pause, pause));
                let (tenant, customer) = key;
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%tenant, %customer, ?pause, error, "a customer is not settled");
            }
        }
    }
    Ok(())
}

/// Merges locked customers from the fragments they have. A later statement than the locks: it
/// sees what every earlier holder wrote.
pub(super) async fn merged_anew(
    connection: &mut PgConnection,
    customers: Vec<Customer>,
) -> Result<Vec<NewCustomer>, Error> {
    let keys: Vec<CustomerKey> = customers.iter().map(|row| (row.tenant, row.customer)).collect();
    let fragments = fragment::of_customers(connection, &keys).await?;
    Ok(merge::merge(customers, &fragments)?)
}

/// Answers the customers with a new state.
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
        erased_us: None,
    };
    let mut mappings: Vec<NewMapping> = moves.iter().map(mapping).collect();
    fragment::insert(connection, &mut mappings).await?;
    let wanted = |it: &Move| Wanted { key: it.key, state: true, personal: false };
    let wanted: Vec<Wanted> = moves.iter().map(wanted).collect();
    let locked = fragment::lock(connection, &wanted).await?;

    let mut newer = Vec::with_capacity(moves.len());
    let mut shares: BTreeMap<(TenantId, Shard, CustomerId), Share<'_>> = BTreeMap::new();
    for (it, old) in moves.iter().zip(&locked) {
        if it.map_version <= old.map_version {
            continue;
        }
        newer.push(*it);
        // A fragment without events changes no profile.
        if old.version > 0 && old.customer != it.customer {
            let of = |customer| customer::key_order((it.key.0, customer));
            shares.entry(of(old.customer)).or_default().lost += 1;
            shares.entry(of(it.customer)).or_default().gained.push(&old.behaviour);
        }
    }
    if newer.is_empty() {
        return Ok(Vec::new());
    }
    let affected: Vec<CustomerKey> = shares.keys().map(|key| (key.0, key.2)).collect();
    customer::insert(connection, &affected).await?;
    let customers = customer::lock(connection, &affected).await?;
    fragment::set_customers(connection, &newer).await?;
    let (mut anew, mut later, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for (customer, share) in customers.into_iter().zip(shares.values()) {
        match share.how(&customer) {
            How::Add => told.push(share.added(customer)?),
            How::Anew => anew.push(customer),
            How::Later => later.push(share.counted(customer)),
        }
    }
    told.extend(merged_anew(connection, anew).await?);
    customer::write(connection, &told).await?;
    customer::write(connection, &later).await?;
    Ok(told)
}
