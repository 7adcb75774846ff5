//! Random events that reach every cap and every tie.

use aggregate::{
    Amount, Behaviour, EventFacts, EventKind, LedgerFact, Personal, TraitFact, TraitValue,
};
use kernel::EvidenceId;
use proptest::prelude::*;
use uuid::Uuid;

pub(crate) const DAY_US: i64 = 86_400_000_000;
/// 2025-06-15, noon.
pub(crate) const BASE_US: i64 = 1_749_988_800_000_000;

/// An event that owns what [`EventFacts`] borrows.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) event_us: i64,
    pub(crate) ledger: Option<LedgerFact>,
    pub(crate) traits: Vec<(String, TraitValue, bool)>,
    pub(crate) source: String,
    pub(crate) evidence: u8,
    pub(crate) message_id: String,
}

impl Sample {
    pub(crate) fn named(name: &str, event_us: i64) -> Self {
        Self {
            name: name.to_owned(),
            event_us,
            ledger: None,
            traits: Vec::new(),
            source: "web".to_owned(),
            evidence: 1,
            message_id: "m".to_owned(),
        }
    }

    pub(crate) fn with<T>(&self, read: impl FnOnce(&EventFacts<'_>) -> T) -> T {
        let fact = |(name, value, personal): &'_ (String, TraitValue, bool)| {
            (name.clone(), value.clone(), *personal)
        };
        let owned: Vec<_> = self.traits.iter().map(fact).collect();
        let traits: Vec<TraitFact<'_>> = owned
            .iter()
            .map(|(name, value, personal)| TraitFact { name, value, personal: *personal })
            .collect();
        read(&EventFacts {
            name: &self.name,
            kind: EventKind::Page,
            event_us: self.event_us,
            ledger: self.ledger,
            traits: &traits,
            source: &self.source,
            evidence: EvidenceId::new(Uuid::from_bytes([self.evidence; 16])),
            message_id: &self.message_id,
        })
    }
}

/// Both parts of a profile.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Both {
    pub(crate) behaviour: Behaviour,
    pub(crate) personal: Personal,
}

impl Both {
    pub(crate) fn of_all<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut both = Self::default();
        for sample in samples {
            both.fold(sample);
        }
        both
    }

    pub(crate) fn of(sample: &Sample) -> Self {
        sample.with(|event| Self {
            behaviour: Behaviour::of_event(event),
            personal: Personal::of_event(event),
        })
    }

    pub(crate) fn fold(&mut self, sample: &Sample) {
        sample.with(|event| {
            self.behaviour.fold(event);
            self.personal.fold(event);
        });
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.behaviour.merge(&other.behaviour);
        self.personal.merge(&other.personal);
    }

    pub(crate) fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
        (self.behaviour.encode(), self.personal.encode())
    }
}

/// Mostly within two months, sometimes years apart, sometimes at one and the same instant.
pub(crate) fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => (-60 * DAY_US..=DAY_US).prop_map(|offset| BASE_US + offset),
        3 => (-700 * DAY_US..=0).prop_map(|offset| BASE_US + offset),
        2 => (0..3_i64).prop_map(|step| BASE_US + step),
        1 => prop_oneof![Just(-5), Just(0), Just(-400 * DAY_US)],
    ]
}

fn any_value() -> impl Strategy<Value = TraitValue> {
    prop_oneof![
        "[a-c]{0,2}".prop_map(|text| TraitValue::text(text).unwrap()),
        prop_oneof![Just(-0.0), Just(0.0), -9.0..9.0]
            .prop_map(|number| TraitValue::number(number).unwrap()),
        any::<bool>().prop_map(TraitValue::bool),
        any::<i64>().prop_map(TraitValue::time),
    ]
}

fn any_amount() -> impl Strategy<Value = Option<Amount>> {
    let micros = prop_oneof![9 => 0..10_000_000_i64, 1 => Just(18_000_000_000_000)];
    let some = (0..14_u8, micros).prop_map(|(currency, units)| {
        let code = format!("C{}X", char::from(b'A' + currency));
        Amount::from_money(&code, units, 990_000_000).unwrap()
    });
    proptest::option::weighted(0.9, some)
}

fn any_ledger() -> impl Strategy<Value = LedgerFact> {
    prop_oneof![
        4 => any_amount().prop_map(LedgerFact::OrderCompleted),
        2 => any_amount().prop_map(LedgerFact::OrderRefunded),
        1 => Just(LedgerFact::TicketOpened),
        1 => Just(LedgerFact::TicketClosed),
        1 => prop_oneof![0..900_u64, Just(u64::MAX)].prop_map(LedgerFact::PointsEarned),
        1 => (0..900_u64).prop_map(LedgerFact::PointsSpent),
    ]
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let name = (0..44_u8).prop_map(|n| if n == 0 { String::new() } else { format!("Event {n}") });
    let trait_fact = ((0..90_u8).prop_map(|n| format!("trait_{n}")), any_value(), any::<bool>());
    (
        name,
        any_time(),
        proptest::option::of(any_ledger()),
        proptest::collection::vec(trait_fact, 0..4),
        prop_oneof![Just("web".to_owned()), Just("crm".to_owned())],
        0..3_u8,
    )
        .prop_map(|(name, event_us, ledger, traits, source, evidence)| Sample {
            name,
            event_us,
            ledger,
            traits,
            source,
            evidence,
            message_id: String::new(),
        })
}

/// Distinct events.
pub(crate) fn any_samples(most: usize) -> impl Strategy<Value = Vec<Sample>> {
    proptest::collection::vec(any_sample(), 0..most).prop_map(|mut samples| {
        for (at, sample) in samples.iter_mut().enumerate() {
            sample.message_id = format!("m-{at}");
        }
        samples
    })
}
