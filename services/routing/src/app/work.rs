//! One transaction's worth of changes: applied in memory to locked demands, written as sets.
//!
//! Writing keeps the order of locks: demands are locked before, then agents by name, the feed
//! last.

use std::collections::{BTreeMap, BTreeSet};

use ::store::Error;
use feed::Entry;
use kernel::{DemandId, OfferId, Shard, TenantId};
use sqlx::PgConnection;

use crate::domain::machine::{self, Effect};
use crate::domain::{Change, Command, Demand, Offer, OfferState, Refusal, Timing};
use crate::events;
use crate::store::assignment::{self, Closed, Opened};
use crate::store::decision::{self, Decision};
use crate::store::offer::{self, Ended};
use crate::store::transition::{self, Of};
use crate::store::{agent, demand, stir};

/// Orders as demands are locked.
pub(crate) type Key = (TenantId, Shard, DemandId);

/// See the module.
pub(crate) struct Work {
    now_us: i64,
    timing: Timing,
    held: BTreeMap<Key, Demand>,
    changed: BTreeSet<Key>,
    transitions: Vec<Of>,
    entries: Vec<Entry>,
    offers: Vec<Offer>,
    ended: Vec<Ended>,
    opened: Vec<Opened>,
    closed: Vec<Closed>,
    freed: BTreeMap<(TenantId, String), i32>,
    decisions: Vec<Decision>,
}

impl Work {
    pub(crate) fn new(now_us: i64, timing: &Timing) -> Self {
        Self {
            now_us,
            timing: *timing,
            held: BTreeMap::new(),
            changed: BTreeSet::new(),
            transitions: Vec::new(),
            entries: Vec::new(),
            offers: Vec::new(),
            ended: Vec::new(),
            opened: Vec::new(),
            closed: Vec::new(),
            freed: BTreeMap::new(),
            decisions: Vec::new(),
        }
    }

    /// The time of this work.
    pub(crate) fn now_us(&self) -> i64 {
        self.now_us
    }

    /// Takes demands that the transaction has locked.
    pub(crate) fn hold(&mut self, demands: Vec<Demand>) {
        self.held.extend(demands.into_iter().map(|demand| (demand.key(), demand)));
    }

    /// Notes demands that the transaction has inserted.
    pub(crate) fn created(&mut self, demand: &Demand, cause: &'static str) {
        let transition = machine::created(demand, cause);
        let traceparent = demand.traceparent.clone();
        self.entries.push(events::changed(demand, &transition, traceparent));
        self.transitions.push(Of { tenant: demand.tenant, demand: demand.id, transition });
        self.held.insert(demand.key(), demand.clone());
    }

    /// Applies a command to a held demand and answers it as it is then. What nobody asked for
    /// in a trace of their own belongs to that of the demand.
    pub(crate) fn apply(
        &mut self,
        tenant: TenantId,
        id: DemandId,
        command: Command,
        traceparent: Option<String>,
    ) -> Result<Demand, Refusal> {
        let key = (tenant, Shard::of(id.uuid()), id);
        let demand = self.held.get_mut(&key).ok_or(Refusal::NotFound("the demand"))?;
        let change = machine::apply(demand, command, self.now_us, &self.timing)?;
        let after = demand.clone();
        if let Some(change) = change {
            self.changed.insert(key);
            let traceparent = traceparent.or_else(|| after.traceparent.clone());
            self.entries.push(events::changed(&after, &change.transition, traceparent));
            self.follow(&after, change);
        }
        Ok(after)
    }

    /// Closes a held demand, if it is open, and takes its customer off it.
    pub(crate) fn erase(&mut self, key: Key) {
        let Some(demand) = self.held.get_mut(&key) else { return };
        // It never refuses.
        let change = machine::apply(demand, Command::Erase, self.now_us, &self.timing);
        let after = demand.clone();
        self.changed.insert(key);
        if let Ok(Some(change)) = change {
            self.entries.push(events::changed(&after, &change.transition, None));
            self.follow(&after, change);
        }
    }

    /// Has an entry appended after those of the demands.
    pub(crate) fn tell(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Lets a held demand wait for its next attempt: no transition.
    pub(crate) fn wait(&mut self, tenant: TenantId, id: DemandId, until_us: i64) {
        let key = (tenant, Shard::of(id.uuid()), id);
        if let Some(demand) = self.held.get_mut(&key) {
            demand.wake_us = until_us;
            demand.attempts = demand.attempts.saturating_add(1);
            self.changed.insert(key);
        }
    }

    /// Keeps why an offer was made.
    pub(crate) fn decide(&mut self, decision: Decision) {
        self.decisions.push(decision);
    }

    /// How many offers begin.
    pub(crate) fn offers_made(&self) -> usize {
        self.offers.len()
    }

    fn follow(&mut self, demand: &Demand, Change { transition, effect }: Change) {
        let tenant = demand.tenant;
        let at_us = self.now_us;
        let agent = transition.agent.clone();
        let ended = |offer: OfferId, state, reason| Ended { tenant, offer, state, at_us, reason };
        match (effect, transition.offer) {
            (Effect::Offered { expire_us }, Some(offer)) => self.offers.push(Offer {
                tenant,
                id: offer,
                demand: demand.id,
                agent,
                state: OfferState::Pending,
                created_us: at_us,
                expire_us,
            }),
            (Effect::Taken, Some(offer)) => {
                self.ended.push(ended(offer, OfferState::Accepted, String::new()));
                self.opened.push(Opened { tenant, demand: demand.id, offer, agent, at_us });
            }
            (Effect::Returned { state, reason }, Some(offer)) => {
                self.ended.push(ended(offer, state, reason));
                *self.freed.entry((tenant, agent)).or_default() += 1;
            }
            (Effect::Released, _) => {
                self.closed.push(Closed { tenant, demand: demand.id, at_us });
                *self.freed.entry((tenant, agent)).or_default() += 1;
            }
            (Effect::None, _) | (_, None) => {}
        }
        self.transitions.push(Of { tenant, demand: demand.id, transition });
    }

    /// Writes everything; nothing but COMMIT may follow.
    pub(crate) async fn write(self, connection: &mut PgConnection) -> Result<(), Error> {
        let changed: Vec<&Demand> =
            self.changed.iter().filter_map(|key| self.held.get(key)).collect();
        demand::update(connection, &changed).await?;
        offer::insert(connection, &self.offers).await?;
        offer::end(connection, &self.ended).await?;
        assignment::open(connection, &self.opened).await?;
        assignment::close(connection, &self.closed).await?;
        transition::insert(connection, &self.transitions).await?;
        decision::insert(connection, &self.decisions).await?;
        agent::free_load(connection, &self.freed).await?;
        let stirred: BTreeSet<TenantId> = self.freed.keys().map(|(tenant, _)| *tenant).collect();
        stir::stir(connection, &stirred.into_iter().collect::<Vec<_>>()).await?;
        feed::append(connection, &self.entries).await.map_err(of_feed)?;
        Ok(())
    }
}

/// What the store's callers understand of an error of the log.
pub(crate) fn of_feed(error: feed::Error) -> Error {
    match error {
        feed::Error::Database(error) => error,
        other => Error::internal(other),
    }
}
