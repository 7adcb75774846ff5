//! What came of a demand: which statement is in force, and when it is news for the models.

use super::Key;

/// Results of demands; the numbers are those of the contract and of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OutcomeResult {
    Won = 1,
    Lost = 2,
    Solved = 3,
    Unsolved = 4,
    Spam = 5,
    NoAnswer = 6,
}

impl OutcomeResult {
    /// As it is stored.
    pub(crate) const fn number(self) -> i16 {
        self as i16
    }

    /// From its number.
    pub(crate) const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Won,
            2 => Self::Lost,
            3 => Self::Solved,
            4 => Self::Unsolved,
            5 => Self::Spam,
            6 => Self::NoAnswer,
            _ => return None,
        })
    }

    /// What the models learn from it; nothing from spam and from customers out of reach.
    pub(crate) const fn polarity(self) -> Option<bool> {
        match self {
            Self::Won | Self::Solved => Some(true),
            Self::Lost | Self::Unsolved => Some(false),
            Self::Spam | Self::NoAnswer => None,
        }
    }
}

/// An amount of money in millionths of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Value {
    pub(crate) micros: i64,
    /// ISO 4217.
    pub(crate) currency: String,
}

/// Somebody says what came of a demand.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Statement {
    pub(crate) result: OutcomeResult,
    pub(crate) value: Option<Value>,
    pub(crate) reason: String,
    /// When it happened.
    pub(crate) event_us: i64,
}

impl Statement {
    fn says_the_same_as(&self, other: &Self) -> bool {
        (self.result, &self.value, &self.reason) == (other.result, &other.value, &other.reason)
    }
}

/// A statement on its way into the books.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    pub(crate) key: Key,
    pub(crate) statement: Statement,
    /// True if the caller left the time out, so that a repeat carries another one.
    pub(crate) time_is_now: bool,
    /// When it was said.
    pub(crate) recorded_us: i64,
    pub(crate) traceparent: Option<String>,
}

/// What the models were last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) positive: bool,
    /// The version of the outcome that it was told with.
    pub(crate) version: i64,
    pub(crate) event_us: i64,
}

/// The outcome in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) statement: Statement,
    /// When it was said.
    pub(crate) recorded_us: i64,
    /// Counts the changes.
    pub(crate) version: i64,
    pub(crate) label: Option<Label>,
}

/// What a statement does to the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was said before.
    Repeat,
    /// It goes to the history only: something later is known.
    Late,
    /// It is in force from now on.
    Wins,
}

/// Judges a statement; `known` says that the history has it already, word for word and
/// instant for instant.
pub(crate) fn judge(in_force: Option<&Outcome>, recording: &Recording, known: bool) -> Verdict {
    let Some(in_force) = in_force else { return Verdict::Wins };
    let same = recording.statement.says_the_same_as(&in_force.statement);
    if known || (recording.time_is_now && same) {
        return Verdict::Repeat;
    }
    if recording.statement.event_us < in_force.statement.event_us {
        return Verdict::Late;
    }
    Verdict::Wins
}

/// The outcome after a statement that wins.
pub(crate) fn successor(in_force: Option<&Outcome>, recording: &Recording) -> Outcome {
    Outcome {
        statement: recording.statement.clone(),
        recorded_us: recording.recorded_us,
        version: in_force.map_or(0, |outcome| outcome.version) + 1,
        label: in_force.and_then(|outcome| outcome.label),
    }
}

/// The label that the models have to be told, if any: the first one, or one of another
/// polarity than the last. A label once told is never taken back, only turned.
pub(crate) fn label_due(outcome: &Outcome, scored: bool) -> Option<Label> {
    let positive = outcome.statement.result.polarity().filter(|_| scored)?;
    if outcome.label.is_some_and(|told| told.positive == positive) {
        return None;
    }
    Some(Label { positive, version: outcome.version, event_us: outcome.statement.event_us })
}

#[cfg(test)]
mod tests {
    use kernel::{DemandId, TenantId};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn recording(result: OutcomeResult, event_us: i64) -> Recording {
        let key = Key {
            tenant: TenantId::new(Uuid::from_u128(1)),
            demand: DemandId::new(Uuid::from_u128(2)),
        };
        let statement = Statement { result, value: None, reason: String::new(), event_us };
        Recording { key, statement, time_is_now: false, recorded_us: 0, traceparent: None }
    }

    /// Applies statements one after the other and counts the labels.
    fn fold(recordings: &[Recording]) -> (Option<Outcome>, Vec<bool>) {
        let (mut outcome, mut labels): (Option<Outcome>, _) = (None, Vec::new());
        let mut history = std::collections::HashSet::new();
        for recording in recordings {
            let known = !history.insert(recording.statement.clone());
            if judge(outcome.as_ref(), recording, known) == Verdict::Wins {
                let mut next = successor(outcome.as_ref(), recording);
                if let Some(label) = label_due(&next, true) {
                    labels.push(label.positive);
                    next.label = Some(label);
                }
                outcome = Some(next);
            }
        }
        (outcome, labels)
    }

    fn any_result() -> impl Strategy<Value = OutcomeResult> {
        (1..=6).prop_map(|number| OutcomeResult::from_number(number).unwrap())
    }

    proptest! {
        /// Distinct times: the winner does not depend on the order of arrival or on repeats.
        #[test]
        fn the_latest_statement_is_in_force_in_any_order(
            results in proptest::collection::vec(any_result(), 1..8),
            order in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20),
        ) {
            let said: Vec<Recording> = results
                .iter()
                .zip(10..)
                .map(|(result, event_us)| recording(*result, event_us))
                .collect();
            let mut shuffled: Vec<Recording> =
                order.iter().map(|index| said[index.index(said.len())].clone()).collect();
            shuffled.extend(said.iter().rev().cloned());
            let (outcome, labels) = fold(&shuffled);
            let outcome = outcome.unwrap();
            prop_assert_eq!(outcome.statement.result, *results.last().unwrap());
            prop_assert!(labels.windows(2).all(|pair| pair[0] != pair[1]), "{labels:?}");
            if let Some(polarity) = outcome.statement.result.polarity() {
                prop_assert_eq!(labels.last(), Some(&polarity));
            }
        }
    }

    #[test]
    fn a_correction_of_the_same_instant_wins_and_its_repeat_does_not() {
        let (won, lost) = (recording(OutcomeResult::Won, 5), recording(OutcomeResult::Lost, 5));
        let (outcome, labels) = fold(&[won.clone(), lost, won]);
        assert_eq!(outcome.unwrap().statement.result, OutcomeResult::Lost);
        assert_eq!(labels, [true, false]);
    }

    #[test]
    fn without_a_time_the_same_words_are_a_repeat() {
        let first = recording(OutcomeResult::Won, 5);
        let mut again = recording(OutcomeResult::Won, 9);
        again.time_is_now = true;
        let (outcome, _) = fold(&[first, again]);
        assert_eq!(outcome.unwrap().version, 1);
    }

    #[test]
    fn nobody_is_told_of_outcomes_without_scores_or_without_polarity() {
        let outcome = successor(None, &recording(OutcomeResult::Won, 5));
        assert_eq!(label_due(&outcome, false), None);
        let spam = successor(None, &recording(OutcomeResult::Spam, 5));
        assert_eq!(label_due(&spam, true), None);
    }
}
