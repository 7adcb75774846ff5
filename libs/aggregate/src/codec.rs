//! States to bytes and back: one byte with the version of the encoding, then the message.
//! Equal states give equal bytes. Decoding accepts only what could have been encoded, as far
//! as bounds, orders and sums go; anything else is an error, never a panic.

use prost::Message;

use crate::behaviour::{Behaviour, Counter};
use crate::facts::Currency;
use crate::ledger::{CurrencyTotal, Ledger};
use crate::personal::Personal;
use crate::selection::Selection;
use crate::tile::{Blocks, Days, Span, day_of};
use crate::trait_value::TraitValue;
use crate::traits::{Trait, Traits};
use crate::{Value, hash, limit, wire};

const VERSION: u8 = 1;

/// Why bytes are no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not even a version.
    #[error("state is empty")]
    Empty,
    /// Written by a later release.
    #[error("state has version {0}, this release reads version 1")]
    Version(u8),
    /// More than [`limit::MAX_BYTES`].
    #[error("state is longer than 98,304 bytes")]
    TooLong,
    /// Not the expected message.
    #[error("state is not a valid message")]
    Message(#[from] prost::DecodeError),
    /// A part breaks its bounds, its order or its sums.
    #[error("state has an inconsistent {0}")]
    Inconsistent(&'static str),
}

impl Behaviour {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        seal(&behaviour_to_wire(self))
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`Error`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        behaviour_from_wire(open(bytes)?)
    }
}

impl Personal {
    /// The stored form, before encryption.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        seal(&wire::Personal { traits: traits_to_wire(&self.traits) })
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`Error`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let message: wire::Personal = open(bytes)?;
        Ok(Self { traits: traits_from_wire(message.traits)? })
    }
}

fn seal(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + message.encoded_len());
    bytes.push(VERSION);
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes
}

fn open<M: Message + Default>(bytes: &[u8]) -> Result<M, Error> {
    if bytes.len() > limit::MAX_BYTES {
        return Err(Error::TooLong);
    }
    match bytes.split_first() {
        None => Err(Error::Empty),
        Some((&VERSION, message)) => Ok(M::decode(message)?),
        Some((version, _)) => Err(Error::Version(*version)),
    }
}

fn behaviour_to_wire(state: &Behaviour) -> wire::Behaviour {
    let Some(span) = state.span else { return wire::Behaviour::default() };
    let latest = day_of(span.last_us);
    let (day_bits, day_counts) = state.days.to_bits(latest);
    let (block_bits, block_counts, block_offsets) = state.blocks.to_bits(latest);
    let has_ledger = state.ledger != Ledger::default();
    wire::Behaviour {
        total: state.total,
        first_us: span.first_us,
        span_us: span.last_us.abs_diff(span.first_us),
        identified: state.identified,
        day_bits,
        day_counts,
        block_bits,
        block_counts,
        block_offsets,
        counters: state.counters.iter().map(|counter| counter_to_wire(counter, span)).collect(),
        ledger: has_ledger.then(|| ledger_to_wire(&state.ledger)),
        traits: traits_to_wire(&state.traits),
    }
}

fn behaviour_from_wire(message: wire::Behaviour) -> Result<Behaviour, Error> {
    if message.total == 0 {
        let nothing_else = message == wire::Behaviour::default();
        return nothing_else.then(Behaviour::default).ok_or(Error::Inconsistent("total"));
    }
    let span = span_from_wire(message.first_us, message.span_us)?;
    let latest = day_of(span.last_us);
    let days = Days::from_bits(message.day_bits, &message.day_counts, latest);
    let blocks = Blocks::from_bits(
        message.block_bits,
        &message.block_counts,
        &message.block_offsets,
        latest,
    );
    let counters: Result<Vec<Counter>, Error> =
        message.counters.into_iter().map(|counter| counter_from_wire(counter, span)).collect();
    let ledger = message.ledger.map(ledger_from_wire).transpose()?;
    Ok(Behaviour {
        total: message.total,
        span: Some(span),
        identified: message.identified,
        days: days.ok_or(Error::Inconsistent("day tile"))?,
        blocks: blocks.ok_or(Error::Inconsistent("block tile"))?,
        counters: Selection::from_stored(counters?)
            .ok_or(Error::Inconsistent("order of counters"))?,
        ledger: ledger.unwrap_or_default(),
        traits: traits_from_wire(message.traits)?,
    })
}

fn span_from_wire(first_us: i64, span_us: u64) -> Result<Span, Error> {
    let last_us = first_us.checked_add_unsigned(span_us).ok_or(Error::Inconsistent("time"))?;
    Ok(Span { first_us, last_us })
}

fn counter_to_wire(counter: &Counter, all: Span) -> wire::Counter {
    let (day_bits, day_counts) = counter.days.to_bits(day_of(all.last_us));
    wire::Counter {
        name: counter.name.to_string(),
        total: counter.total,
        first_after_us: counter.span.first_us.abs_diff(all.first_us),
        span_us: counter.span.last_us.abs_diff(counter.span.first_us),
        day_bits,
        day_counts,
    }
}

fn counter_from_wire(message: wire::Counter, all: Span) -> Result<Counter, Error> {
    let first = span_from_wire(all.first_us, message.first_after_us)?;
    let span = span_from_wire(first.last_us, message.span_us)?;
    let latest = day_of(all.last_us);
    let days = Days::from_bits(message.day_bits, &message.day_counts, latest);
    let bounded = !message.name.is_empty() && message.name.len() <= limit::NAME_BYTES;
    if !bounded || message.total == 0 || span.last_us > all.last_us {
        return Err(Error::Inconsistent("counter"));
    }
    Ok(Counter {
        hash: hash::of_name(&message.name),
        name: message.name.into(),
        total: message.total,
        span,
        days: days.ok_or(Error::Inconsistent("day tile"))?,
    })
}

fn ledger_to_wire(ledger: &Ledger) -> wire::Ledger {
    let span = ledger.order_span.unwrap_or(Span::at(0));
    let currency = |total: &CurrencyTotal| wire::Currency {
        code: total.currency.as_str().to_owned(),
        orders: total.orders,
        completed: total.completed,
        refunded: total.refunded,
    };
    wire::Ledger {
        orders: ledger.orders,
        refunds: ledger.refunds,
        first_order_us: span.first_us,
        order_span_us: span.last_us.abs_diff(span.first_us),
        tickets_opened: ledger.tickets_opened,
        tickets_closed: ledger.tickets_closed,
        points_earned: ledger.points_earned,
        points_spent: ledger.points_spent,
        currencies: ledger.currencies.iter().map(currency).collect(),
    }
}

fn ledger_from_wire(message: wire::Ledger) -> Result<Ledger, Error> {
    let span = span_from_wire(message.first_order_us, message.order_span_us)?;
    if message.orders == 0 && span != Span::at(0) {
        return Err(Error::Inconsistent("time of orders"));
    }
    let currencies: Result<Vec<CurrencyTotal>, Error> =
        message.currencies.into_iter().map(currency_from_wire).collect();
    Ok(Ledger {
        orders: message.orders,
        refunds: message.refunds,
        order_span: (message.orders > 0).then_some(span),
        tickets_opened: message.tickets_opened,
        tickets_closed: message.tickets_closed,
        points_earned: message.points_earned,
        points_spent: message.points_spent,
        currencies: Selection::from_stored(currencies?)
            .ok_or(Error::Inconsistent("order of currencies"))?,
    })
}

fn currency_from_wire(message: wire::Currency) -> Result<CurrencyTotal, Error> {
    let currency = Currency::new(&message.code).map_err(|_| Error::Inconsistent("currency"))?;
    Ok(CurrencyTotal {
        hash: hash::of_name(&message.code),
        currency,
        orders: message.orders,
        completed: message.completed,
        refunded: message.refunded,
    })
}

fn traits_to_wire(traits: &Traits) -> Vec<wire::Trait> {
    let to_wire = |kept: &Trait| wire::Trait {
        name: kept.name.to_string(),
        value: Some(match kept.value.get() {
            Value::Text(text) => wire::Value::Text(text.to_owned()),
            Value::Number(number) => wire::Value::Number(number),
            Value::Bool(value) => wire::Value::Bool(value),
            Value::Int(us) | Value::Time(us) => wire::Value::Time(us),
        }),
        source: kept.source.to_string(),
        event_us: kept.event_us,
        tie: kept.tie,
    };
    traits.iter().map(to_wire).collect()
}

fn traits_from_wire(messages: Vec<wire::Trait>) -> Result<Traits, Error> {
    let traits: Result<Vec<Trait>, Error> = messages.into_iter().map(trait_from_wire).collect();
    let kept = Selection::from_stored(traits?).ok_or(Error::Inconsistent("order of traits"))?;
    Ok(Traits(kept))
}

fn trait_from_wire(message: wire::Trait) -> Result<Trait, Error> {
    let value = match message.value {
        Some(wire::Value::Text(text)) => TraitValue::text(text).ok(),
        Some(wire::Value::Number(number)) => TraitValue::number(number).ok(),
        Some(wire::Value::Bool(value)) => Some(TraitValue::bool(value)),
        Some(wire::Value::Time(us)) => Some(TraitValue::time(us)),
        None => None,
    };
    let name_bounded = message.name.len() <= limit::TRAIT_NAME_BYTES;
    match value {
        Some(value) if name_bounded && message.source.len() <= limit::SOURCE_BYTES => Ok(Trait {
            hash: hash::of_name(&message.name),
            name: message.name.into(),
            value,
            source: message.source.into(),
            event_us: message.event_us,
            tie: message.tie,
        }),
        _ => Err(Error::Inconsistent("trait")),
    }
}
