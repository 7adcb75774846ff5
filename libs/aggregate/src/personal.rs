//! Attributes that are personal data. The service encrypts the encoded form.

use crate::facts::EventFacts;
use crate::traits::{Trait, Traits};

/// Personal attributes; the last writer wins. Never in a feed, never a feature of a score.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Personal {
    pub(crate) traits: Traits,
}

impl Personal {
    /// The state of one event.
    #[must_use]
    pub fn of_event(event: &EventFacts<'_>) -> Self {
        let mut personal = Self::default();
        personal.fold(event);
        personal
    }

    /// Adds one event. Says whether anything changed: if not, nothing need be encrypted anew.
    pub fn fold(&mut self, event: &EventFacts<'_>) -> bool {
        let mut changed = false;
        for fact in event.traits.iter().filter(|fact| fact.personal) {
            changed |= self.traits.fold(event, fact);
        }
        changed
    }

    /// Adds another state. Says whether anything changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        self.traits.merge(&other.traits)
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.traits.0.is_empty()
    }

    /// The attributes, in the order of their hashes.
    pub fn traits(&self) -> impl ExactSizeIterator<Item = &Trait> {
        self.traits.iter()
    }
}
