//! The life of a demand: what each command does in each state, as one pure function.
//!
//! ```text
//! queued ─offer─► offered ─accept─► accepted ─start─► in progress ─close─► closed
//!    ▲               │ decline, time-out   └───────────── close ──────────────▲
//!    └───────────────┘           (erase: from every state to closed)
//! ```
//! Whatever changes a demand counts its version up by one and is told by one [`Transition`]. A
//! repeated command of the agent who gave it first succeeds again and changes nothing.

use kernel::{CustomerId, OfferId};
use uuid::Uuid;

use super::{Closing, Demand, Offer, OfferState, Outcome, Score, State};

/// The times that the state machine and the router go by, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) retry_min_us: i64,
    pub(crate) retry_max_us: i64,
    pub(crate) exclusion_us: i64,
    pub(crate) reoffer_pause_us: i64,
    pub(crate) reminder_us: i64,
}

impl Timing {
    /// How long a demand that fits nobody waits after so many attempts.
    pub(crate) fn retry_us(&self, attempts: i32) -> i64 {
        let doublings = attempts.clamp(0, 30);
        self.retry_min_us.saturating_mul(1 << doublings).min(self.retry_max_us)
    }
}

/// What somebody, or time, wants of a demand.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// The router offers it.
    Offer { offer: OfferId, agent: String, team: String, policy_version: i64, expire_us: i64 },
    /// The agent takes the offer.
    Accept { offer: Offer, agent: String },
    /// The agent gives the offer back.
    Decline { offer: Offer, agent: String, reason: String },
    /// The agent begins to work.
    Start { agent: String },
    /// The agent is done.
    Close { agent: String, closing: Closing, event_us: Option<i64> },
    /// The offer was not answered in time.
    TimeOut,
    /// Work should have begun by now.
    Breach,
    /// Accepted or in progress for long.
    Remind,
    /// It is scored after all.
    Score(Vec<Score>),
    /// Its customer is erased.
    Erase,
}

/// Why a command is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not the caller's to see.
    NotFound(&'static str),
    /// The offer ended otherwise.
    OfferGone,
    /// The state does not allow it.
    WrongState(&'static str),
}

/// One change of a demand, as it is kept and told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transition {
    pub(crate) previous: Option<State>,
    pub(crate) state: State,
    pub(crate) version: i64,
    /// Who acted, or to whom it was offered; empty if nobody.
    pub(crate) agent: String,
    pub(crate) offer: Option<OfferId>,
    pub(crate) cause: &'static str,
    pub(crate) event_us: i64,
}

/// What a command changed besides the demand itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) transition: Transition,
    pub(crate) effect: Effect,
}

/// What follows for offers, assignments and the load of `transition.agent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// An offer begins: load + 1.
    Offered { expire_us: i64 },
    /// The offer becomes an assignment: the load stays.
    Taken,
    /// The offer ends: load − 1.
    Returned { state: OfferState, reason: String },
    /// The assignment ends: load − 1.
    Released,
}

/// The transition of a new demand.
pub(crate) fn created(demand: &Demand, cause: &'static str) -> Transition {
    Transition {
        previous: None,
        state: demand.state,
        version: demand.version,
        agent: String::new(),
        offer: None,
        cause,
        event_us: demand.created_us,
    }
}

/// Applies a command; `None` when it had been carried out before.
pub(crate) fn apply(
    demand: &mut Demand,
    command: Command,
    now_us: i64,
    timing: &Timing,
) -> Result<Option<Change>, Refusal> {
    match command {
        Command::Offer { offer, agent, team, policy_version, expire_us } => {
            if demand.state != State::Queued {
                return Err(Refusal::WrongState("the demand is not queued"));
            }
            demand.agent = agent;
            demand.team = team;
            demand.offer = Some(offer);
            demand.policy_version = policy_version;
            demand.offers += 1;
            demand.wake_us = expire_us;
            Ok(change(demand, State::Offered, "offered", now_us, Effect::Offered { expire_us }))
        }
        Command::Accept { offer, agent } => accept(demand, &offer, &agent, now_us, timing),
        Command::Decline { offer, agent, reason } => {
            decline(demand, &offer, &agent, reason, now_us)
        }
        Command::Start { agent } => start(demand, &agent, now_us, timing),
        Command::Close { agent, closing, event_us } => {
            close(demand, &agent, closing, event_us.unwrap_or(now_us))
        }
        Command::TimeOut => {
            if demand.state != State::Offered || demand.wake_us > now_us {
                return Err(Refusal::WrongState("no offer has timed out"));
            }
            Ok(requeue(demand, OfferState::TimedOut, String::new(), "offer_timed_out", now_us))
        }
        Command::Breach => {
            if demand.sla_us().is_none_or(|due| due > now_us) {
                return Err(Refusal::WrongState("the demand is within its SLA"));
            }
            demand.breached = true;
            Ok(change(demand, demand.state, "sla_breached", now_us, Effect::None))
        }
        Command::Remind => {
            let held = matches!(demand.state, State::Accepted | State::InProgress);
            if !held || demand.wake_us > now_us {
                return Err(Refusal::WrongState("there is nothing to remind of"));
            }
            demand.wake_us = now_us.saturating_add(timing.reminder_us);
            Ok(change(demand, demand.state, "reminded", now_us, Effect::None))
        }
        Command::Score(scores) => score(demand, scores, now_us),
        Command::Erase => Ok(erase(demand, now_us)),
    }
}

/// Closes it in whatever state, and takes off what leads to the customer. Of one that is closed
/// nothing is told: what came of it stays.
fn erase(demand: &mut Demand, now_us: i64) -> Option<Change> {
    let effect = match demand.state {
        State::Queued | State::Closed => Effect::None,
        State::Offered => Effect::Returned { state: OfferState::TimedOut, reason: String::new() },
        State::Accepted | State::InProgress => Effect::Released,
    };
    demand.customer = CustomerId::new(Uuid::nil());
    demand.scores.clear();
    demand.score_due_us = None;
    demand.traceparent = None;
    if demand.state == State::Closed {
        if let Some(closing) = &mut demand.closing {
            closing.reason.clear();
        }
        return None;
    }
    let reason = "erased".to_owned();
    demand.closing = Some(Closing { outcome: Outcome::Erased, value: None, reason });
    change(demand, State::Closed, "erased", now_us, effect)
}

fn score(demand: &mut Demand, scores: Vec<Score>, now_us: i64) -> Result<Option<Change>, Refusal> {
    demand.score_due_us = None;
    if demand.state != State::Queued {
        // A score that comes after the choice was no reason for it, and what happened since
        // must not become a feature of its own outcome.
        return Err(Refusal::WrongState("the demand went on without scores"));
    }
    demand.wake_us = now_us;
    demand.scores = scores;
    Ok(change(demand, demand.state, "scored", now_us, Effect::None))
}

fn accept(
    demand: &mut Demand,
    offer: &Offer,
    agent: &str,
    now_us: i64,
    timing: &Timing,
) -> Result<Option<Change>, Refusal> {
    if offer.agent != agent {
        return Err(Refusal::NotFound("the offer"));
    }
    if demand.offer != Some(offer.id) {
        return Err(Refusal::OfferGone);
    }
    match demand.state {
        State::Offered if demand.wake_us <= now_us => Err(Refusal::OfferGone),
        State::Offered => {
            demand.wake_us = now_us.saturating_add(timing.reminder_us);
            Ok(change(demand, State::Accepted, "accepted", now_us, Effect::Taken))
        }
        State::Accepted | State::InProgress | State::Closed => Ok(None),
        State::Queued => Err(Refusal::OfferGone),
    }
}

fn decline(
    demand: &mut Demand,
    offer: &Offer,
    agent: &str,
    reason: String,
    now_us: i64,
) -> Result<Option<Change>, Refusal> {
    if offer.agent != agent {
        return Err(Refusal::NotFound("the offer"));
    }
    if offer.state == OfferState::Declined {
        return Ok(None);
    }
    if demand.offer != Some(offer.id) {
        return Err(Refusal::OfferGone);
    }
    match demand.state {
        State::Offered => Ok(requeue(demand, OfferState::Declined, reason, "declined", now_us)),
        _ => Err(Refusal::WrongState("the offer was accepted")),
    }
}

fn start(
    demand: &mut Demand,
    agent: &str,
    now_us: i64,
    timing: &Timing,
) -> Result<Option<Change>, Refusal> {
    let state = demand.state;
    match state {
        State::Accepted | State::InProgress if demand.agent != agent => {
            Err(Refusal::WrongState("another agent has the demand"))
        }
        State::Accepted => {
            demand.wake_us = now_us.saturating_add(timing.reminder_us);
            Ok(change(demand, State::InProgress, "started", now_us, Effect::None))
        }
        State::InProgress => Ok(None),
        State::Queued | State::Offered => {
            Err(Refusal::WrongState("nobody has accepted the demand"))
        }
        State::Closed => Err(Refusal::WrongState("the demand is closed")),
    }
}

fn close(
    demand: &mut Demand,
    agent: &str,
    closing: Closing,
    event_us: i64,
) -> Result<Option<Change>, Refusal> {
    match demand.state {
        State::Closed if demand.agent == agent && demand.closing.as_ref() == Some(&closing) => {
            Ok(None)
        }
        State::Closed => Err(Refusal::WrongState("the demand was closed with another result")),
        State::Queued | State::Offered => {
            Err(Refusal::WrongState("nobody has accepted the demand"))
        }
        _ if demand.agent != agent => Err(Refusal::WrongState("another agent has the demand")),
        State::Accepted | State::InProgress => {
            demand.closing = Some(closing);
            demand.score_due_us = None;
            Ok(change(demand, State::Closed, "closed", event_us, Effect::Released))
        }
    }
}

/// Back to the queue, to be routed at once.
fn requeue(
    demand: &mut Demand,
    state: OfferState,
    reason: String,
    cause: &'static str,
    now_us: i64,
) -> Option<Change> {
    let agent = std::mem::take(&mut demand.agent);
    let offer = demand.offer.take();
    demand.team.clear();
    demand.wake_us = now_us;
    demand.attempts = 0;
    let returned = Effect::Returned { state, reason };
    let mut change = change(demand, State::Queued, cause, now_us, returned)?;
    change.transition.agent = agent;
    change.transition.offer = offer;
    Some(change)
}

fn change(
    demand: &mut Demand,
    state: State,
    cause: &'static str,
    event_us: i64,
    effect: Effect,
) -> Option<Change> {
    let previous = Some(demand.state);
    demand.state = state;
    demand.version += 1;
    let transition = Transition {
        previous,
        state,
        version: demand.version,
        agent: demand.agent.clone(),
        offer: demand.offer,
        cause,
        event_us,
    };
    Some(Change { transition, effect })
}

#[cfg(test)]
mod tests;
