//! The router: the one task that offers demands to agents and minds their timers.
//!
//! It wakes when something was committed, when somebody became free, and when a timer is due.
//! Each round: take or keep the lease, let timers go off, look again at the tenants in which
//! somebody became free, go on in long queues, attempt what is due. A round that fails is repeated;
//! what it had taken from `stir` is kept in memory until it succeeds, and a new holder of the lease
//! looks at all. What is at fault itself is passed over, see `faults`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

use kernel::TenantId;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::configuration::Crews;
use super::faults::{self, Resting};
use super::routing::Scope;
use super::work::Work;
use super::{App, now_us};
use crate::Error;
use crate::domain::{Command, Demand, State};
use crate::store::demand::{Damaged, Key};
use crate::store::queue::Place;
use crate::store::{lease, queue, stir};

/// The floor when no bell rings: also the most that a timer set by another replica is late.
const POLL: Duration = Duration::from_millis(100);
/// How long a router without the lease, or without a database, waits.
const PAUSE: Duration = Duration::from_millis(500);
/// Pages of waiting demands without a single offer, after which other work comes before the
/// rest of the queue …
const FRUITLESS: usize = 10;
/// … and that many of the rest after each round of it.
const STRIDE: usize = 2;

/// What an operator watches.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    pub(super) offers: Counter,
    time_outs: Counter,
    breaches: Counter,
    leader: Gauge,
    pub(super) faults: Counter,
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let routing = registry.sub_registry_with_prefix("routing");
        routing.register("offers", "Offers made", self.offers.clone());
        routing.register(
            "time_outs",
            "Offers that nobody answered in time",
            self.time_outs.clone(),
        );
        routing.register("sla_breaches", "Demands on which work began late", self.breaches.clone());
        routing.register(
            "faults",
            "Demands and tenants passed over because of a fault of their own",
            self.faults.clone(),
        );
        routing.register("leader", "1 in the replica whose router is at work", self.leader.clone());
    }
}

/// See the module.
pub(crate) struct Router {
    pub(super) app: App,
    pub(super) crews: Crews,
    pub(super) metrics: Metrics,
    pub(super) resting: Resting,
    holder: Uuid,
    held: Option<Held>,
    stirred: BTreeSet<TenantId>,
    sweeps: BTreeMap<TenantId, Sweep>,
    /// Whose queue was gone on in last: one tenant's in each round.
    swept: Option<TenantId>,
}

/// Goes on behind the front of a long queue in which somebody became free: whoever fits may
/// stand behind thousands who do not.
#[derive(Debug, Clone, Copy)]
struct Sweep {
    /// Everybody before was looked at.
    place: Place,
    /// Somebody became free again meanwhile: once more from here.
    again: Option<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    epoch: i64,
    since: Instant,
}

/// What a round came to.
enum Round {
    /// There may be more to do at once.
    More,
    /// Nothing until then, or until a bell rings.
    Idle(Duration),
}

impl Router {
    pub(crate) fn new(app: App, metrics: Metrics) -> Self {
        Self {
            app,
            crews: Crews::default(),
            metrics,
            resting: Resting::default(),
            holder: Uuid::new_v4(),
            held: None,
            stirred: BTreeSet::new(),
            sweeps: BTreeMap::new(),
            swept: None,
        }
    }

    /// Routes until cancelled, then gives the lease back.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut listener = self.app.bell.listen();
        while !stop.is_cancelled() {
            let pause = match self.round().await {
                Ok(Round::More) => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Ok(Round::Idle(pause)) => pause,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "routing repeated");
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                _ = listener.heard(pause) => {}
            }
        }
        if self.held.is_some()
            && let Err(error) = lease::give_back(self.app.database.pool(), self.holder).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "lease not given back");
        }
    }

    async fn round(&mut self) -> Result<Round, Error> {
        let Some(epoch) = self.lead().await? else { return Ok(Round::Idle(PAUSE)) };
        let pool = self.app.database.pool();
        let now_us = now_us();
        let look = queue::look(pool, now_us).await?;
        if look.stirred {
            // Another replica may have changed something: what is known here may be a second old.
            for tenant in stir::take(pool, epoch).await? {
                self.stirred.insert(tenant);
            }
            self.app.configuration.recheck();
        }
        let due = look.next_us.is_some_and(|next_us| next_us <= now_us);
        if !due && self.stirred.is_empty() && self.sweeps.is_empty() {
            return Ok(Round::Idle(until(look.next_us, now_us)));
        }
        let mut busy = look.ticks && self.tick(epoch).await? > 0;
        while let Some(tenant) = self.stirred.first().copied() {
            match self.look_again(tenant, epoch).await {
                Err(error) if !error.is_transient() => {
                    self.pass_over_tenant(tenant, &error).await?;
                }
                offered => busy |= offered?,
            }
            self.stirred.remove(&tenant);
        }
        if let Some((tenant, sweep)) = self.next_sweep() {
            busy = true;
            if let Err(error) = self.sweep(tenant, sweep, epoch).await {
                if error.is_transient() {
                    return Err(error);
                }
                self.sweeps.remove(&tenant);
                self.pass_over_tenant(tenant, &error).await?;
            }
        }
        for tenant in look.due_tenants() {
            match self.pass(tenant, Scope::Due, epoch).await {
                Err(error) if !error.is_transient() => {
                    self.pass_over_tenant(tenant, &error).await?;
                }
                pass => busy |= pass?.seen > 0,
            }
        }
        // Nothing could be locked: others are at it, and ring when they have committed.
        Ok(if busy { Round::More } else { Round::Idle(Duration::from_millis(5)) })
    }

    /// Takes or keeps the lease.
    async fn lead(&mut self) -> Result<Option<i64>, Error> {
        let lease_us = self.app.config.lease_us();
        let fresh = Duration::from_micros(lease_us.unsigned_abs() / 3);
        if let Some(held) = self.held.filter(|held| held.since.elapsed() < fresh) {
            return Ok(Some(held.epoch));
        }
        let since = Instant::now();
        let taken = lease::take(self.app.database.pool(), self.holder, lease_us).await?;
        let began = taken.filter(|epoch| self.held.is_none_or(|held| held.epoch != *epoch));
        self.held = taken.map(|epoch| Held { epoch, since });
        self.metrics.leader.set(i64::from(taken.is_some()));
        if let Some(epoch) = began {
            tracing::info!(epoch, "this replica routes");
            stir::stir_all(self.app.database.pool()).await?;
        }
        Ok(taken)
    }

    /// Forgets a lease that somebody else has by now.
    pub(super) fn lost(&mut self) {
        self.held = None;
        self.metrics.leader.set(0);
    }

    /// Offers that timed out, broken SLAs, reminders; answers how many demands changed.
    async fn tick(&mut self, epoch: i64) -> Result<usize, Error> {
        let ticked = match self.let_go_off(None, epoch).await {
            Err(error) if !error.is_transient() => self.tick_one_by_one(epoch).await?,
            other => other?,
        };
        let Some(ticked) = ticked else {
            self.lost();
            return Ok(0);
        };
        if ticked.seen > 0 {
            self.app.tail.wake();
        }
        self.metrics.breaches.inc_by(ticked.breaches);
        self.metrics.time_outs.inc_by(ticked.time_outs);
        self.pass_over(&faults::of_damaged(ticked.damaged)).await?;
        Ok(ticked.seen)
    }

    /// So that one demand at fault does not keep the timers of the others.
    async fn tick_one_by_one(&mut self, epoch: i64) -> Result<Option<Ticked>, Error> {
        let mut whole = Ticked::default();
        let limit = self.app.config.batch;
        for key in queue::tick_keys(self.app.database.pool(), now_us(), limit).await? {
            match self.let_go_off(Some(key), epoch).await {
                Ok(Some(one)) => whole.add(one),
                Ok(None) => return Ok(None),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => self.pass_over(&[(key, error)]).await?,
            }
        }
        Ok(Some(whole))
    }

    /// One transaction for all timers that went off, or for that of one demand; none if the
    /// lease is lost.
    async fn let_go_off(&self, only: Option<Key>, epoch: i64) -> Result<Option<Ticked>, Error> {
        let app = &self.app;
        ::store::transaction!(&app.database, async |connection| {
            if !lease::holds(connection, epoch).await? {
                return Ok(None);
            }
            let now_us = now_us();
            let found = queue::ticks(connection, only, now_us, app.config.batch).await?;
            let mut ticked = Ticked { damaged: found.damaged, ..Ticked::default() };
            let mut work = Work::new(now_us, &app.timing);
            work.hold(found.demands.clone());
            for demand in found.demands {
                ticked.apply(&mut work, &demand)?;
            }
            work.write(connection).await?;
            Ok(Some(ticked))
        })
    }

    /// Goes through the front of the queue of a tenant while somebody is free.
    async fn look_again(&mut self, tenant: TenantId, epoch: i64) -> Result<bool, Error> {
        let (offered, rest) = self.look(tenant, queue::FRONT, FRUITLESS, epoch).await?;
        if let Some(place) = rest {
            let known = self.sweeps.entry(tenant);
            known
                .and_modify(|sweep| sweep.again = Some(place))
                .or_insert(Sweep { place, again: None });
        }
        Ok(offered)
    }

    /// The next one after the last, around: whoever is due waits for one tenant's pages at most.
    fn next_sweep(&mut self) -> Option<(TenantId, Sweep)> {
        let after = self.swept.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.sweeps.range((after, Bound::Unbounded)).next();
        let next = rest.or_else(|| self.sweeps.first_key_value());
        let next = next.map(|(tenant, sweep)| (*tenant, *sweep));
        self.swept = next.map(|(tenant, _)| tenant);
        next
    }

    /// Goes on behind the front.
    async fn sweep(&mut self, tenant: TenantId, sweep: Sweep, epoch: i64) -> Result<(), Error> {
        let (_, rest) = self.look(tenant, sweep.place, STRIDE, epoch).await?;
        let next = match rest {
            Some(place) => Some(Sweep { place, ..sweep }),
            None => sweep.again.map(|place| Sweep { place, again: None }),
        };
        match next {
            Some(next) => self.sweeps.insert(tenant, next),
            None => self.sweeps.remove(&tenant),
        };
        Ok(())
    }

    /// Looks at pages until nobody is left on either side, or too many had no offer: then
    /// answers where to go on.
    async fn look(
        &mut self,
        tenant: TenantId,
        mut place: Place,
        fruitless: usize,
        epoch: i64,
    ) -> Result<(bool, Option<Place>), Error> {
        let (mut offered, mut left) = (false, fruitless);
        while left > 0 {
            let pass = self.pass(tenant, Scope::Waiting(place), epoch).await?;
            offered |= pass.offers > 0;
            left = if pass.offers > 0 { fruitless } else { left - 1 };
            let Some(next) = pass.next else { return Ok((offered, None)) };
            place = next;
        }
        Ok((offered, Some(place)))
    }
}

/// What timers did.
#[derive(Debug, Default)]
struct Ticked {
    seen: usize,
    breaches: u64,
    time_outs: u64,
    damaged: Vec<Damaged>,
}

impl Ticked {
    fn apply(&mut self, work: &mut Work, demand: &Demand) -> Result<(), Error> {
        let (tenant, id, now_us) = (demand.tenant, demand.id, work.now_us());
        self.seen += 1;
        if demand.sla_us().is_some_and(|due| due <= now_us) {
            work.apply(tenant, id, Command::Breach, None)?;
            self.breaches += 1;
        }
        if demand.wake_us > now_us {
            return Ok(());
        }
        match demand.state {
            State::Offered => {
                work.apply(tenant, id, Command::TimeOut, None)?;
                self.time_outs += 1;
            }
            State::Accepted | State::InProgress => {
                work.apply(tenant, id, Command::Remind, None)?;
            }
            State::Queued | State::Closed => {}
        }
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.seen += other.seen;
        self.breaches += other.breaches;
        self.time_outs += other.time_outs;
        self.damaged.extend(other.damaged);
    }
}

/// How long until then, at most the floor.
fn until(next_us: Option<i64>, now_us: i64) -> Duration {
    let left =
        next_us.map(|next_us| Duration::from_micros((next_us - now_us).max(0).unsigned_abs()));
    left.unwrap_or(POLL).clamp(Duration::from_millis(1), POLL)
}
