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
        Command::Erase,
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
        Command::Erase => "erase",
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
    ("score", ["Queued", "no", "no", "no", "no"]),
    ("erase", ["Closed", "Closed", "Closed", "Closed", "="]),
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
    assert!(matches!(apply(&mut demand, command, NOW, &TIMING), Err(Refusal::WrongState(_))));
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
fn an_erased_demand_leads_to_nobody_and_frees_who_had_it() {
    for state in State::ALL {
        let mut demand = demand_in(state);
        let change = apply(&mut demand, Command::Erase, NOW, &TIMING).expect("never refused");
        assert!(demand.customer.uuid().is_nil() && demand.scores.is_empty(), "{state:?}");
        let expected = match state {
            State::Queued => Some(Effect::None),
            State::Offered => {
                Some(Effect::Returned { state: OfferState::TimedOut, reason: String::new() })
            }
            State::Accepted | State::InProgress => Some(Effect::Released),
            State::Closed => None,
        };
        assert_eq!(change.map(|change| change.effect), expected);
        let won = state == State::Closed;
        let outcome = demand.closing.expect("closed").outcome;
        assert_eq!(outcome, if won { Outcome::Won } else { Outcome::Erased });
    }
}

#[test]
fn waiting_grows_up_to_its_bound() {
    let waits: Vec<i64> = (0..8).map(|attempts| TIMING.retry_us(attempts)).collect();
    assert_eq!(waits[..3], [1_000, 2_000, 4_000]);
    assert_eq!(TIMING.retry_us(1_000), 60_000);
}
