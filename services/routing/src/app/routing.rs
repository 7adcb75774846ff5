//! One micro-batch: claim demands, plan, offer – in one transaction.
//!
//! The queue is read in the order of service and locked in the order of keys; what is no longer
//! queued then drops out. Agents are read without a lock. Those who were chosen are locked in
//! the order of their names and looked at again: what no longer fits stays queued and is due at
//! once. So the plan may be stale, the database never is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ::store::Error as StoreError;
use kernel::{CustomerId, DemandId, OfferId, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::configuration::Policies;
use super::now_us;
use super::router::Router;
use super::work::Work;
use crate::Error;
use crate::domain::plan::{self, Member, Placement, Returned, Situation};
use crate::domain::{Command, Demand, State, Timing};
use crate::store::decision::Decision;
use crate::store::queue::Place;
use crate::store::{agent, demand, lease, queue, stir};

/// Which queued demands are attempted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope {
    /// Those whose time has come.
    Due,
    /// All after a place in the queue: somebody became free.
    Waiting(Place),
}

/// What a pass came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pass {
    /// Demands read.
    pub(super) seen: usize,
    /// Offers made.
    pub(super) offers: usize,
    /// Where the queue goes on, if anybody is left on either side.
    pub(super) next: Option<Place>,
}

impl Router {
    /// Attempts up to a batch of a tenant's queued demands.
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
        let passed = ::store::transaction!(&self.app.database, async |connection| {
            if !lease::holds(connection, epoch).await? {
                return Ok(None);
            }
            batch.run(connection).await.map(Some)
        })?;
        let Some(pass) = passed else {
            self.lost();
            return Ok(Pass::default());
        };
        if pass.offers > 0 {
            self.app.tail.wake();
        }
        Ok(pass)
    }
}

/// Locks demands and keeps those that still wait, in the order in which they were read.
async fn lock(
    connection: &mut PgConnection,
    read: &[Demand],
    now_us: i64,
) -> Result<Vec<Demand>, StoreError> {
    let keys: Vec<_> = read.iter().map(|demand| (demand.tenant, demand.id)).collect();
    let locked = demand::lock(connection, &keys).await?;
    let mut locked: HashMap<DemandId, Demand> =
        locked.into_iter().map(|demand| (demand.id, demand)).collect();
    let in_order = read.iter().filter_map(|demand| locked.remove(&demand.id));
    // Those that a threshold created wait for their scores, for a moment.
    let awaits_scores = |demand: &Demand| {
        demand.score_due_us.is_some() && demand.attempts == 0 && demand.wake_us > now_us
    };
    Ok(in_order.filter(|demand| demand.state == State::Queued && !awaits_scores(demand)).collect())
}

struct Batch {
    tenant: TenantId,
    scope: Scope,
    members: Arc<Vec<Member>>,
    policies: Arc<Policies>,
    timing: Timing,
    limit: i64,
}

/// An offer that is to be made.
struct Chosen<'a> {
    demand: &'a Demand,
    agent: String,
    team: String,
    policy_version: i64,
    expire_us: i64,
    candidates: Vec<crate::domain::rank::Candidate>,
}

impl Batch {
    async fn run(&self, connection: &mut PgConnection) -> Result<Pass, Error> {
        let now_us = now_us();
        let read = match self.scope {
            Scope::Due => queue::due(connection, self.tenant, now_us, self.limit).await?,
            Scope::Waiting(after) => {
                queue::waiting(connection, self.tenant, after, self.limit).await?
            }
        };
        let Some(last) = read.last() else { return Ok(Pass::default()) };
        let full = read.len() as i64 == self.limit;
        let place = full.then_some((last.priority, last.created_us, last.id.uuid()));
        let seen = read.len();
        let demands = lock(connection, &read, now_us).await?;

        let seats = agent::all(&mut *connection, self.tenant).await?;
        let anybody = seats.values().any(plan::Seat::is_free);
        if !anybody && matches!(self.scope, Scope::Waiting(_)) {
            return Ok(Pass { seen, ..Pass::default() });
        }
        if matches!(self.scope, Scope::Due)
            && stir::is_stirred(&mut *connection, self.tenant).await?
        {
            // Read after the seats: somebody became free, and an older demand that is not due
            // may come first.
            return Ok(Pass::default());
        }
        let returned = self.returned(connection, &demands, now_us).await?;
        let last_agent = self.last_agents(connection, &demands).await?;
        let seated = |member: &'_ Member| seats.get(&member.name).copied();
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
        let offers = self.carry_out(connection, &demands, placements, now_us).await?;
        let next = if anybody { place } else { None };
        Ok(Pass { seen, offers, next })
    }

    async fn carry_out(
        &self,
        connection: &mut PgConnection,
        demands: &[Demand],
        placements: Vec<Placement>,
        now_us: i64,
    ) -> Result<usize, Error> {
        let mut work = Work::new(now_us, &self.timing);
        work.hold(demands.to_vec());
        let mut chosen = Vec::new();
        for (demand, placement) in demands.iter().zip(placements) {
            match placement {
                Placement::Offer { agent, team, policy_version, expire_us, candidates } => {
                    chosen.push(Chosen {
                        demand,
                        agent,
                        team,
                        policy_version,
                        expire_us,
                        candidates,
                    });
                }
                // One that is not due keeps its own timer.
                Placement::Wait { until_us } if demand.wake_us <= now_us => {
                    work.wait(self.tenant, demand.id, until_us);
                }
                Placement::Wait { .. } => {}
            }
        }
        let added = self.seat(connection, &mut chosen).await?;
        for one in chosen {
            let offer = OfferId::new(Uuid::now_v7());
            let command = Command::Offer {
                offer,
                agent: one.agent.clone(),
                team: one.team,
                policy_version: one.policy_version,
                expire_us: one.expire_us,
            };
            let traceparent = server::layers::trace::traceparent();
            work.apply(self.tenant, one.demand.id, command, traceparent)?;
            work.decide(Decision {
                tenant: self.tenant,
                demand: one.demand.id,
                offer,
                agent: one.agent,
                policy_version: one.policy_version,
                candidates: one.candidates,
                at_us: now_us,
            });
        }
        agent::add_load(connection, self.tenant, &added, now_us).await?;
        let offers = work.offers_made();
        work.write(connection).await?;
        Ok(offers)
    }

    /// Locks the chosen agents and drops the offers for which there is no room any more.
    async fn seat(
        &self,
        connection: &mut PgConnection,
        chosen: &mut Vec<Chosen<'_>>,
    ) -> Result<BTreeMap<String, i32>, StoreError> {
        let mut added = BTreeMap::new();
        if chosen.is_empty() {
            return Ok(added);
        }
        let mut names: Vec<String> = chosen.iter().map(|one| one.agent.clone()).collect();
        names.sort_unstable();
        names.dedup();
        let mut seats = agent::lock(connection, self.tenant, &names).await?;
        chosen.retain(|one| {
            let free = seats.get_mut(&one.agent).filter(|seat| seat.is_free());
            let Some(seat) = free else { return false };
            seat.load += 1;
            *added.entry(one.agent.clone()).or_insert(0) += 1;
            true
        });
        Ok(added)
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
