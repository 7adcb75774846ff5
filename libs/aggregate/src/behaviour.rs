//! What a customer does: event counters, day tiles, ledger totals, attributes that are not
//! personal. Stored in clear and sent in the feed.

use crate::facts::EventFacts;
use crate::hash;
use crate::ledger::Ledger;
use crate::limit::NAMES;
use crate::selection::{Entry, Selection};
use crate::tile::{self, Blocks, Days, Span, Tile};
use crate::traits::{Trait, Traits};

/// The state. A change is the same thing as a state: fold the new events into an empty one
/// and merge it into the fragment and into the customer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Behaviour {
    pub(crate) total: u64,
    /// Present if and only if `total` is not 0.
    pub(crate) span: Option<Span>,
    /// Whether any attribute was ever given, personal ones included: a lead is known by one.
    pub(crate) identified: bool,
    pub(crate) days: Days,
    pub(crate) blocks: Blocks,
    pub(crate) counters: Selection<Counter, NAMES>,
    pub(crate) ledger: Ledger,
    pub(crate) traits: Traits,
}

/// How often and when events of one name happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Counter {
    pub(crate) hash: u64,
    pub(crate) name: Box<str>,
    pub(crate) total: u64,
    pub(crate) span: Span,
    pub(crate) days: Days,
}

impl Counter {
    /// The event's name, or its kind for messages without name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// In all.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// When the first happened.
    #[must_use]
    pub const fn first_us(&self) -> i64 {
        self.span.first_us
    }

    /// When the latest happened.
    #[must_use]
    pub const fn last_us(&self) -> i64 {
        self.span.last_us
    }

    /// How many happened on the `days` (at most 30) days of UTC that end with that of
    /// `now_us`. Exact if `now_us` is not before the state's latest day but one; an earlier
    /// instant misses what has left the tiles since.
    #[must_use]
    pub fn last_days(&self, days: i32, now_us: i64) -> u64 {
        self.days.sum(tile::day_of(now_us), days)
    }

    fn count(&mut self, tile: Tile, event_us: i64) {
        self.total = self.total.saturating_add(1);
        self.span.extend(Span::at(event_us));
        self.days.add(tile);
    }
}

impl Entry for Counter {
    fn rank(&self) -> (u64, &str) {
        (self.hash, &self.name)
    }

    fn absorb(&mut self, other: &Self) -> bool {
        self.total = self.total.saturating_add(other.total);
        self.span.extend(other.span);
        self.days.merge(&other.days);
        true
    }
}

impl Behaviour {
    /// The state of one event.
    #[must_use]
    pub fn of_event(event: &EventFacts<'_>) -> Self {
        let mut behaviour = Self::default();
        behaviour.fold(event);
        behaviour
    }

    /// Adds one event: the same as merging [`of_event`](Self::of_event), without building it.
    pub fn fold(&mut self, event: &EventFacts<'_>) {
        let event_us = event.event_us;
        let tile = Tile { day: tile::day_of(event_us), count: 1 };
        self.total = self.total.saturating_add(1);
        Span::include(&mut self.span, Span::at(event_us));
        self.days.add(tile);
        self.count_name(event.counted_as(), tile, event_us);
        if let Some(fact) = event.ledger {
            self.ledger.fold(fact, event_us);
        }
        self.identified |= !event.traits.is_empty();
        for fact in event.traits.iter().filter(|fact| !fact.personal) {
            self.traits.fold(event, fact);
        }
        self.settle();
    }

    fn count_name(&mut self, name: &str, tile: Tile, event_us: i64) {
        let hash = hash::of_name(name);
        let first = || Counter {
            hash,
            name: name.into(),
            total: 1,
            span: Span::at(event_us),
            days: Days::one(tile.day),
        };
        let again = |counter: &mut Counter| {
            counter.count(tile, event_us);
            true
        };
        self.counters.update(hash, name, again, first);
    }

    /// Adds another state of *other* events.
    pub fn merge(&mut self, other: &Self) {
        self.total = self.total.saturating_add(other.total);
        if let Some(span) = other.span {
            Span::include(&mut self.span, span);
        }
        self.identified |= other.identified;
        self.days.merge(&other.days);
        self.blocks.merge(&other.blocks);
        self.counters.merge(&other.counters);
        self.ledger.merge(&other.ledger);
        self.traits.merge(&other.traits);
        self.settle();
    }

    /// Coarsens and drops what is too old beside the latest day.
    fn settle(&mut self) {
        let Some(latest) = self.latest_day() else { return };
        let blocks = &mut self.blocks;
        self.days.expire(latest, |tile| blocks.add_day(tile));
        self.blocks.expire(latest);
        for counter in self.counters.iter_mut() {
            counter.days.expire(latest, |_| ());
        }
    }

    pub(crate) fn latest_day(&self) -> Option<i32> {
        self.span.map(|span| tile::day_of(span.last_us))
    }

    /// Whether it holds no event.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// All events.
    #[must_use]
    pub const fn total_events(&self) -> u64 {
        self.total
    }

    /// When the first event happened.
    #[must_use]
    pub fn first_us(&self) -> Option<i64> {
        self.span.map(|span| span.first_us)
    }

    /// When the latest event happened.
    #[must_use]
    pub fn last_us(&self) -> Option<i64> {
        self.span.map(|span| span.last_us)
    }

    /// Whether any attribute was ever given, personal ones included.
    #[must_use]
    pub const fn is_identified(&self) -> bool {
        self.identified
    }

    /// At most 32 names, in the order of their hashes.
    pub fn counters(&self) -> impl ExactSizeIterator<Item = &Counter> {
        self.counters.iter()
    }

    /// The counter of that name. `None` if there was no such event, or if more than 32 names
    /// occurred and this one is not kept.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<&Counter> {
        self.counters.get(hash::of_name(name), name)
    }

    /// Events of all names in the last days, as [`Counter::last_days`].
    #[must_use]
    pub fn last_days(&self, days: i32, now_us: i64) -> u64 {
        self.days.sum(tile::day_of(now_us), days)
    }

    /// Orders, tickets and points.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The attributes that are not personal, in the order of their hashes.
    pub fn traits(&self) -> impl ExactSizeIterator<Item = &Trait> {
        self.traits.iter()
    }
}
