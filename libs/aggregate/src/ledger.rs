//! Orders, tickets and points: sums over distinct events.
//!
//! What goes in and what comes out are two unsigned sums, each of which saturates (at
//! 18.4 trillion units of a currency): differences are taken when they are read.

use crate::facts::{Amount, Currency, LedgerFact};
use crate::hash;
use crate::limit::CURRENCIES;
use crate::selection::{Entry, Selection};
use crate::tile::Span;

/// Totals of the ledger entries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger {
    pub(crate) orders: u64,
    pub(crate) refunds: u64,
    pub(crate) order_span: Option<Span>,
    pub(crate) tickets_opened: u64,
    pub(crate) tickets_closed: u64,
    pub(crate) points_earned: u64,
    pub(crate) points_spent: u64,
    pub(crate) currencies: Selection<CurrencyTotal, CURRENCIES>,
}

/// Totals of one currency.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CurrencyTotal {
    pub(crate) hash: u64,
    pub(crate) currency: Currency,
    pub(crate) orders: u64,
    pub(crate) completed: u64,
    pub(crate) refunded: u64,
}

/// Completed minus refunded in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revenue {
    /// The currency.
    pub currency: Currency,
    /// Orders in this currency.
    pub orders: u64,
    /// Millionths of a unit; negative when more was paid back than paid.
    pub micros: i64,
}

impl Revenue {
    /// Units and nanos as in `google.type.Money` (both of the same sign).
    #[must_use]
    pub const fn to_money(&self) -> (i64, i32) {
        (self.micros / 1_000_000, (self.micros % 1_000_000) as i32 * 1_000)
    }

    /// In units of the currency.
    #[must_use]
    pub fn units(&self) -> f64 {
        self.micros as f64 / 1e6
    }
}

impl CurrencyTotal {
    fn of(amount: Amount) -> Self {
        let hash = hash::of_name(amount.currency.as_str());
        Self { hash, currency: amount.currency, orders: 0, completed: 0, refunded: 0 }
    }

    fn revenue(&self) -> Revenue {
        let micros = difference(self.completed, self.refunded);
        Revenue { currency: self.currency, orders: self.orders, micros }
    }
}

impl Entry for CurrencyTotal {
    fn rank(&self) -> (u64, &str) {
        (self.hash, self.currency.as_str())
    }

    fn absorb(&mut self, other: &Self) -> bool {
        self.orders = self.orders.saturating_add(other.orders);
        self.completed = self.completed.saturating_add(other.completed);
        self.refunded = self.refunded.saturating_add(other.refunded);
        true
    }
}

/// `plus − minus`, within the range of an `i64`.
fn difference(plus: u64, minus: u64) -> i64 {
    let exact = i128::from(plus) - i128::from(minus);
    let within = exact.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    within as i64 // clamped
}

impl Ledger {
    pub(crate) fn fold(&mut self, fact: LedgerFact, event_us: i64) {
        match fact {
            LedgerFact::OrderCompleted(amount) => {
                self.orders = self.orders.saturating_add(1);
                Span::include(&mut self.order_span, Span::at(event_us));
                self.add_amount(amount, |total, micros| {
                    total.orders = total.orders.saturating_add(1);
                    total.completed = total.completed.saturating_add(micros);
                });
            }
            LedgerFact::OrderRefunded(amount) => {
                self.refunds = self.refunds.saturating_add(1);
                self.add_amount(amount, |total, micros| {
                    total.refunded = total.refunded.saturating_add(micros);
                });
            }
            LedgerFact::TicketOpened => {
                self.tickets_opened = self.tickets_opened.saturating_add(1);
            }
            LedgerFact::TicketClosed => {
                self.tickets_closed = self.tickets_closed.saturating_add(1);
            }
            LedgerFact::PointsEarned(points) => {
                self.points_earned = self.points_earned.saturating_add(points);
            }
            LedgerFact::PointsSpent(points) => {
                self.points_spent = self.points_spent.saturating_add(points);
            }
        }
    }

    fn add_amount(&mut self, amount: Option<Amount>, add: impl FnOnce(&mut CurrencyTotal, u64)) {
        let Some(amount) = amount else { return };
        let mut one = CurrencyTotal::of(amount);
        add(&mut one, amount.micros);
        let (hash, code) = one.rank();
        self.currencies.update(hash, code, |kept| kept.absorb(&one), || one.clone());
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.orders = self.orders.saturating_add(other.orders);
        self.refunds = self.refunds.saturating_add(other.refunds);
        if let Some(span) = other.order_span {
            Span::include(&mut self.order_span, span);
        }
        self.tickets_opened = self.tickets_opened.saturating_add(other.tickets_opened);
        self.tickets_closed = self.tickets_closed.saturating_add(other.tickets_closed);
        self.points_earned = self.points_earned.saturating_add(other.points_earned);
        self.points_spent = self.points_spent.saturating_add(other.points_spent);
        self.currencies.merge(&other.currencies);
    }

    /// Completed orders.
    #[must_use]
    pub const fn orders(&self) -> u64 {
        self.orders
    }

    /// Times that money was paid back.
    #[must_use]
    pub const fn refunds(&self) -> u64 {
        self.refunds
    }

    /// Revenue per currency, in the order of their hashes.
    pub fn revenue(&self) -> impl ExactSizeIterator<Item = Revenue> {
        self.currencies.iter().map(CurrencyTotal::revenue)
    }

    /// Revenue in the currency with the most orders; on a tie the larger sum, then the code
    /// that comes first in the alphabet. `None` if no order had an amount.
    #[must_use]
    pub fn main_revenue(&self) -> Option<Revenue> {
        self.revenue().filter(|revenue| revenue.orders > 0).max_by(|a, b| {
            (a.orders, a.micros).cmp(&(b.orders, b.micros)).then(b.currency.cmp(&a.currency))
        })
    }

    /// When the first order was completed.
    #[must_use]
    pub fn first_order_us(&self) -> Option<i64> {
        self.order_span.map(|span| span.first_us)
    }

    /// When the last order was completed.
    #[must_use]
    pub fn last_order_us(&self) -> Option<i64> {
        self.order_span.map(|span| span.last_us)
    }

    /// Tickets opened.
    #[must_use]
    pub const fn tickets_opened(&self) -> u64 {
        self.tickets_opened
    }

    /// Tickets opened minus tickets closed.
    #[must_use]
    pub fn open_tickets(&self) -> i64 {
        difference(self.tickets_opened, self.tickets_closed)
    }

    /// Points earned minus points spent.
    #[must_use]
    pub fn points_balance(&self) -> i64 {
        difference(self.points_earned, self.points_spent)
    }
}
