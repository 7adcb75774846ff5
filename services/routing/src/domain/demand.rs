//! A customer's need that someone must handle.

use kernel::{CustomerId, DemandId, OfferId, Shard, TenantId};
use serde::{Deserialize, Serialize};

/// Where a demand stands. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Queued = 1,
    Offered = 2,
    Accepted = 3,
    InProgress = 4,
    Closed = 5,
}

impl State {
    pub(crate) const ALL: [Self; 5] =
        [Self::Queued, Self::Offered, Self::Accepted, Self::InProgress, Self::Closed];

    pub(crate) fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i16 == number)
    }
}

/// What came of a demand. The numbers are stored and those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Won = 1,
    Lost = 2,
    Solved = 3,
    Unsolved = 4,
    Spam = 5,
    NoAnswer = 6,
    /// The customer was erased while it was open.
    Erased = 7,
}

impl Outcome {
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        use Outcome::{Erased, Lost, NoAnswer, Solved, Spam, Unsolved, Won};
        let all = [Won, Lost, Solved, Unsolved, Spam, NoAnswer, Erased];
        all.into_iter().find(|outcome| *outcome as i32 == number)
    }
}

/// An amount, as in `google.type.Money`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Money {
    pub(crate) currency: String,
    pub(crate) units: i64,
    pub(crate) nanos: i32,
}

/// How a demand ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) outcome: Outcome,
    pub(crate) value: Option<Money>,
    pub(crate) reason: String,
}

/// A score at the time of use; finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Score {
    pub(crate) scorer: String,
    pub(crate) version: i64,
    pub(crate) value: f64,
    pub(crate) probability: Option<f64>,
}

/// A demand as it is stored. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Demand {
    pub(crate) tenant: TenantId,
    pub(crate) id: DemandId,
    pub(crate) customer: CustomerId,
    pub(crate) kind: String,
    pub(crate) policy: String,
    pub(crate) policy_version: i64,
    pub(crate) state: State,
    pub(crate) version: i64,
    pub(crate) required_skills: Vec<String>,
    pub(crate) priority: i16,
    /// Empty while queued.
    pub(crate) agent: String,
    pub(crate) team: String,
    /// The offer that is pending or was accepted; none while queued.
    pub(crate) offer: Option<OfferId>,
    pub(crate) event_us: i64,
    pub(crate) created_us: i64,
    /// Work must have begun by then.
    pub(crate) due_us: Option<i64>,
    /// It had not, and that was said.
    pub(crate) breached: bool,
    /// The timer of the state: next attempt, offer time-out, reminder. Unused once closed.
    pub(crate) wake_us: i64,
    /// Offers made so far.
    pub(crate) offers: i32,
    /// Attempts since it was last queued.
    pub(crate) attempts: i32,
    /// When it is to be scored (again); none when it is, or cannot be.
    pub(crate) score_due_us: Option<i64>,
    pub(crate) scores: Vec<Score>,
    pub(crate) closing: Option<Closing>,
    /// The W3C trace context of what created it.
    pub(crate) traceparent: Option<String>,
}

/// What a new demand is made from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewDemand {
    pub(crate) tenant: TenantId,
    pub(crate) id: DemandId,
    pub(crate) customer: CustomerId,
    pub(crate) kind: String,
    pub(crate) policy: String,
    pub(crate) policy_version: i64,
    pub(crate) sla_us: Option<i64>,
    pub(crate) required_skills: Vec<String>,
    pub(crate) priority: i16,
    pub(crate) event_us: i64,
    pub(crate) now_us: i64,
}

impl Demand {
    /// A queued demand, to be routed at once.
    pub(crate) fn new(new: NewDemand) -> Self {
        Self {
            tenant: new.tenant,
            id: new.id,
            customer: new.customer,
            kind: new.kind,
            policy: new.policy,
            policy_version: new.policy_version,
            state: State::Queued,
            version: 1,
            required_skills: new.required_skills,
            priority: new.priority,
            agent: String::new(),
            team: String::new(),
            offer: None,
            event_us: new.event_us,
            created_us: new.now_us,
            due_us: new.sla_us.map(|sla| new.now_us.saturating_add(sla)),
            breached: false,
            wake_us: new.now_us,
            offers: 0,
            attempts: 0,
            score_due_us: None,
            scores: Vec::new(),
            closing: None,
            traceparent: None,
        }
    }

    pub(crate) fn shard(&self) -> Shard {
        Shard::of(self.id.uuid())
    }

    /// Its place in the order of locks.
    pub(crate) fn key(&self) -> (TenantId, Shard, DemandId) {
        (self.tenant, self.shard(), self.id)
    }

    /// When the SLA will be broken unless work begins; none without, after, or once begun.
    pub(crate) fn sla_us(&self) -> Option<i64> {
        let waits = matches!(self.state, State::Queued | State::Offered | State::Accepted);
        self.due_us.filter(|_| waits && !self.breached)
    }

    /// When something happens by itself next; none only when closed.
    pub(crate) fn next_action_us(&self) -> Option<i64> {
        if self.state == State::Closed {
            return None;
        }
        Some(self.sla_us().map_or(self.wake_us, |due| due.min(self.wake_us)))
    }
}
