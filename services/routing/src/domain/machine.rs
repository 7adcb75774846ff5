//! The life of a demand: what each command does in each state, as one pure function.
//!
//! ```text
//! queued ─offer─► offered ─accept─► accepted ─start─► in progress ─close─► closed
//!    ▲               │ decline, time-out   └───────────── close ──────────────▲
//!    └───────────────┘
//! ```
//! Whatever changes a demand counts its version up by one and is told by one [`Transition`]. A
//! repeated command of the agent who gave it first succeeds again and changes nothing.

use kernel::OfferId;

use super::{Closing, Demand, Offer, OfferState, Score, State};

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
        Command::Score(scores) => {
            demand.score_due_us = None;
            if demand.state == State::Closed {
                return Err(Refusal::WrongState("the demand is closed"));
            }
            if demand.state == State::Queued {
                demand.wake_us = now_us;
            }
            demand.scores = scores;
            Ok(change(demand, demand.state, "scored", now_us, Effect::None))
        }
    }
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
mod tests {
    use kernel::{CustomerId, DemandId, TenantId};
    use uuid::Uuid;

    use super::*;
    use crate::domain::demand::NewDemand;
    use crate::domain::{Money, Outcome};

    const NOW: i64 = 1_000_000;
    const TIMING: Timing = Timing {
        retry_min_us: 1_000,
        retry_max_us: 60_000,
        exclusion_us: 600,
        reoffer_pause_us: 5,
        reminder_us: 100,
    };

    fn offer(state: OfferState) -> Offer {
        Offer {
            tenant: TenantId::new(Uuid::from_u128(1)),
            id: OfferId::new(Uuid::from_u128(4)),
            demand: DemandId::new(Uuid::from_u128(2)),
            agent: "ann".to_owned(),
            state,
            created_us: 0,
            expire_us: NOW + 10,
        }
    }

    fn closing() -> Closing {
        Closing { outcome: Outcome::Won, value: None, reason: String::new() }
    }

    /// A demand brought into `state` by commands alone.
    fn demand_in(state: State) -> Demand {
        let mut demand = Demand::new(NewDemand {
            tenant: TenantId::new(Uuid::from_u128(1)),
            id: DemandId::new(Uuid::from_u128(2)),
            customer: CustomerId::new(Uuid::from_u128(3)),
            kind: "lead".to_owned(),
            policy: "default".to_owned(),
            policy_version: 1,
            sla_us: Some(5),
            required_skills: Vec::new(),
            priority: 0,
            event_us: 0,
            now_us: NOW - 10,
        });
        for command in commands(OfferState::Pending) {
            if demand.state == state {
                break;
            }
            if matches!(
                command,
                Command::Offer { .. }
                    | Command::Accept { .. }
                    | Command::Start { .. }
                    | Command::Close { .. }
            ) {
                apply(&mut demand, command, NOW - 1, &TIMING).expect("the straight way");
            }
        }
        assert_eq!(demand.state, state);
        demand
    }

    fn commands(state: OfferState) -> Vec<Command> {
        let ann = || "ann".to_owned();
        vec![
            Command::Offer {
                offer: offer(state).id,
                agent: ann(),
                team: "north".to_owned(),
                policy_version: 2,
                expire_us: NOW + 10,
            },
            Command::Accept { offer: offer(state), agent: ann() },
            Command::Start { agent: ann() },
            Command::Close { agent: ann(), closing: closing(), event_us: None },
            Command::Decline { offer: offer(state), agent: ann(), reason: "busy".to_owned() },
            Command::TimeOut,
            Command::Breach,
            Command::Remind,
            Command::Score(Vec::new()),
        ]
    }

    fn name(command: &Command) -> &'static str {
        match command {
            Command::Offer { .. } => "offer",
            Command::Accept { .. } => "accept",
            Command::Decline { .. } => "decline",
            Command::Start { .. } => "start",
            Command::Close { .. } => "close",
            Command::TimeOut => "time-out",
            Command::Breach => "breach",
            Command::Remind => "remind",
            Command::Score(_) => "score",
        }
    }

    /// Each row: a command, then what it leads to from queued, offered, accepted, in progress,
    /// closed. `=` had been done before, `gone` and `no` are refusals. Long after all timers.
    const TABLE: &[(&str, [&str; 5])] = &[
        ("offer", ["Offered", "no", "no", "no", "no"]),
        ("accept", ["gone", "gone", "=", "=", "="]),
        ("decline", ["gone", "Queued", "no", "no", "no"]),
        ("start", ["no", "no", "InProgress", "=", "no"]),
        ("close", ["no", "no", "Closed", "Closed", "="]),
        ("time-out", ["no", "Queued", "no", "no", "no"]),
        ("breach", ["Queued", "Offered", "Accepted", "no", "no"]),
        ("remind", ["no", "no", "Accepted", "InProgress", "no"]),
        ("score", ["Queued", "Offered", "Accepted", "InProgress", "no"]),
    ];

    #[test]
    fn every_command_in_every_state_does_what_the_table_says() {
        for command in commands(OfferState::Pending) {
            let (_, row) = TABLE.iter().find(|(row, _)| *row == name(&command)).expect("a row");
            for (state, expected) in State::ALL.into_iter().zip(row) {
                let before = demand_in(state);
                let mut demand = before.clone();
                let result = apply(&mut demand, command.clone(), NOW + 1_000, &TIMING);
                let told = match &result {
                    Ok(Some(change)) => format!("{:?}", change.transition.state),
                    Ok(None) => "=".to_owned(),
                    Err(Refusal::OfferGone) => "gone".to_owned(),
                    Err(_) => "no".to_owned(),
                };
                assert_eq!(told, *expected, "{} while {state:?}", name(&command));
                match result {
                    Ok(Some(change)) => {
                        assert_eq!(demand.version, before.version + 1);
                        assert_eq!(change.transition.version, demand.version);
                        assert_eq!(change.transition.previous, Some(state));
                    }
                    _ => assert_eq!(demand.version, before.version),
                }
                let closed = demand.state == State::Closed;
                assert_eq!(demand.next_action_us().is_none(), closed);
            }
        }
    }

    #[test]
    fn an_offer_in_time_is_taken_by_its_agent_only() {
        let mut demand = demand_in(State::Offered);
        let accept = |agent: &str| Command::Accept {
            offer: offer(OfferState::Pending),
            agent: agent.to_owned(),
        };
        let foreign = apply(&mut demand, accept("bob"), NOW, &TIMING);
        assert_eq!(foreign, Err(Refusal::NotFound("the offer")));
        let change = apply(&mut demand, accept("ann"), NOW, &TIMING).expect("in time");
        assert_eq!(change.expect("a change").effect, Effect::Taken);
    }

    #[test]
    fn a_repeated_decline_succeeds_also_when_the_demand_has_gone_on() {
        let mut demand = demand_in(State::Queued);
        let again = Command::Decline {
            offer: offer(OfferState::Declined),
            agent: "ann".to_owned(),
            reason: String::new(),
        };
        assert_eq!(apply(&mut demand, again, NOW, &TIMING), Ok(None));
    }

    #[test]
    fn closing_again_with_another_result_is_refused() {
        let mut demand = demand_in(State::Closed);
        let value = Some(Money { currency: "EUR".to_owned(), units: 1, nanos: 0 });
        let other = Closing { value, ..closing() };
        let command = Command::Close { agent: "ann".to_owned(), closing: other, event_us: None };
        assert!(matches!(
            apply(&mut demand, command, NOW, &TIMING),
            Err(Refusal::WrongState(_))
        ));
    }

    #[test]
    fn the_sla_is_broken_once_and_the_timer_of_the_state_goes_on() {
        let mut demand = demand_in(State::Queued);
        demand.wake_us = NOW + 50;
        assert_eq!(demand.next_action_us(), Some(NOW - 5));
        assert!(apply(&mut demand, Command::Breach, NOW, &TIMING).is_ok());
        assert_eq!(demand.next_action_us(), Some(NOW + 50));
        assert!(apply(&mut demand, Command::Breach, NOW, &TIMING).is_err());
    }

    #[test]
    fn waiting_grows_up_to_its_bound() {
        let waits: Vec<i64> = (0..8).map(|attempts| TIMING.retry_us(attempts)).collect();
        assert_eq!(waits[..3], [1_000, 2_000, 4_000]);
        assert_eq!(TIMING.retry_us(1_000), 60_000);
    }
}
