//! Threshold triggers: a score that crosses a threshold upwards creates a demand, exactly once.
//!
//! The demand's id is a keyed hash of (policy, scorer, threshold, customer, score version of the
//! crossing), so an entry that is applied again, or a snapshot of it, finds it there. Its scores are logged by `rescore`; for a
//! short grace the router waits for them.

use std::collections::HashSet;

use ::store::{Error as StoreError, blind};
use feed::receipt::{self, Part};
use feed::{Entry, HandleError, Handler};
use kernel::{DemandId, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::work::{Work, of_feed};
use super::{App, erase, now_us};
use crate::domain::demand::NewDemand;
use crate::domain::policy::Trigger;
use crate::domain::{Demand, Policy, policy};
use crate::events::{self, Crossing};
use crate::store::{demand, policy as policies};

/// How long the router waits for the scores of such a demand.
const GRACE_US: i64 = 2_000_000;

/// Applies scoring's entries.
#[derive(Debug)]
pub(crate) struct Thresholds(pub(crate) App);

impl Handler for Thresholds {
    async fn handle(
        &self,
        connection: &mut PgConnection,
        entries: &[Entry],
    ) -> Result<(), HandleError> {
        let now_us = now_us();
        let mut demands = Vec::new();
        let mut erased = Vec::new();
        for entry in entries {
            if let Some(part) = events::erased(entry)? {
                demands.retain(|demand: &Demand| !concerns(&part, demand));
                erased.push(part);
            }
            for crossing in events::crossings(entry)? {
                for mut demand in self.demands(entry.tenant, &crossing, now_us).await? {
                    demand.traceparent.clone_from(&entry.traceparent);
                    demands.push(demand);
                }
            }
        }
        let mut work = Work::new(now_us, &self.0.timing);
        erase::erase(connection, &mut work, &erased).await?;
        if demands.is_empty() {
            return Ok(work.write(connection).await?);
        }
        let customers: Vec<_> =
            demands.iter().map(|demand| (demand.tenant, demand.customer)).collect();
        let gone = receipt::erased_of(connection, &customers).await.map_err(of_feed)?;
        demands.retain(|demand| !gone.contains(&(demand.tenant, demand.customer)));
        let held = hold(connection, &demands).await?;
        demands.retain(|demand| {
            demand.policy == policy::DEFAULT
                || held.contains(&(demand.tenant, demand.policy.clone()))
        });
        let inserted: HashSet<_> =
            demand::insert(connection, &demands).await?.into_iter().collect();
        let mut told = HashSet::new();
        for demand in &demands {
            let key = (demand.tenant, demand.id);
            if inserted.contains(&key) && told.insert(key) {
                work.created(demand, "threshold_crossed");
            }
        }
        Ok(work.write(connection).await?)
    }

    fn concerns(&self, entry: &Entry) -> bool {
        // What does not decode is for `handle` to blame.
        let crosses = !events::crossings(entry).is_ok_and(|crossings| crossings.is_empty());
        crosses || !events::erased(entry).is_ok_and(|part| part.is_none())
    }

    fn committed(&self, _entries: &[Entry]) {
        self.0.tail.wake();
        self.0.tail.pass_receipts();
    }
}

fn concerns(part: &Part, demand: &Demand) -> bool {
    part.tenant == demand.tenant && part.customers.contains(&demand.customer)
}

async fn hold(
    connection: &mut PgConnection,
    demands: &[Demand],
) -> Result<HashSet<(TenantId, String)>, StoreError> {
    let mut names: Vec<(TenantId, &str)> =
        demands.iter().map(|demand| (demand.tenant, demand.policy.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    policies::hold::<Policy>(connection, &names).await
}

impl Thresholds {
    /// One demand for each policy with a trigger on this threshold.
    async fn demands(
        &self,
        tenant: TenantId,
        crossing: &Crossing,
        now_us: i64,
    ) -> Result<Vec<Demand>, StoreError> {
        let policies = self.0.configuration.policies(tenant).await?;
        let mut demands = Vec::new();
        for (name, policy) in policies.iter() {
            let hit = |trigger: &&Trigger| {
                trigger.scorer == crossing.scorer && trigger.threshold == crossing.threshold
            };
            for trigger in policy.triggers.iter().filter(hit) {
                let mut demand = Demand::new(NewDemand {
                    tenant,
                    id: self.demand_id(tenant, name, trigger, crossing)?,
                    customer: crossing.customer,
                    kind: trigger.demand_kind.clone(),
                    policy: name.clone(),
                    policy_version: policy.version,
                    sla_us: policy.sla_us,
                    required_skills: Vec::new(),
                    priority: trigger.priority,
                    event_us: crossing.at_us,
                    now_us,
                });
                demand.score_due_us = Some(now_us);
                demand.wake_us = now_us + GRACE_US;
                demands.push(demand);
            }
        }
        Ok(demands)
    }

    fn demand_id(
        &self,
        tenant: TenantId,
        policy: &str,
        trigger: &Trigger,
        crossing: &Crossing,
    ) -> Result<DemandId, StoreError> {
        let lookup = self.0.keys.lookup().tenant(tenant)?;
        // Names hold no zero byte.
        let mut key = crossing.customer.as_bytes().to_vec();
        key.extend_from_slice(&crossing.since.to_be_bytes());
        for name in [policy, &trigger.scorer, &trigger.threshold, &trigger.demand_kind] {
            key.extend_from_slice(name.as_bytes());
            key.push(0);
        }
        Ok(DemandId::new(Uuid::new_v8(blind::short_index(&lookup, "demand.crossing", &key))))
    }
}
