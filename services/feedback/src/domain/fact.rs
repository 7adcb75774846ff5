//! A demand as far as feedback is concerned: how far it came, and when.

use kernel::CustomerId;

use super::Key;
use super::outcome::Statement;

/// The stages of a demand, in order. A demand that is offered again after it was declined
/// does not lose a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Created,
    Offered,
    Accepted,
    Started,
    Closed,
}

impl Stage {
    /// As it is stored.
    pub(crate) const fn number(self) -> i16 {
        self as i16
    }

    /// From its stored number.
    pub(crate) const fn from_number(number: i16) -> Option<Self> {
        Some(match number {
            0 => Self::Created,
            1 => Self::Offered,
            2 => Self::Accepted,
            3 => Self::Started,
            4 => Self::Closed,
            _ => return None,
        })
    }
}

/// A score that a demand was routed with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UsedScore {
    pub(crate) scorer: String,
    pub(crate) scorer_version: i64,
    pub(crate) value: f64,
    pub(crate) probability: Option<f64>,
}

/// A transition of a demand, as routing told it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) version: i64,
    pub(crate) stage: Stage,
    /// When the stage was reached.
    pub(crate) at_us: i64,
    pub(crate) created_us: i64,
    pub(crate) event_us: i64,
    pub(crate) customer: CustomerId,
    pub(crate) kind: String,
    pub(crate) team: String,
    pub(crate) agent: String,
    pub(crate) scores: Vec<UsedScore>,
    /// What came of it, if this closes it.
    pub(crate) outcome: Option<Statement>,
    pub(crate) traceparent: Option<String>,
}

/// What is kept of a demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) version: i64,
    pub(crate) customer: CustomerId,
    pub(crate) kind: String,
    /// The latest one; stays when the demand no longer has one.
    pub(crate) team: String,
    /// As `team`.
    pub(crate) agent: String,
    pub(crate) event_us: i64,
    pub(crate) created_us: i64,
    pub(crate) offered_us: Option<i64>,
    pub(crate) accepted_us: Option<i64>,
    pub(crate) started_us: Option<i64>,
    pub(crate) closed_us: Option<i64>,
    pub(crate) reached: Stage,
    /// True if scores were used: only then is an outcome a label.
    pub(crate) scored: bool,
}

impl Fact {
    /// The first that is heard of a demand.
    pub(crate) fn begin(change: &Change) -> Self {
        let mut fact = Self {
            version: change.version,
            customer: change.customer,
            kind: change.kind.clone(),
            team: String::new(),
            agent: String::new(),
            event_us: change.event_us,
            created_us: change.created_us,
            offered_us: None,
            accepted_us: None,
            started_us: None,
            closed_us: None,
            reached: Stage::Created,
            scored: false,
        };
        fact.take(change);
        fact
    }

    /// Applies what is newer; false if it was known already.
    pub(crate) fn apply(&mut self, change: &Change) -> bool {
        let newer = change.version > self.version;
        if newer {
            self.take(change);
        }
        newer
    }

    fn take(&mut self, change: &Change) {
        self.version = change.version;
        self.customer = change.customer;
        for (kept, told) in [(&mut self.team, &change.team), (&mut self.agent, &change.agent)] {
            if !told.is_empty() {
                kept.clone_from(told);
            }
        }
        let first = match change.stage {
            Stage::Created => None,
            Stage::Offered => Some(&mut self.offered_us),
            Stage::Accepted => Some(&mut self.accepted_us),
            Stage::Started => Some(&mut self.started_us),
            Stage::Closed => Some(&mut self.closed_us),
        };
        if let Some(first) = first {
            first.get_or_insert(change.at_us);
        }
        self.reached = self.reached.max(change.stage);
        self.scored |= !change.scores.is_empty();
    }
}

#[cfg(test)]
mod tests {
    use kernel::{DemandId, TenantId};
    use uuid::Uuid;

    use super::*;

    fn change(version: i64, stage: Stage, at_us: i64) -> Change {
        let key = Key {
            tenant: TenantId::new(Uuid::from_u128(1)),
            demand: DemandId::new(Uuid::from_u128(2)),
        };
        Change {
            key,
            version,
            stage,
            at_us,
            created_us: 1,
            event_us: 1,
            customer: CustomerId::new(Uuid::from_u128(3)),
            kind: "lead".to_owned(),
            team: String::new(),
            agent: String::new(),
            scores: Vec::new(),
            outcome: None,
            traceparent: None,
        }
    }

    #[test]
    fn a_declined_offer_keeps_its_stage_and_its_first_time() {
        let mut fact = Fact::begin(&change(1, Stage::Created, 1));
        assert!(fact.apply(&change(2, Stage::Offered, 10)));
        assert!(fact.apply(&change(3, Stage::Created, 20)));
        assert!(fact.apply(&change(4, Stage::Offered, 30)));
        assert_eq!((fact.reached, fact.offered_us), (Stage::Offered, Some(10)));
    }

    #[test]
    fn a_version_that_is_not_higher_changes_nothing() {
        let mut fact = Fact::begin(&change(3, Stage::Accepted, 30));
        let before = fact.clone();
        assert!(!fact.apply(&change(3, Stage::Closed, 40)));
        assert!(!fact.apply(&change(2, Stage::Offered, 20)));
        assert_eq!(fact, before);
    }

    #[test]
    fn a_team_is_kept_after_the_demand_has_left_it() {
        let mut offered = change(1, Stage::Offered, 1);
        offered.team = "north".to_owned();
        let mut fact = Fact::begin(&offered);
        fact.apply(&change(2, Stage::Closed, 2));
        assert_eq!(fact.team, "north");
    }
}
