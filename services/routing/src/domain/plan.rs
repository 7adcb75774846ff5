//! One micro-batch of the router: which demand is offered to whom, which waits until when.
//!
//! A pure function of demands, agents, policies and time: the same inputs give the same plan.
//! O(demands × agents). Demands come in the order in which they are to be served; an offer made
//! in the batch counts as load for the next one.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use kernel::{CustomerId, DemandId};

use super::eligibility::Facts;
use super::hours::Calendar;
use super::policy::Compiled;
use super::rank::{self, Candidate, Parts};
use super::{Demand, Presence, Timing};

/// The most candidates that a decision keeps.
const KEPT_CANDIDATES: usize = 50;

/// An agent as configured, ready to be asked.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) team: String,
    pub(crate) team_display_name: String,
    pub(crate) skills: BTreeMap<String, u8>,
    pub(crate) skill_names: Vec<String>,
    pub(crate) capacity: i32,
    pub(crate) calendar: Option<Calendar>,
}

/// An agent as of now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    pub(crate) presence: Presence,
    pub(crate) load: i32,
    pub(crate) capacity: i32,
    pub(crate) last_offer_us: Option<i64>,
}

impl Seat {
    /// True if an offer may be made.
    pub(crate) fn is_free(&self) -> bool {
        self.presence == Presence::Online && self.load < self.capacity
    }
}

/// Who gave which demand back, and when.
pub(crate) type Returned = HashMap<DemandId, HashMap<String, i64>>;

/// What a plan is made from.
pub(crate) struct Situation<'a> {
    /// By name.
    pub(crate) agents: Vec<(&'a Member, Seat)>,
    pub(crate) policies: &'a HashMap<String, Compiled>,
    pub(crate) returned: &'a Returned,
    /// Who last worked for a customer.
    pub(crate) last_agent: &'a HashMap<CustomerId, String>,
    pub(crate) timing: &'a Timing,
    pub(crate) now_us: i64,
}

/// What becomes of one demand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Placement {
    /// It is offered.
    Offer {
        agent: String,
        team: String,
        policy_version: i64,
        expire_us: i64,
        candidates: Vec<Candidate>,
    },
    /// Nobody fits now.
    Wait { until_us: i64 },
}

/// Places the demands, in their order.
pub(crate) fn plan(demands: &[Demand], mut situation: Situation<'_>) -> Vec<Placement> {
    demands.iter().map(|demand| situation.place(demand)).collect()
}

/// Why an agent does not get a demand. The words are those of the contract.
const OFFLINE: &str = "offline";
const NO_CAPACITY: &str = "no_capacity";
const OUTSIDE_HOURS: &str = "outside_hours";
const NOT_ELIGIBLE: &str = "not_eligible";
const DECLINED_BEFORE: &str = "declined_before";

/// The agents of one decision, sorted out.
#[derive(Default)]
struct Sorted {
    /// Positions of those who can take it now.
    free: Vec<usize>,
    /// Those who could but for having given it back, and until when.
    declined: Vec<(usize, i64)>,
    /// Those who cannot, and why: told only with an offer.
    excluded: Vec<(usize, &'static str)>,
    /// Somebody fits who is only out of capacity: not everybody has declined yet.
    somebody_is_busy: bool,
    /// When time alone makes somebody available.
    opens_us: Option<i64>,
}

impl Situation<'_> {
    fn place(&mut self, demand: &Demand) -> Placement {
        let Some(policy) = self.policies.get(&demand.policy) else {
            // Deleted or no longer compiling: the log said so, the demand waits.
            return self.wait(demand, None);
        };
        let mut sorted = self.sort_out(demand, policy);
        self.give_second_chance(&mut sorted);
        for (position, until_us) in &sorted.declined {
            sorted.excluded.push((*position, DECLINED_BEFORE));
            sorted.opens_us = earlier(sorted.opens_us, *until_us);
        }
        let mut candidates = self.rank(demand, policy, &sorted.free);
        let Some(best) = candidates.first().map(|best| best.agent.clone()) else {
            return self.wait(demand, sorted.opens_us);
        };
        // Positions are in the order of names.
        sorted.excluded.sort_unstable();
        let room = KEPT_CANDIDATES.saturating_sub(candidates.len());
        let told = sorted.excluded.iter().take(room);
        candidates.extend(told.map(|(position, by)| {
            let (member, _) = self.agents[*position];
            Candidate::excluded(&member.name, by)
        }));
        candidates.truncate(KEPT_CANDIDATES);
        let mut team = String::new();
        if let Some((member, seat)) = self.agents.iter_mut().find(|(member, _)| member.name == best)
        {
            seat.load += 1;
            seat.last_offer_us = Some(self.now_us);
            team.clone_from(&member.team);
        }
        let expire_us = self.now_us.saturating_add(policy.offer_timeout_us);
        let policy_version = policy.version;
        Placement::Offer { agent: best, team, policy_version, expire_us, candidates }
    }

    fn sort_out(&self, demand: &Demand, policy: &Compiled) -> Sorted {
        let mut sorted = Sorted::default();
        let customer_id = demand.customer.to_string();
        let returned = self.returned.get(&demand.id);
        let now = Timestamp::from_microsecond(self.now_us).unwrap_or(Timestamp::MAX);
        for (position, (member, seat)) in self.agents.iter().enumerate() {
            let facts = Facts {
                demand,
                customer_id: &customer_id,
                member,
                load: seat.load,
                now_us: self.now_us,
            };
            let exclude = |sorted: &mut Sorted, by| sorted.excluded.push((position, by));
            if seat.presence != Presence::Online {
                exclude(&mut sorted, OFFLINE);
            } else if !is_eligible(&facts, policy) {
                exclude(&mut sorted, NOT_ELIGIBLE);
            } else if let Some(closed) =
                member.calendar.as_ref().filter(|calendar| !calendar.is_open(now))
            {
                let opening = closed.next_opening(now).map(Timestamp::as_microsecond);
                sorted.opens_us =
                    opening.map_or(sorted.opens_us, |at| earlier(sorted.opens_us, at));
                exclude(&mut sorted, OUTSIDE_HOURS);
            } else if let Some(at_us) = returned.and_then(|agents| agents.get(&member.name))
                && self.now_us < at_us.saturating_add(self.timing.exclusion_us)
            {
                if seat.is_free() {
                    sorted.declined.push((position, *at_us));
                } else {
                    exclude(&mut sorted, NO_CAPACITY);
                }
            } else if !seat.is_free() {
                sorted.somebody_is_busy = true;
                exclude(&mut sorted, NO_CAPACITY);
            } else {
                sorted.free.push(position);
            }
        }
        sorted
    }

    /// When everybody who could take it has given it back, they are asked again after a pause;
    /// otherwise they are passed over for longer. Leaves in `declined` until when.
    fn give_second_chance(&self, sorted: &mut Sorted) {
        let everybody = sorted.free.is_empty() && !sorted.somebody_is_busy;
        let pause_us =
            if everybody { self.timing.reoffer_pause_us } else { self.timing.exclusion_us };
        for (position, at_us) in std::mem::take(&mut sorted.declined) {
            let until_us = at_us.saturating_add(pause_us);
            if until_us <= self.now_us {
                sorted.free.push(position);
            } else {
                sorted.declined.push((position, until_us));
            }
        }
    }

    fn rank(&self, demand: &Demand, policy: &Compiled, free: &[usize]) -> Vec<Candidate> {
        let idle = |seat: &Seat| seat.last_offer_us.map(|at| (self.now_us - at).max(0) as f64);
        let longest = free.iter().filter_map(|at| idle(&self.agents[*at].1)).fold(0.0, f64::max);
        let same = self.last_agent.get(&demand.customer);
        let mut ranked = Vec::with_capacity(free.len());
        for position in free {
            let (member, seat) = &self.agents[*position];
            let parts = Parts {
                spare_capacity: f64::from(seat.capacity - seat.load) / f64::from(seat.capacity),
                skill_level: skill_level(demand, member),
                // Who never had an offer has waited longest.
                idle_time: match idle(seat) {
                    Some(time) if longest > 0.0 => time / longest,
                    Some(_) => 0.0,
                    None => 1.0,
                },
                same_agent: f64::from(u8::from(same == Some(&member.name))),
            };
            ranked.push(rank::rank(&member.name, &policy.weights, parts));
        }
        rank::sort(&mut ranked);
        ranked
    }

    fn wait(&self, demand: &Demand, opens_us: Option<i64>) -> Placement {
        let retry_us = self.now_us.saturating_add(self.timing.retry_us(demand.attempts));
        Placement::Wait { until_us: earlier(opens_us, retry_us).unwrap_or(retry_us) }
    }
}

fn earlier(known: Option<i64>, other: i64) -> Option<i64> {
    Some(known.map_or(other, |known| known.min(other)))
}

fn is_eligible(facts: &Facts<'_>, policy: &Compiled) -> bool {
    let skilled =
        facts.demand.required_skills.iter().all(|skill| facts.member.skills.contains_key(skill));
    skilled
        && policy
            .eligibility
            .as_ref()
            // A lookup that breaks the schema is a fault of ours; nobody is eligible by mistake.
            .is_none_or(|predicate| predicate.eval(facts).unwrap_or(false))
}

/// The mean level of the required skills ÷ 5; 1 if none are required.
fn skill_level(demand: &Demand, member: &Member) -> f64 {
    if demand.required_skills.is_empty() {
        return 1.0;
    }
    let level = |skill: &String| f64::from(member.skills.get(skill).copied().unwrap_or(0));
    let sum: f64 = demand.required_skills.iter().map(level).sum();
    sum / demand.required_skills.len() as f64 / 5.0
}
