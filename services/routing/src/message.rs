//! Domain values as the messages of the contract, for answers and for the feed.

use contracts::google::r#type::Money;
use contracts::routing::v1 as proto;
use prost_types::{Duration, Timestamp};

use crate::domain::hours::{self, WorkingHours};
use crate::domain::plan::Seat;
use crate::domain::rank::Candidate;
use crate::domain::{Agent, Demand, Offer, OfferState, Policy, Presence, State, Team};
use crate::store::decision::Decision;
use crate::store::transition::Past;

pub(crate) fn timestamp(us: i64) -> Timestamp {
    let nanos = us.rem_euclid(1_000_000) as i32 * 1_000;
    Timestamp { seconds: us.div_euclid(1_000_000), nanos }
}

fn duration(us: i64) -> Duration {
    Duration { seconds: us / 1_000_000, nanos: (us % 1_000_000) as i32 * 1_000 }
}

pub(crate) fn demand_state(state: State) -> proto::DemandState {
    match state {
        State::Queued => proto::DemandState::Queued,
        State::Offered => proto::DemandState::Offered,
        State::Accepted => proto::DemandState::Accepted,
        State::InProgress => proto::DemandState::InProgress,
        State::Closed => proto::DemandState::Closed,
    }
}

fn score(score: &crate::domain::Score) -> proto::UsedScore {
    proto::UsedScore {
        scorer: score.scorer.clone(),
        scorer_version: score.version,
        value: score.value,
        probability: score.probability,
    }
}

pub(crate) fn demand(demand: &Demand) -> proto::Demand {
    let closing = demand.closing.as_ref();
    let value = closing.and_then(|closing| closing.value.as_ref());
    proto::Demand {
        demand_id: demand.id.to_string(),
        customer_id: demand.customer.to_string(),
        kind: demand.kind.clone(),
        policy: demand.policy.clone(),
        state: demand_state(demand.state).into(),
        version: demand.version,
        required_skills: demand.required_skills.clone(),
        priority: demand.priority.into(),
        agent: demand.agent.clone(),
        team: demand.team.clone(),
        event_time: Some(timestamp(demand.event_us)),
        create_time: Some(timestamp(demand.created_us)),
        due_time: demand.due_us.map(timestamp),
        next_action_time: demand.next_action_us().map(timestamp),
        scores: demand.scores.iter().map(score).collect(),
        // The numbers are the contract's.
        result: closing.map_or(0, |closing| closing.outcome as i32),
        value: value.map(|money| Money {
            currency_code: money.currency.clone(),
            units: money.units,
            nanos: money.nanos,
        }),
        result_reason: closing.map(|closing| closing.reason.clone()).unwrap_or_default(),
    }
}

pub(crate) fn transition(past: Past) -> proto::Transition {
    proto::Transition {
        state: demand_state(past.state).into(),
        version: past.version,
        event_time: Some(timestamp(past.event_us)),
        agent: past.agent,
        cause: past.cause,
    }
}

pub(crate) fn offer_state(state: OfferState) -> proto::OfferState {
    match state {
        OfferState::Pending => proto::OfferState::Pending,
        OfferState::Accepted => proto::OfferState::Accepted,
        OfferState::Declined => proto::OfferState::Declined,
        OfferState::TimedOut => proto::OfferState::TimedOut,
    }
}

pub(crate) fn offer(offer: &Offer, of: &Demand) -> proto::Offer {
    let pending = offer.state == OfferState::Pending;
    proto::Offer {
        offer_id: offer.id.to_string(),
        agent: offer.agent.clone(),
        demand: Some(demand(of)),
        state: offer_state(offer.state).into(),
        expire_time: pending.then(|| timestamp(offer.expire_us)),
    }
}

pub(crate) fn decision(decision: Decision) -> proto::Decision {
    proto::Decision {
        offer_id: decision.offer.to_string(),
        agent: decision.agent,
        event_time: Some(timestamp(decision.at_us)),
        policy_version: decision.policy_version,
        candidates: decision.candidates.into_iter().map(candidate).collect(),
    }
}

fn candidate(candidate: Candidate) -> proto::Candidate {
    let part =
        |part: crate::domain::rank::Part| proto::RankPart { name: part.name, amount: part.amount };
    proto::Candidate {
        agent: candidate.agent,
        excluded_by: candidate.excluded_by,
        rank: candidate.rank,
        parts: candidate.parts.into_iter().map(part).collect(),
    }
}

fn working_hours(of: &WorkingHours) -> proto::WorkingHours {
    let interval = |interval: &hours::Interval| proto::WeeklyInterval {
        weekdays: interval.weekdays.iter().map(|day| i32::from(*day)).collect(),
        start: hours::hours_and_minutes(interval.start),
        end: hours::hours_and_minutes(interval.end),
    };
    proto::WorkingHours {
        time_zone: of.time_zone.clone(),
        intervals: of.intervals.iter().map(interval).collect(),
    }
}

/// What the server knows about a resource besides its content.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    pub(crate) version: i64,
    pub(crate) etag: String,
    pub(crate) updated_us: i64,
}

fn meta(meta: &Meta) -> contracts::common::v1::ResourceMeta {
    contracts::common::v1::ResourceMeta {
        version: meta.version,
        etag: meta.etag.clone(),
        update_time: Some(timestamp(meta.updated_us)),
    }
}

pub(crate) fn team(name: &str, team: &Team, known: &Meta) -> proto::Team {
    proto::Team {
        name: name.to_owned(),
        display_name: team.display_name.clone(),
        working_hours: team.hours.as_ref().map(working_hours),
        meta: Some(meta(known)),
    }
}

pub(crate) fn agent(name: &str, agent: &Agent, seat: &Seat, known: &Meta) -> proto::Agent {
    let presence = match seat.presence {
        Presence::Online => proto::Presence::Online,
        Presence::Away => proto::Presence::Away,
        Presence::Offline => proto::Presence::Offline,
    };
    proto::Agent {
        name: name.to_owned(),
        team: agent.team.clone(),
        skills: agent
            .skills
            .iter()
            .map(|(skill, level)| (skill.clone(), (*level).into()))
            .collect(),
        capacity: agent.capacity,
        working_hours: agent.hours.as_ref().map(working_hours),
        presence: presence.into(),
        load: seat.load,
        meta: Some(meta(known)),
    }
}

pub(crate) fn policy(name: &str, policy: &Policy, known: &Meta) -> proto::RoutingPolicy {
    let trigger = |trigger: &crate::domain::policy::Trigger| proto::ThresholdTrigger {
        scorer: trigger.scorer.clone(),
        threshold: trigger.threshold.clone(),
        demand_kind: trigger.demand_kind.clone(),
        priority: trigger.priority.into(),
    };
    proto::RoutingPolicy {
        name: name.to_owned(),
        eligibility: policy.eligibility.clone(),
        weights: policy.weights.map(|weights| proto::RankWeights {
            spare_capacity: weights.spare_capacity,
            skill_level: weights.skill_level,
            idle_time: weights.idle_time,
            same_agent: weights.same_agent,
        }),
        offer_timeout: policy.offer_timeout_us.map(duration),
        sla: policy.sla_us.map(duration),
        triggers: policy.triggers.iter().map(trigger).collect(),
        description: policy.description.clone(),
        meta: Some(meta(known)),
    }
}
