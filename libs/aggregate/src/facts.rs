//! What the fold needs to know of an event.

use kernel::EvidenceId;

use crate::trait_value::TraitValue;

/// One event, as the service understood it. Texts beyond their [`limit`](crate::limit) are
/// cut: the service refuses such events first, here it only keeps states bounded.
#[derive(Debug, Clone, Copy)]
pub struct EventFacts<'a> {
    /// What it is counted as; empty counts as the kind.
    pub name: &'a str,
    /// The kind of message.
    pub kind: EventKind,
    /// When it happened, in microseconds since 1970.
    pub event_us: i64,
    /// The order, ticket or points movement that it carries.
    pub ledger: Option<LedgerFact>,
    /// Values of declared attributes.
    pub traits: &'a [TraitFact<'a>],
    /// The system that says so.
    pub source: &'a str,
    /// The evidence that it hangs on.
    pub evidence: EvidenceId,
    /// Unique within the evidence.
    pub message_id: &'a str,
}

impl<'a> EventFacts<'a> {
    /// The name of the counter.
    pub(crate) fn counted_as(&self) -> &'a str {
        let name = if self.name.is_empty() { self.kind.as_str() } else { self.name };
        crate::limit::cut(name, crate::limit::NAME_BYTES)
    }
}

/// Kinds of messages of the Segment specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// An action with a name.
    Track,
    /// Attributes of a person.
    Identify,
    /// A web page was seen.
    Page,
    /// A screen of an app was seen.
    Screen,
    /// The person belongs to a group.
    Group,
    /// Two identifiers belong to one person.
    Alias,
}

impl EventKind {
    /// The word of the specification.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Identify => "identify",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }
}

/// The value of a declared attribute in an event.
#[derive(Debug, Clone, Copy)]
pub struct TraitFact<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value.
    pub value: &'a TraitValue,
    /// Personal data: goes to [`Personal`](crate::Personal), never to
    /// [`Behaviour`](crate::Behaviour).
    pub personal: bool,
}

/// A typed fact that adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerFact {
    /// One more order, with its amount if known.
    OrderCompleted(Option<Amount>),
    /// Money was paid back.
    OrderRefunded(Option<Amount>),
    /// A ticket was opened.
    TicketOpened,
    /// A ticket was closed.
    TicketClosed,
    /// Points were earned.
    PointsEarned(u64),
    /// Points were spent.
    PointsSpent(u64),
}

/// Why something is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// Three capital letters of ISO 4217 are expected.
    #[error("currency must be three capital letters (ISO 4217)")]
    Currency,
    /// Direction is said by the type of the ledger entry.
    #[error("amount must not be negative")]
    Negative,
    /// As in `google.type.Money`.
    #[error("nanos must be between 0 and 999,999,999")]
    Nanos,
    /// 2⁶⁴ − 1 micros, about 18.4 trillion units.
    #[error("amount is beyond 18,446,744,073,709 units")]
    TooLarge,
}

/// A code of ISO 4217.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Reads three capital letters.
    ///
    /// # Errors
    /// [`InvalidAmount::Currency`].
    pub fn new(code: &str) -> Result<Self, InvalidAmount> {
        match <[u8; 3]>::try_from(code.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(InvalidAmount::Currency),
        }
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default() // ASCII by construction
    }
}

/// Money that is not negative, in millionths of the currency's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// The currency.
    pub currency: Currency,
    /// Millionths of a unit.
    pub micros: u64,
}

impl Amount {
    /// Reads a `google.type.Money`; what is below a millionth is cut off.
    ///
    /// # Errors
    /// [`InvalidAmount`].
    pub fn from_money(code: &str, units: i64, nanos: i32) -> Result<Self, InvalidAmount> {
        let currency = Currency::new(code)?;
        if units < 0 || nanos < 0 {
            return Err(InvalidAmount::Negative);
        }
        if nanos > 999_999_999 {
            return Err(InvalidAmount::Nanos);
        }
        let micros = units
            .unsigned_abs()
            .checked_mul(1_000_000)
            .and_then(|micros| micros.checked_add(u64::from(nanos.unsigned_abs() / 1_000)))
            .ok_or(InvalidAmount::TooLarge)?;
        Ok(Self { currency, micros })
    }
}
