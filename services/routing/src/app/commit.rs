//! Group commit of what callers ask of demands: many requests, one transaction, one flush.

use std::collections::HashMap;
use std::sync::Arc;

use ::store::{Database, Error as StoreError};
use kernel::{DemandId, OfferId, RequestId, TenantId};
use sqlx::PgConnection;

use super::work::Work;
use super::{create, now_us};
use crate::Error;
use crate::domain::{Closing, Command, Demand, Offer, Score, Timing};
use crate::store::{demand, offer};

/// What is queued.
#[derive(Debug)]
pub(crate) enum Request {
    /// A new demand.
    Create(Box<NewRequest>),
    /// A command of an agent, or a late score.
    Act(Act),
}

/// A demand to be inserted.
#[derive(Debug)]
pub(crate) struct NewRequest {
    pub(crate) demand: Demand,
    pub(crate) repeat: Option<Repeat>,
}

/// How a repetition is recognised.
#[derive(Debug)]
pub(crate) struct Repeat {
    pub(crate) principal: String,
    pub(crate) request_id: RequestId,
    pub(crate) fingerprint: [u8; 32],
}

/// A command to an existing demand.
#[derive(Debug)]
pub(crate) struct Act {
    pub(crate) tenant: TenantId,
    pub(crate) verb: Verb,
    pub(crate) traceparent: Option<String>,
}

/// Which one.
#[derive(Debug)]
pub(crate) enum Verb {
    Accept { offer: OfferId, agent: String },
    Decline { offer: OfferId, agent: String, reason: String },
    Start { demand: DemandId, agent: String },
    Close { demand: DemandId, agent: String, closing: Closing, event_us: Option<i64> },
    Score { demand: DemandId, scores: Vec<Score> },
}

impl Verb {
    fn offer(&self) -> Option<OfferId> {
        match self {
            Self::Accept { offer, .. } | Self::Decline { offer, .. } => Some(*offer),
            _ => None,
        }
    }

    fn demand(&self) -> Option<DemandId> {
        match self {
            Self::Start { demand, .. }
            | Self::Close { demand, .. }
            | Self::Score { demand, .. } => Some(*demand),
            _ => None,
        }
    }

    fn command(&self, offer: Option<&Offer>) -> Option<Command> {
        Some(match self {
            Self::Accept { agent, .. } => {
                Command::Accept { offer: offer?.clone(), agent: agent.clone() }
            }
            Self::Decline { agent, reason, .. } => {
                let (agent, reason) = (agent.clone(), reason.clone());
                Command::Decline { offer: offer?.clone(), agent, reason }
            }
            Self::Start { agent, .. } => Command::Start { agent: agent.clone() },
            Self::Close { agent, closing, event_us, .. } => {
                let (agent, closing) = (agent.clone(), closing.clone());
                Command::Close { agent, closing, event_us: *event_us }
            }
            Self::Score { scores, .. } => Command::Score(scores.clone()),
        })
    }
}

/// The demand after the request, or why it was refused.
pub(crate) type Outcome = Result<Demand, Error>;

/// Writes a batch in one transaction; an outcome per request, in order.
pub(crate) async fn commit(
    database: &Database,
    requests: &[Arc<Request>],
    timing: &Timing,
) -> Result<Vec<Outcome>, StoreError> {
    ::store::transaction!(database, async |connection| {
        let mut work = Work::new(now_us(), timing);
        let mut outcomes: Vec<Option<Outcome>> = requests.iter().map(|_| None).collect();
        create::insert(connection, requests, &mut work, &mut outcomes).await?;
        act(connection, requests, &mut work, &mut outcomes).await?;
        work.write(connection).await?;
        let lost = || Err(Error::Store(StoreError::internal("a request has no outcome")));
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(lost)).collect())
    })
}

async fn act(
    connection: &mut PgConnection,
    requests: &[Arc<Request>],
    work: &mut Work,
    outcomes: &mut [Option<Outcome>],
) -> Result<(), StoreError> {
    let acts: Vec<(usize, &Act)> = requests
        .iter()
        .enumerate()
        .filter_map(|(position, request)| match &**request {
            Request::Act(act) => Some((position, act)),
            Request::Create(_) => None,
        })
        .collect();
    if acts.is_empty() {
        return Ok(());
    }
    let offers: Vec<(TenantId, OfferId)> =
        acts.iter().filter_map(|(_, act)| Some((act.tenant, act.verb.offer()?))).collect();
    // An offer never changes its demand, so this read may be before the lock …
    let found = offer::find(connection, &offers).await?;
    let mut keys: Vec<(TenantId, DemandId)> =
        acts.iter().filter_map(|(_, act)| Some((act.tenant, act.verb.demand()?))).collect();
    keys.extend(found.iter().map(|offer| (offer.tenant, offer.demand)));
    keys.sort_unstable();
    keys.dedup();
    let locked = demand::lock(connection, &keys).await?;
    work.hold(locked.demands);
    let damaged: HashMap<_, _> = locked.damaged.into_iter().collect();
    // … but how it ended is known only behind the lock of its demand.
    let found = offer::find(connection, &offers).await?;
    for (position, act) in acts {
        let offer = act
            .verb
            .offer()
            .and_then(|id| found.iter().find(|offer| offer.tenant == act.tenant && offer.id == id));
        let demand = act.verb.demand().or(offer.map(|offer| offer.demand));
        if let Some(error) = demand.and_then(|demand| damaged.get(&(act.tenant, demand))) {
            // This request fails, not the group.
            outcomes[position] = Some(Err(Error::Store(error.clone())));
            continue;
        }
        let outcome = match (demand, act.verb.command(offer)) {
            (Some(demand), Some(command)) => work
                .apply(act.tenant, demand, command, act.traceparent.clone())
                .map_err(Error::from),
            _ => Err(Error::NotFound("the offer")),
        };
        outcomes[position] = Some(outcome);
    }
    Ok(())
}
