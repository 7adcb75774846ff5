//! Features by name: what predicates and models read of a state at an instant.
//!
//! A [`Feature`] is parsed once, when a predicate or model is loaded; reading it from a
//! [`FeatureView`] then costs a lookup and no allocation. Counts and days are whole numbers;
//! days and windows are whole days of UTC. Personal data is never a feature.

use std::fmt;
use std::str::FromStr;

use crate::behaviour::{Behaviour, Counter};
use crate::standing::{WINDOWS, next_midnight_us};
use crate::tile::{Days, day_of, start_of};
use crate::{hash, limit};

/// The value of a feature or of an attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A whole number.
    Int(i64),
    /// A finite number.
    Number(f64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(&'a str),
    /// An instant, in microseconds since 1970.
    Time(i64),
}

impl Value<'_> {
    /// As a model takes it: numbers, and truth as 0 or 1; nothing for texts and instants.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Number(number) => Some(*number),
            Self::Bool(value) => Some(f64::from(u8::from(*value))),
            Self::Text(_) | Self::Time(_) => None,
        }
    }
}

/// The type of a feature's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// [`Value::Int`].
    Int,
    /// [`Value::Number`].
    Number,
    /// [`Value::Text`].
    Text,
    /// What the attribute is declared as.
    Declared,
}

/// What is measured of the events of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventMeasure {
    /// In all.
    Total,
    /// In the last 7 days.
    Last7Days,
    /// In the last 30 days.
    Last30Days,
    /// Days since the latest.
    DaysSinceLast,
}

const MEASURES: [(EventMeasure, &str); 4] = [
    (EventMeasure::Total, "total"),
    (EventMeasure::Last7Days, "last_7_days"),
    (EventMeasure::Last30Days, "last_30_days"),
    (EventMeasure::DaysSinceLast, "days_since_last"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Plain {
    OrdersCount,
    OrdersRevenue,
    OrdersRefunds,
    OrdersDaysSinceFirst,
    OrdersDaysSinceLast,
    TicketsOpened,
    TicketsOpen,
    PointsBalance,
    Events(EventMeasure),
    Engagement,
    RecencyBand,
    FrequencyBand,
    MonetaryBand,
    LifeCycleStage,
    DaysSinceFirstEvent,
}

const PLAIN: [(Plain, &str); 18] = [
    (Plain::OrdersCount, "orders.count"),
    (Plain::OrdersRevenue, "orders.revenue"),
    (Plain::OrdersRefunds, "orders.refunds"),
    (Plain::OrdersDaysSinceFirst, "orders.days_since_first"),
    (Plain::OrdersDaysSinceLast, "orders.days_since_last"),
    (Plain::TicketsOpened, "tickets.opened"),
    (Plain::TicketsOpen, "tickets.open"),
    (Plain::PointsBalance, "points.balance"),
    (Plain::Events(EventMeasure::Total), "events.total"),
    (Plain::Events(EventMeasure::Last7Days), "events.last_7_days"),
    (Plain::Events(EventMeasure::Last30Days), "events.last_30_days"),
    (Plain::Engagement, "engagement"),
    (Plain::RecencyBand, "rfm.recency_band"),
    (Plain::FrequencyBand, "rfm.frequency_band"),
    (Plain::MonetaryBand, "rfm.monetary_band"),
    (Plain::LifeCycleStage, "life_cycle_stage"),
    (Plain::DaysSinceFirstEvent, "days_since_first_event"),
    (Plain::Events(EventMeasure::DaysSinceLast), "days_since_last_event"),
];

/// A name that was understood, e.g. `orders.count`, `events["Order Completed"].last_7_days`
/// (with `\"` and `\\` in the name) or `traits.city`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Feature(Path);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Path {
    Plain(Plain),
    Event { hash: u64, name: Box<str>, measure: EventMeasure },
    Trait { hash: u64, name: Box<str> },
}

/// A name that is no feature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown feature `{0}`")]
pub struct NotAFeature(pub String);

impl Feature {
    /// A measure of the events of one name.
    #[must_use]
    pub fn event(name: &str, measure: EventMeasure) -> Self {
        let name = limit::cut(name, limit::NAME_BYTES);
        Self(Path::Event { hash: hash::of_name(name), name: name.into(), measure })
    }

    /// The value of an attribute that is not personal.
    #[must_use]
    pub fn attribute(name: &str) -> Self {
        Self(Path::Trait { hash: hash::of_name(name), name: name.into() })
    }

    /// All features that do not depend on names of events or attributes.
    pub fn plain() -> impl ExactSizeIterator<Item = Self> {
        PLAIN.iter().map(|(plain, _)| Self(Path::Plain(*plain)))
    }

    /// The type of its values.
    #[must_use]
    pub const fn value_type(&self) -> ValueType {
        match self.0 {
            Path::Plain(Plain::OrdersRevenue | Plain::Engagement) => ValueType::Number,
            Path::Plain(Plain::LifeCycleStage) => ValueType::Text,
            Path::Plain(_) | Path::Event { .. } => ValueType::Int,
            Path::Trait { .. } => ValueType::Declared,
        }
    }
}

impl FromStr for Feature {
    type Err = NotAFeature;

    fn from_str(text: &str) -> Result<Self, NotAFeature> {
        if let Some((plain, _)) = PLAIN.iter().find(|(_, name)| *name == text) {
            return Ok(Self(Path::Plain(*plain)));
        }
        if let Some(name) = text.strip_prefix("traits.").filter(|name| is_trait_name(name)) {
            return Ok(Self::attribute(name));
        }
        let event = text.strip_prefix("events[\"").and_then(parse_event);
        event.ok_or_else(|| NotAFeature(text.to_owned()))
    }
}

fn is_trait_name(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic());
    let goes_on = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    begins && goes_on && name.len() <= limit::TRAIT_NAME_BYTES
}

/// Reads `Name"].measure`.
fn parse_event(text: &str) -> Option<Feature> {
    let mut name = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => name.push(chars.next().filter(|next| matches!(next, '"' | '\\'))?),
            other => name.push(other),
        }
    }
    let measure = chars.as_str().strip_prefix("].")?;
    let (measure, _) = MEASURES.iter().find(|(_, word)| *word == measure)?;
    let bounded = !name.is_empty() && name.len() <= limit::NAME_BYTES;
    bounded.then(|| Feature::event(&name, *measure))
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Path::Plain(plain) => {
                let known = PLAIN.iter().find(|(each, _)| each == plain);
                f.write_str(known.map_or("", |(_, name)| name))
            }
            Path::Trait { name, .. } => write!(f, "traits.{name}"),
            Path::Event { name, measure, .. } => {
                let known = MEASURES.iter().find(|(each, _)| each == measure);
                let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "events[\"{escaped}\"].{}", known.map_or("", |(_, word)| word))
            }
        }
    }
}

/// A state at an instant.
#[derive(Debug, Clone, Copy)]
pub struct FeatureView<'a> {
    state: &'a Behaviour,
    now_us: i64,
    today: i32,
}

impl<'a> FeatureView<'a> {
    /// Looks at a state at `now_us` (microseconds since 1970).
    #[must_use]
    pub fn new(state: &'a Behaviour, now_us: i64) -> Self {
        Self { state, now_us, today: day_of(now_us) }
    }

    /// The value; `None` if there is none: no such attribute, nothing to count days from, or
    /// an event beyond the 32 names that are kept. An event that never happened counts 0.
    #[must_use]
    pub fn get(&self, feature: &Feature) -> Option<Value<'a>> {
        match &feature.0 {
            Path::Plain(plain) => self.plain(*plain),
            Path::Event { hash, name, measure } => {
                let counters = &self.state.counters;
                match counters.get(*hash, name) {
                    Some(counter) => Some(self.of_counter(counter, *measure)),
                    None if *measure == EventMeasure::DaysSinceLast => None,
                    None => counters.excludes(*hash, name).then_some(Value::Int(0)),
                }
            }
            Path::Trait { hash, name } => {
                self.state.traits.0.get(*hash, name).map(|kept| kept.value.get())
            }
        }
    }

    /// Parses the name and reads the value; `None` also if there is no such feature.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<Value<'a>> {
        self.get(&name.parse().ok()?)
    }

    /// Every feature that has a value, with its value: for explanations and feature logs.
    #[must_use]
    pub fn all(&self) -> Vec<(Feature, Value<'a>)> {
        let plain = Feature::plain();
        let events = self.state.counters().flat_map(|counter| {
            MEASURES.map(|(measure, _)| Feature::event(counter.name(), measure))
        });
        let traits = self.state.traits().map(|kept| Feature::attribute(kept.name()));
        let every = plain.chain(events).chain(traits);
        every.filter_map(|feature| self.get(&feature).map(|value| (feature, value))).collect()
    }

    /// The earliest instant after now at which the value may change without an event.
    #[must_use]
    pub fn next_change_us(&self, feature: &Feature) -> Option<i64> {
        match &feature.0 {
            Path::Plain(plain) => self.next_plain_change_us(*plain),
            Path::Event { hash, name, measure } => {
                let counter = self.state.counters.get(*hash, name)?;
                self.next_measure_change_us(*measure, &counter.days)
            }
            Path::Trait { .. } => None,
        }
    }

    fn plain(&self, plain: Plain) -> Option<Value<'a>> {
        let ledger = self.state.ledger();
        let rfm = || self.state.rfm(self.now_us);
        Some(match plain {
            Plain::OrdersCount => int(ledger.orders()),
            Plain::OrdersRevenue => {
                Value::Number(ledger.main_revenue().map_or(0.0, |revenue| revenue.units()))
            }
            Plain::OrdersRefunds => int(ledger.refunds()),
            Plain::OrdersDaysSinceFirst => self.days_since(ledger.first_order_us()?),
            Plain::OrdersDaysSinceLast => self.days_since(ledger.last_order_us()?),
            Plain::TicketsOpened => int(ledger.tickets_opened()),
            Plain::TicketsOpen => Value::Int(ledger.open_tickets()),
            Plain::PointsBalance => Value::Int(ledger.points_balance()),
            Plain::Events(EventMeasure::Total) => int(self.state.total_events()),
            Plain::Events(EventMeasure::DaysSinceLast) => self.days_since(self.state.last_us()?),
            Plain::Events(EventMeasure::Last7Days) => self.window(&self.state.days, WINDOWS[0]),
            Plain::Events(EventMeasure::Last30Days) => self.window(&self.state.days, WINDOWS[1]),
            Plain::Engagement => Value::Number(self.state.engagement(self.now_us)),
            Plain::RecencyBand => Value::Int(i64::from(rfm().recency_band)),
            Plain::FrequencyBand => Value::Int(i64::from(rfm().frequency_band)),
            Plain::MonetaryBand => Value::Int(i64::from(rfm().monetary_band)),
            Plain::LifeCycleStage => {
                Value::Text(self.state.life_cycle_stage(self.now_us)?.as_str())
            }
            Plain::DaysSinceFirstEvent => self.days_since(self.state.first_us()?),
        })
    }

    fn of_counter(&self, counter: &Counter, measure: EventMeasure) -> Value<'a> {
        match measure {
            EventMeasure::Total => int(counter.total),
            EventMeasure::Last7Days => self.window(&counter.days, WINDOWS[0]),
            EventMeasure::Last30Days => self.window(&counter.days, WINDOWS[1]),
            EventMeasure::DaysSinceLast => self.days_since(counter.last_us()),
        }
    }

    fn window(&self, days: &Days, window: i32) -> Value<'a> {
        int(days.sum(self.today, window))
    }

    /// Days of UTC begun since; 0 if it lies ahead.
    fn days_since(&self, us: i64) -> Value<'a> {
        Value::Int(i64::from((self.today - day_of(us)).max(0)))
    }

    fn next_plain_change_us(&self, plain: Plain) -> Option<i64> {
        let orders = self.state.ledger().orders();
        match plain {
            Plain::OrdersDaysSinceFirst | Plain::OrdersDaysSinceLast => {
                (orders > 0).then(|| next_midnight_us(self.now_us))
            }
            Plain::Events(measure) => self.next_measure_change_us(measure, &self.state.days),
            Plain::DaysSinceFirstEvent | Plain::Engagement => {
                self.state.next_engagement_change_us(self.now_us)
            }
            Plain::RecencyBand => self.state.next_recency_change_us(self.now_us),
            Plain::LifeCycleStage => self.state.next_stage_change_us(self.now_us),
            Plain::OrdersCount
            | Plain::OrdersRevenue
            | Plain::OrdersRefunds
            | Plain::TicketsOpened
            | Plain::TicketsOpen
            | Plain::PointsBalance
            | Plain::FrequencyBand
            | Plain::MonetaryBand => None,
        }
    }

    fn next_measure_change_us(&self, measure: EventMeasure, days: &Days) -> Option<i64> {
        match measure {
            EventMeasure::Total => None,
            EventMeasure::Last7Days => days.next_change(self.today, WINDOWS[0]).map(start_of),
            EventMeasure::Last30Days => days.next_change(self.today, WINDOWS[1]).map(start_of),
            EventMeasure::DaysSinceLast => {
                (!self.state.is_empty()).then(|| next_midnight_us(self.now_us))
            }
        }
    }
}

fn int<'a>(count: u64) -> Value<'a> {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}
