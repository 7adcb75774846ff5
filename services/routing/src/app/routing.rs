//! One micro-batch: claim demands, plan, offer – in one transaction.
//!
//! Agents and the queue are read without a lock. What the plan changes is locked, demands in the
//! order of keys and then agents in the order of names, and looked at again: a demand that is not
//! as it was read drops out (whatever changed it made it due), and one whose agent has no room
//! any more stays queued and due. So the plan may be stale, the database never is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ::store::Error as StoreError;
use kernel::{CustomerId, DemandId, OfferId, TenantId};
use server::layers::trace;
use sqlx::PgConnection;
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::configuration::Policies;
use super::faults::{self, Resting};
use super::now_us;
use super::router::Router;
use super::work::Work;
use crate::Error;
use crate::domain::plan::{self, Member, Placement, Returned, Situation};
use crate::domain::{Command, Demand, Timing};
use crate::store::decision::Decision;
use crate::store::demand::Damaged;
use crate::store::queue::{Page, Place};
use crate::store::{agent, demand, queue};

/// Which queued demands are attempted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope {
    /// Those whose time has come.
    Due,
    /// All after a place in the queue: somebody became free.
    Waiting(Place),
}

/// What a pass came to.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// Demands read.
    pub(super) seen: usize,
    /// Offers made.
    pub(super) offers: usize,
    /// Where the queue goes on, if anybody is left on either side.
    pub(super) next: Option<Place>,
    /// What could not be read.
    pub(super) damaged: Vec<Damaged>,
}

impl Router {
    /// Attempts up to a batch of a tenant's queued demands. An error blames the tenant, or
    /// passes by itself.
    pub(super) async fn pass(
        &mut self,
        tenant: TenantId,
        scope: Scope,
        epoch: i64,
    ) -> Result<Pass, Error> {
        let members = self.crews.of(&self.app.configuration, tenant).await?;
        let policies = self.app.configuration.policies(tenant).await?;
        let timing = self.app.timing;
        let limit = self.app.config.batch;
        let batch = Batch { tenant, scope, members, policies, timing, limit };
        let passed = match self.attempt(&batch, None, epoch).await {
            Err(error) if !error.is_transient() => self.one_by_one(&batch, epoch).await?,
            other => other?,
        };
        let Some(mut pass) = passed else {
            self.lost();
            return Ok(Pass::default());
        };
        if pass.offers > 0 {
            self.app.tail.wake();
        }
        self.metrics.offers.inc_by(pass.offers as u64);
        let damaged = std::mem::take(&mut pass.damaged);
        if matches!(scope, Scope::Due) {
            self.pass_over(&faults::of_damaged(damaged)).await?;
        }
        Ok(pass)
    }

    /// One transaction for a batch, or for one of its demands; none if the lease is lost.
    pub(super) async fn attempt(
        &self,
        batch: &Batch,
        only: Option<Demand>,
        epoch: i64,
    ) -> Result<Option<Pass>, Error> {
        ::store::transaction!(&self.app.database, async |connection| {
            batch.run(connection, &self.resting, only.as_ref(), epoch).await
        })
    }
}

/// Locks what is to be changed and keeps what is still as it was read.
async fn lock(
    connection: &mut PgConnection,
    read: &mut Vec<(Demand, Placement)>,
) -> Result<(), StoreError> {
    let keys: Vec<_> = read.iter().map(|(demand, _)| (demand.tenant, demand.id)).collect();
    let locked = demand::lock(connection, &keys).await?.demands;
    let mut locked: HashMap<DemandId, Demand> =
        locked.into_iter().map(|demand| (demand.id, demand)).collect();
    read.retain_mut(|(demand, _)| match locked.remove(&demand.id) {
        Some(now) if now.version == demand.version => {
            *demand = now;
            true
        }
        _ => false,
    });
    Ok(())
}

/// Those that a threshold created wait for their scores, for a moment.
fn awaits_scores(demand: &Demand, now_us: i64) -> bool {
    demand.score_due_us.is_some() && demand.attempts == 0 && demand.wake_us > now_us
}

/// What is attempted together, and what is known for it.
pub(super) struct Batch {
    tenant: TenantId,
    scope: Scope,
    members: Arc<Vec<Member>>,
    policies: Arc<Policies>,
    timing: Timing,
    limit: i64,
}

/// An offer that is to be made.
struct Chosen {
    demand: DemandId,
    agent: String,
    team: String,
    policy_version: i64,
    expire_us: i64,
    candidates: Vec<crate::domain::rank::Candidate>,
}

impl Batch {
    /// The part of the queue that the batch is about.
    pub(super) async fn page(
        &self,
        connection: &mut PgConnection,
        now_us: i64,
    ) -> Result<Page, StoreError> {
        match self.scope {
            Scope::Due => queue::due(connection, self.tenant, now_us, self.limit).await,
            Scope::Waiting(after) => {
                queue::waiting(connection, self.tenant, after, self.limit).await
            }
        }
    }

    async fn run(
        &self,
        connection: &mut PgConnection,
        resting: &Resting,
        only: Option<&Demand>,
        epoch: i64,
    ) -> Result<Option<Pass>, Error> {
        let now_us = now_us();
        let look = agent::situation(connection, self.tenant, epoch).await?;
        if !look.held {
            return Ok(None);
        }
        let anybody = look.seats.values().any(plan::Seat::is_free);
        let waiting = matches!(self.scope, Scope::Waiting(_));
        // Due, but somebody became free: an older demand that is not due may come first.
        let idle = if waiting { !anybody } else { look.stirred };
        if idle {
            return Ok(Some(Pass::default()));
        }
        let page = match only {
            Some(demand) => Page { found: vec![demand.clone()].into(), next: None },
            None => self.page(connection, now_us).await?,
        };
        let (mut demands, damaged) = (page.found.demands, page.found.damaged);
        let seen = demands.len() + damaged.len();
        demands.retain(|demand| {
            let rests = waiting && resting.has(demand.id, now_us);
            !rests && !awaits_scores(demand, now_us)
        });
        let returned = self.returned(connection, &demands, now_us).await?;
        let last_agent = self.last_agents(connection, &demands).await?;
        let seated = |member: &'_ Member| look.seats.get(&member.name).copied();
        let agents =
            self.members.iter().filter_map(|member| Some((member, seated(member)?))).collect();
        let situation = Situation {
            agents,
            policies: &self.policies,
            returned: &returned,
            last_agent: &last_agent,
            timing: &self.timing,
            now_us,
        };
        let placements = plan::plan(&demands, situation);
        let placed = demands.into_iter().zip(placements).collect();
        let offers = self.carry_out(connection, placed, now_us).await?;
        let next = if anybody { page.next } else { None };
        Ok(Some(Pass { seen, offers, next, damaged }))
    }

    async fn carry_out(
        &self,
        connection: &mut PgConnection,
        mut placed: Vec<(Demand, Placement)>,
        now_us: i64,
    ) -> Result<usize, Error> {
        // One that waits and is not due keeps its own timer.
        placed.retain(|(demand, placement)| {
            matches!(placement, Placement::Offer { .. }) || demand.wake_us <= now_us
        });
        lock(connection, &mut placed).await?;
        let mut work = Work::new(now_us, &self.timing);
        let mut chosen = Vec::new();
        for (demand, placement) in placed {
            let id = demand.id;
            work.hold(vec![demand]);
            match placement {
                Placement::Offer { agent, team, policy_version, expire_us, candidates } => {
                    let demand = id;
                    chosen.push(Chosen {
                        demand,
                        agent,
                        team,
                        policy_version,
                        expire_us,
                        candidates,
                    });
                }
                Placement::Wait { until_us } => work.wait(self.tenant, id, until_us),
            }
        }
        self.seat(connection, &mut chosen, now_us).await?;
        let span = if chosen.is_empty() {
            Span::none()
        } else {
            tracing::info_span!("offers", count = chosen.len())
        };
        for one in chosen {
            let demand = self.offer(&mut work, one)?;
            trace::link(&span, demand.traceparent.as_deref());
        }
        let offers = work.offers_made();
        work.write(connection).instrument(span).await?;
        Ok(offers)
    }

    fn offer(&self, work: &mut Work, chosen: Chosen) -> Result<Demand, Error> {
        let offer = OfferId::new(Uuid::now_v7());
        let command = Command::Offer {
            offer,
            agent: chosen.agent.clone(),
            team: chosen.team,
            policy_version: chosen.policy_version,
            expire_us: chosen.expire_us,
        };
        let offered = work.apply(self.tenant, chosen.demand, command, None)?;
        work.decide(Decision {
            tenant: self.tenant,
            demand: chosen.demand,
            offer,
            agent: chosen.agent,
            policy_version: chosen.policy_version,
            candidates: chosen.candidates,
            at_us: work.now_us(),
        });
        Ok(offered)
    }

    /// Locks the chosen agents and drops the offers for which there is no room any more.
    async fn seat(
        &self,
        connection: &mut PgConnection,
        chosen: &mut Vec<Chosen>,
        now_us: i64,
    ) -> Result<(), StoreError> {
        let mut wanted: BTreeMap<&str, i32> = BTreeMap::new();
        for one in chosen.iter() {
            *wanted.entry(&one.agent).or_default() += 1;
        }
        let mut room = agent::offer(connection, self.tenant, &wanted, now_us).await?;
        chosen.retain(|one| {
            let Some(left) = room.get_mut(&one.agent).filter(|left| **left > 0) else {
                return false;
            };
            *left -= 1;
            true
        });
        Ok(())
    }

    async fn returned(
        &self,
        connection: &mut PgConnection,
        demands: &[Demand],
        now_us: i64,
    ) -> Result<Returned, StoreError> {
        let offered = demands.iter().filter(|demand| demand.offers > 0);
        let offered: Vec<Uuid> = offered.map(|demand| demand.id.uuid()).collect();
        let since_us = now_us - self.timing.exclusion_us;
        queue::returned(connection, self.tenant, &offered, since_us).await
    }

    /// Only where a policy asks for it.
    async fn last_agents(
        &self,
        connection: &mut PgConnection,
        demands: &[Demand],
    ) -> Result<HashMap<CustomerId, String>, StoreError> {
        let weighs = |demand: &&Demand| {
            self.policies.get(&demand.policy).is_some_and(|policy| policy.weights.same_agent > 0.0)
        };
        let mut customers: Vec<Uuid> =
            demands.iter().filter(weighs).map(|demand| demand.customer.uuid()).collect();
        customers.sort_unstable();
        customers.dedup();
        if customers.is_empty() {
            return Ok(HashMap::new());
        }
        queue::last_agents(connection, self.tenant, &customers).await
    }
}
