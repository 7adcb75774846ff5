//! What an event adds to the ledger: its own entry, or what Segment's e-commerce
//! specification says with the events `Order Completed` and `Order Refunded`.

use aggregate::{Amount, InvalidAmount, LedgerFact};
use contracts::google::r#type::Money;
use contracts::profile::v1 as wire;
use contracts::profile::v1::LedgerEntryType;
use kernel::Violations;
use prost_types::value::Kind;
use prost_types::{Struct, Value};

use crate::domain::event::{LedgerEntry, limit};

/// The currency of Segment's specification when an order names none.
const DEFAULT_CURRENCY: &str = "USD";
/// Where the money of an order may stand, the first one counts.
const AMOUNTS: [&str; 3] = ["revenue", "total", "value"];

/// The entry that an event carries.
pub(super) fn explicit(
    violations: &mut Violations,
    entry: &wire::LedgerEntry,
) -> Option<LedgerEntry> {
    entry_number(violations, "ledger_entry.entry_id", &entry.entry_id);
    let points = u64::try_from(entry.points);
    if points.is_err() {
        violations.add("ledger_entry.points", "must not be negative");
    }
    let points = points.unwrap_or_default();
    let amount = entry.amount.as_ref().and_then(|money| {
        let Money { currency_code, units, nanos } = money;
        match Amount::from_money(currency_code, *units, *nanos) {
            Ok(amount) => Some(amount),
            Err(error) => {
                violations.add(field_of(error), error.to_string());
                None
            }
        }
    });
    let kind = LedgerEntryType::try_from(entry.r#type).unwrap_or_default();
    let fact = match kind {
        LedgerEntryType::OrderCompleted => LedgerFact::OrderCompleted(amount),
        LedgerEntryType::OrderRefunded => LedgerFact::OrderRefunded(amount),
        LedgerEntryType::TicketOpened => LedgerFact::TicketOpened,
        LedgerEntryType::TicketClosed => LedgerFact::TicketClosed,
        LedgerEntryType::PointsEarned => LedgerFact::PointsEarned(points),
        LedgerEntryType::PointsSpent => LedgerFact::PointsSpent(points),
        LedgerEntryType::Unspecified => {
            violations.add("ledger_entry.type", "must be one of the ledger entry types");
            return None;
        }
    };
    let kind_number = entry.r#type as i16; // one of the above
    Some(LedgerEntry { fact, kind_number, entry_id: entry.entry_id.clone() })
}

/// Postgres keeps no zero bytes in text.
fn entry_number(violations: &mut Violations, field: &str, number: &str) {
    if number.len() > limit::ENTRY_ID_BYTES || number.contains('\0') {
        violations.add(field, "must be at most 128 bytes without zero bytes");
    }
}

const fn field_of(error: InvalidAmount) -> &'static str {
    match error {
        InvalidAmount::Currency => "ledger_entry.amount.currency_code",
        InvalidAmount::Nanos => "ledger_entry.amount.nanos",
        InvalidAmount::Negative | InvalidAmount::TooLarge => "ledger_entry.amount",
    }
}

/// The entry of a track event by its name and properties.
pub(super) fn of_track(
    violations: &mut Violations,
    name: &str,
    properties: Option<&Struct>,
) -> Option<LedgerEntry> {
    let kind = match name {
        "Order Completed" => LedgerEntryType::OrderCompleted,
        "Order Refunded" => LedgerEntryType::OrderRefunded,
        _ => return None,
    };
    let property = |key: &str| {
        let kind = properties?.fields.get(key)?.kind.as_ref()?;
        (!matches!(kind, Kind::NullValue(_))).then_some(kind)
    };
    let entry_id = match property("order_id") {
        Some(Kind::StringValue(id)) => id.clone(),
        Some(Kind::NumberValue(id)) => id.to_string(),
        _ => String::new(),
    };
    entry_number(violations, "properties.order_id", &entry_id);
    let given = AMOUNTS.iter().find_map(|key| Some((*key, property(key)?)));
    let amount = given.and_then(|(key, value)| {
        let currency = match property("currency") {
            Some(Kind::StringValue(code)) => code.to_ascii_uppercase(),
            _ => DEFAULT_CURRENCY.to_owned(),
        };
        match amount(value, &currency) {
            Ok(amount) => Some(amount),
            Err(InvalidAmount::Currency) => {
                violations.add("properties.currency", InvalidAmount::Currency.to_string());
                None
            }
            Err(_) => {
                let description = "must be a number from 0 to 18,446,744,073,709";
                violations.add(format!("properties.{key}"), description);
                None
            }
        }
    });
    let fact = match kind {
        LedgerEntryType::OrderRefunded => LedgerFact::OrderRefunded(amount),
        _ => LedgerFact::OrderCompleted(amount),
    };
    Some(LedgerEntry { fact, kind_number: kind as i16, entry_id })
}

/// A number, or text that is one.
fn amount(value: &Kind, currency: &str) -> Result<Amount, InvalidAmount> {
    let number = match value {
        Kind::NumberValue(number) => *number,
        Kind::StringValue(text) => text.trim().parse().map_err(|_| InvalidAmount::TooLarge)?,
        _ => return Err(InvalidAmount::TooLarge),
    };
    if !number.is_finite() || number >= 1.8e13 {
        return Err(InvalidAmount::TooLarge);
    }
    if number < 0.0 {
        return Err(InvalidAmount::Negative);
    }
    let micros = (number * 1e6).round() as u64; // within range, see above
    let units = (micros / 1_000_000) as i64;
    Amount::from_money(currency, units, (micros % 1_000_000) as i32 * 1_000)
}

/// Whether a value is there at all: an explicit null is not.
pub(super) fn is_null(value: &Value) -> bool {
    matches!(value.kind, None | Some(Kind::NullValue(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, Kind)]) -> Struct {
        let pairs =
            pairs.iter().map(|(key, kind)| ((*key).to_owned(), Value { kind: Some(kind.clone()) }));
        Struct { fields: pairs.collect() }
    }

    #[test]
    fn an_order_of_segment_is_a_ledger_entry() {
        let mut violations = Violations::new();
        let order = properties(&[
            ("order_id", Kind::StringValue("A-1".to_owned())),
            ("total", Kind::NumberValue(99.0)),
            ("revenue", Kind::NumberValue(12.345_678)),
            ("currency", Kind::StringValue("cny".to_owned())),
        ]);
        let entry = of_track(&mut violations, "Order Completed", Some(&order)).unwrap();
        let expected = Amount::from_money("CNY", 12, 345_678_000).unwrap();
        assert_eq!(entry.fact, LedgerFact::OrderCompleted(Some(expected)));
        assert_eq!(entry.entry_id, "A-1");
        assert!(of_track(&mut violations, "Product Viewed", Some(&order)).is_none());
        let none = of_track(&mut violations, "Order Refunded", None).unwrap();
        assert_eq!(none.fact, LedgerFact::OrderRefunded(None));
        assert!(violations.is_empty());
    }

    #[test]
    fn bad_money_names_its_field() {
        let fields = |pairs: &[(&str, Kind)]| {
            let mut violations = Violations::new();
            of_track(&mut violations, "Order Completed", Some(&properties(pairs)));
            violations.into_iter().map(|violation| violation.field).collect::<Vec<_>>()
        };
        assert_eq!(fields(&[("revenue", Kind::NumberValue(-1.0))]), ["properties.revenue"]);
        assert_eq!(fields(&[("value", Kind::StringValue("x".into()))]), ["properties.value"]);
        let euro = ("currency", Kind::StringValue("€".into()));
        assert_eq!(fields(&[("total", Kind::NumberValue(1.0)), euro]), ["properties.currency"]);
    }
}
