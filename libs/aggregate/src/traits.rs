//! Attributes by name: the last writer wins, and "last" is a total order.

use std::cmp::Ordering;

use crate::facts::{EventFacts, TraitFact};
use crate::hash;
use crate::limit::{self, TRAITS};
use crate::selection::{Entry, Selection};
use crate::trait_value::TraitValue;

/// The value of an attribute, and who said so when.
#[derive(Debug, Clone, PartialEq)]
pub struct Trait {
    pub(crate) hash: u64,
    pub(crate) name: Box<str>,
    pub(crate) value: TraitValue,
    pub(crate) source: Box<str>,
    pub(crate) event_us: i64,
    /// Hash of (evidence, message id): decides between events of one instant.
    pub(crate) tie: u64,
}

impl Trait {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value.
    #[must_use]
    pub const fn value(&self) -> &TraitValue {
        &self.value
    }

    /// The system that said so.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// When it was true, in microseconds since 1970.
    #[must_use]
    pub const fn event_us(&self) -> i64 {
        self.event_us
    }

    /// By time, then by event; then by content, so that the order stays total even if two
    /// hashes collide or one event gives two values for one name.
    fn order(&self, other: &Self) -> Ordering {
        self.event_us
            .cmp(&other.event_us)
            .then_with(|| self.tie.cmp(&other.tie))
            .then_with(|| self.source.cmp(&other.source))
            .then_with(|| self.value.order(&other.value))
    }
}

impl Entry for Trait {
    fn rank(&self) -> (u64, &str) {
        (self.hash, &self.name)
    }

    fn absorb(&mut self, other: &Self) -> bool {
        let later = self.order(other) == Ordering::Less;
        if later {
            self.clone_from(other);
        }
        later
    }
}

/// At most [`limit::TRAITS`] attributes. Merging is commutative, associative and idempotent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traits(pub(crate) Selection<Trait, TRAITS>);

impl Traits {
    /// All of them, in the order of their hashes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Trait> {
        self.0.iter()
    }

    /// The one of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Trait> {
        self.0.get(hash::of_name(name), name)
    }

    pub(crate) fn fold(&mut self, event: &EventFacts<'_>, fact: &TraitFact<'_>) -> bool {
        let name = limit::cut(fact.name, limit::TRAIT_NAME_BYTES);
        let latest = Trait {
            hash: hash::of_name(name),
            name: name.into(),
            value: fact.value.clone(),
            source: limit::cut(event.source, limit::SOURCE_BYTES).into(),
            event_us: event.event_us,
            tie: hash::of_event(event.evidence.as_bytes(), event.message_id),
        };
        self.0.update(latest.hash, name, |kept| kept.absorb(&latest), || latest.clone())
    }

    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        self.0.merge(&other.0)
    }
}
