//! Amounts of messages as millionths of a unit.

use contracts::google::r#type::Money;

use crate::domain::outcome::Value;

/// An amount that cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAnAmount {
    #[error("currency_code must be three capital letters (ISO 4217)")]
    Currency,
    #[error("units and nanos must have the same sign, and nanos be within ±999,999,999")]
    Sign,
    #[error("must not have more than six decimal places")]
    Precision,
    #[error("is too large: at most 9,000,000,000,000 units")]
    Range,
}

const MAX_UNITS: u64 = 9_000_000_000_000;

/// Reads an amount.
pub(crate) fn value(money: &Money) -> Result<Value, NotAnAmount> {
    let currency = money.currency_code.as_str();
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(NotAnAmount::Currency);
    }
    let opposite = (money.units > 0 && money.nanos < 0) || (money.units < 0 && money.nanos > 0);
    if opposite || money.nanos.unsigned_abs() > 999_999_999 {
        return Err(NotAnAmount::Sign);
    }
    if money.nanos % 1_000 != 0 {
        return Err(NotAnAmount::Precision);
    }
    if money.units.unsigned_abs() > MAX_UNITS {
        return Err(NotAnAmount::Range);
    }
    let micros = money.units * 1_000_000 + i64::from(money.nanos) / 1_000;
    Ok(Value { micros, currency: currency.to_owned() })
}

/// The message of an amount; a sum beyond its range is its end.
pub(crate) fn money(micros: i128, currency: &str) -> Money {
    let end = if micros < 0 { i64::MIN } else { i64::MAX };
    Money {
        currency_code: currency.to_owned(),
        units: i64::try_from(micros / 1_000_000).unwrap_or(end),
        nanos: (micros % 1_000_000) as i32 * 1_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_come_back_and_wrong_ones_are_refused() {
        let amount = |units, nanos| Money { currency_code: "EUR".to_owned(), units, nanos };
        for good in [amount(12, 340_000_000), amount(-1, -750_000_000), amount(0, -1_000)] {
            let value = value(&good).unwrap();
            assert_eq!(money(value.micros.into(), &value.currency), good);
        }
        assert_eq!(value(&amount(1, -1_000)), Err(NotAnAmount::Sign));
        assert_eq!(value(&amount(1, 1)), Err(NotAnAmount::Precision));
        assert_eq!(value(&amount(i64::MAX, 0)), Err(NotAnAmount::Range));
        let lower = Money { currency_code: "eur".to_owned(), units: 1, nanos: 0 };
        assert_eq!(value(&lower), Err(NotAnAmount::Currency));
    }
}
