//! New demands: scored first, then queued. A repeated request id answers the same demand.

use std::collections::HashSet;
use std::sync::Arc;

use ::store::idempotency::{self, Begun, Call as Repeatable};
use ::store::{Error as StoreError, blind};
use feed::receipt;
use kernel::{CustomerId, DemandId, RequestId, TenantId, Violations};
use server::Call;
use sqlx::PgConnection;
use uuid::Uuid;

use super::commit::{NewRequest, Outcome, Repeat, Request};
use super::score::{self, Scored, Use};
use super::work::{Work, of_feed};
use super::{App, now_us};
use crate::Error;
use crate::domain::demand::NewDemand;
use crate::domain::{Demand, Policy, policy};
use crate::store::{demand, policy as policies};

/// The name under which request ids are kept.
const METHOD: &str = "rapport.routing.v1.RoutingService/CreateDemand";

/// What a caller wants handled.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) customer: CustomerId,
    pub(crate) kind: String,
    pub(crate) policy: String,
    pub(crate) required_skills: Vec<String>,
    pub(crate) priority: i16,
    pub(crate) event_us: Option<i64>,
    pub(crate) at_least_profile_version: i64,
    pub(crate) request_id: Option<RequestId>,
    /// The encoded request without its request id.
    pub(crate) body: Vec<u8>,
}

impl App {
    /// Scores, inserts and queues a demand. It is created even if scoring is away.
    pub(crate) async fn create(&self, call: &Call, wanted: Wanted) -> Result<Demand, Error> {
        let tenant = call.tenant();
        let policies = self.configuration.policies(tenant).await?;
        let known = policies.get(&wanted.policy).ok_or_else(unknown_policy)?;
        let repeat = self.repeat(call, &wanted)?;
        let now_us = now_us();
        let mut demand = Demand::new(NewDemand {
            tenant,
            id: self.demand_id(tenant, repeat.as_ref())?,
            customer: wanted.customer,
            kind: wanted.kind,
            policy: wanted.policy,
            policy_version: known.version,
            sla_us: known.sla_us,
            required_skills: wanted.required_skills,
            priority: wanted.priority,
            event_us: wanted.event_us.unwrap_or(now_us),
            now_us,
        });
        let usage = Use::of(&demand, wanted.at_least_profile_version);
        match score::score(&self.scoring, call, &usage, self.config.scoring_timeout()).await {
            Scored::Scores(scores) => demand.scores = scores,
            Scored::Unknown => {}
            Scored::NotYet | Scored::Later => {
                demand.score_due_us = Some(now_us + self.config.rescore_after_us(0))
            }
        }
        demand.traceparent = server::layers::trace::traceparent();
        let request = NewRequest { demand, repeat };
        self.submit(Request::Create(Box::new(request))).await
    }

    fn repeat(&self, call: &Call, wanted: &Wanted) -> Result<Option<Repeat>, Error> {
        let Some(request_id) = wanted.request_id else { return Ok(None) };
        let lookup = self.keys.lookup().tenant(call.tenant())?;
        let fingerprint = idempotency::fingerprint(&lookup, &wanted.body);
        let principal = call.principal().subject.clone();
        Ok(Some(Repeat { principal, request_id, fingerprint }))
    }

    /// The same for a repeated request, so that the use of its scores is logged once.
    fn demand_id(&self, tenant: TenantId, repeat: Option<&Repeat>) -> Result<DemandId, Error> {
        let Some(repeat) = repeat else { return Ok(DemandId::new(Uuid::now_v7())) };
        let lookup = self.keys.lookup().tenant(tenant)?;
        let mut name = repeat.request_id.as_bytes().to_vec();
        name.extend_from_slice(repeat.principal.as_bytes());
        let hash = blind::short_index(&lookup, "demand.request", &name);
        Ok(DemandId::new(Uuid::new_v8(hash)))
    }
}

fn unknown_policy() -> Error {
    Error::Invalid(Violations::of("policy", "does not exist"))
}

fn erased_customer() -> Error {
    let reason = "is of a customer who was erased: resolve the identifiers for the present one";
    Error::Invalid(Violations::of("customer_id", reason))
}

/// Inserts the new demands of a batch.
pub(super) async fn insert(
    connection: &mut PgConnection,
    requests: &[Arc<Request>],
    work: &mut Work,
    outcomes: &mut [Option<Outcome>],
) -> Result<(), StoreError> {
    let wanted = requests.iter().enumerate().filter_map(|(position, request)| match &**request {
        Request::Create(new) => Some((position, &**new)),
        Request::Act(_) => None,
    });
    let wanted: Vec<(usize, &NewRequest)> = wanted.collect();
    let customers: Vec<_> =
        wanted.iter().map(|(_, new)| (new.demand.tenant, new.demand.customer)).collect();
    let erased = receipt::erased_of(connection, &customers).await.map_err(of_feed)?;
    let (gone, wanted): (Vec<_>, Vec<_>) = wanted
        .into_iter()
        .partition(|(_, new)| erased.contains(&(new.demand.tenant, new.demand.customer)));
    for (position, _) in gone {
        outcomes[position] = Some(Err(erased_customer()));
    }
    let existing = hold_policies(connection, &wanted).await?;
    let (wanted, refused): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(_, new)| {
        let key = (new.demand.tenant, new.demand.policy.clone());
        new.demand.policy == policy::DEFAULT || existing.contains(&key)
    });
    for (position, _) in refused {
        outcomes[position] = Some(Err(unknown_policy()));
    }
    let mut fresh = Vec::new();
    let mut repeated = Vec::new();
    let begun = begin(connection, &wanted, work.now_us()).await?;
    for ((position, new), begun) in wanted.into_iter().zip(begun) {
        match begun {
            Ok(Begun::Fresh) => fresh.push((position, new)),
            Ok(Begun::Replay(_)) => repeated.push((position, new)),
            Err(error) => outcomes[position] = Some(Err(error.into())),
        }
    }
    let demands: Vec<Demand> = fresh.iter().map(|(_, new)| new.demand.clone()).collect();
    let inserted: HashSet<_> = demand::insert(connection, &demands).await?.into_iter().collect();
    for (position, new) in fresh {
        if inserted.contains(&(new.demand.tenant, new.demand.id)) {
            work.created(&new.demand, "created");
            outcomes[position] = Some(Ok(new.demand.clone()));
        } else {
            // The request log forgets after a day; the demand's id does not.
            repeated.push((position, new));
        }
    }
    let keys: Vec<_> = repeated.iter().map(|(_, new)| key(new)).collect();
    let found = demand::find(&mut *connection, &keys).await?;
    for (position, new) in repeated {
        let known = found.demands.iter().find(|demand| (demand.tenant, demand.id) == key(new));
        let damaged = found.damaged.iter().find(|(damaged, _)| *damaged == key(new));
        let absent =
            damaged.map_or(Error::NotFound("the demand"), |(_, error)| Error::Store(error.clone()));
        outcomes[position] = Some(known.cloned().ok_or(absent));
    }
    Ok(())
}

fn key(new: &NewRequest) -> demand::Key {
    (new.demand.tenant, new.demand.id)
}

/// Keeps the policies of new demands from being deleted before the commit.
async fn hold_policies(
    connection: &mut PgConnection,
    wanted: &[(usize, &NewRequest)],
) -> Result<HashSet<(TenantId, String)>, StoreError> {
    let mut names: Vec<(TenantId, &str)> = wanted
        .iter()
        .map(|(_, new)| (new.demand.tenant, new.demand.policy.as_str()))
        .filter(|(_, policy)| *policy != policy::DEFAULT)
        .collect();
    names.sort_unstable();
    names.dedup();
    policies::hold::<Policy>(connection, &names).await
}

/// Claims the request ids of those that have one; the others are fresh.
async fn begin(
    connection: &mut PgConnection,
    wanted: &[(usize, &NewRequest)],
    now_us: i64,
) -> Result<Vec<Result<Begun, StoreError>>, StoreError> {
    let calls: Vec<Repeatable<'_>> = wanted
        .iter()
        .filter_map(|(_, new)| {
            let repeat = new.repeat.as_ref()?;
            Some(Repeatable {
                tenant: new.demand.tenant,
                principal: &repeat.principal,
                method: METHOD,
                request_id: repeat.request_id,
                fingerprint: repeat.fingerprint,
                now_us,
            })
        })
        .collect();
    // The result id is a function of the request, so there is nothing to complete.
    let mut begun = idempotency::begin_many(connection, &calls).await?.into_iter();
    let mut answers = Vec::with_capacity(wanted.len());
    for (_, new) in wanted {
        let answer = match &new.repeat {
            Some(_) => begun.next().unwrap_or(Ok(Begun::Fresh)),
            None => Ok(Begun::Fresh),
        };
        answers.push(answer);
    }
    Ok(answers)
}
