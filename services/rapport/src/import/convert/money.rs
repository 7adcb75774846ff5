//! Amounts as people write them: `¥1,234.50`, `$40,000`, `1.234,50 €`, `CNY 12`, `1.2万元`,
//! `(12.00)`. A sign that contradicts the mapping's currency is an error, not a guess.

use super::number::{self, Parts};
use super::{DecimalMark, half_width};

/// An exact amount, as `google.type.Money` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Money {
    /// Three letters.
    pub(crate) currency: String,
    /// Whole units; negative amounts have both parts negative.
    pub(crate) units: i64,
    /// Billionths.
    pub(crate) nanos: i32,
}

impl Money {
    /// Below zero.
    pub(crate) const fn is_negative(&self) -> bool {
        self.units < 0 || self.nanos < 0
    }

    /// Without sign.
    pub(crate) fn absolute(self) -> Self {
        Self { units: self.units.saturating_abs(), nanos: self.nanos.abs(), ..self }
    }

    /// As a number.
    pub(crate) fn number(&self) -> f64 {
        self.units as f64 + f64::from(self.nanos) / 1e9
    }
}

/// A sign, and the currencies it may stand for; the first one if nothing else is said.
const SIGNS: [(&str, &[&str]); 14] = [
    ("HK$", &["HKD"]),
    ("US$", &["USD"]),
    ("NT$", &["TWD"]),
    ("R$", &["BRL"]),
    ("$", &["USD", "CAD", "AUD", "NZD", "SGD", "HKD", "TWD", "MXN"]),
    ("€", &["EUR"]),
    ("£", &["GBP"]),
    ("¥", &["CNY", "JPY"]),
    ("￥", &["CNY", "JPY"]),
    ("₹", &["INR"]),
    ("₩", &["KRW"]),
    ("元", &["CNY", "TWD"]),
    ("圆", &["CNY"]),
    ("円", &["JPY"]),
];

/// The currency that a text shows by its sign or letters, and the others it may be.
pub(crate) fn currency_of(text: &str) -> Option<&'static [&'static str]> {
    let (_, told) = split(&half_width(text));
    match told? {
        Told::Sign(currencies) => Some(currencies),
        Told::Code(_) => None,
    }
}

enum Told {
    Sign(&'static [&'static str]),
    Code(String),
}

pub(super) fn parse(
    text: &str,
    currency: Option<&str>,
    mark: DecimalMark,
) -> Result<Money, String> {
    let text = half_width(text);
    let (rest, told) = split(&text);
    let currency = match (told, currency) {
        (Some(Told::Sign(signs)), Some(given)) if !signs.contains(&given) => {
            return Err(format!("shows {}, the mapping says {given}", signs[0]));
        }
        (Some(Told::Code(code)), Some(given)) if code != given => {
            return Err(format!("shows {code}, the mapping says {given}"));
        }
        (_, Some(given)) => given.to_owned(),
        (Some(Told::Sign(signs)), None) => signs[0].to_owned(),
        (Some(Told::Code(code)), None) => code,
        (None, None) => {
            return Err("shows no currency: say `currency: CNY` in the mapping".to_owned());
        }
    };
    let (number, factor) = match rest.strip_suffix('万') {
        Some(rest) => (rest.trim().to_owned(), 10_000),
        None => (rest, 1),
    };
    let parts = number::parts(&number, mark).map_err(|reason| {
        reason.replace("a number such as 1234.5", "an amount such as 1,234.50")
    })?;
    amount(parts, factor, currency)
}

/// Rounds half up at billionths: more places are noise of binary floating point.
fn amount(parts: Parts, factor: i128, currency: String) -> Result<Money, String> {
    let wrong = || "has too many digits".to_owned();
    let digits = parts.digits.checked_mul(factor).ok_or_else(wrong)?;
    let nanos = if parts.scale <= 9 {
        digits.checked_mul(10_i128.pow(9 - parts.scale)).ok_or_else(wrong)?
    } else {
        let divisor = 10_i128.pow(parts.scale - 9);
        (digits + divisor / 2) / divisor
    };
    let nanos = if parts.is_negative { -nanos } else { nanos };
    let units = i64::try_from(nanos / 1_000_000_000).map_err(|_| wrong())?;
    Ok(Money { currency, units, nanos: (nanos % 1_000_000_000) as i32 }) // below a billion
}

/// Takes the sign or the letters of a currency off a text.
fn split(text: &str) -> (String, Option<Told>) {
    let text = text.trim();
    for (sign, currencies) in SIGNS {
        let sign = half_width(sign);
        if text.contains(&sign) {
            return (text.replacen(&sign, "", 1).trim().to_owned(), Some(Told::Sign(currencies)));
        }
    }
    // Three letters that stand alone: `CNY 12` or `CNY12`, not `free`.
    let is_code = |word: &str| word.len() == 3 && word.bytes().all(|b| b.is_ascii_alphabetic());
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
    let head = text.get(..3).filter(|word| is_code(word) && !is_letter(text[3..].chars().next()));
    let tail = text.len().checked_sub(3).and_then(|at| text.get(at..).map(|word| (at, word)));
    let tail =
        tail.filter(|(at, word)| is_code(word) && !is_letter(text[..*at].chars().next_back()));
    let tail = tail.map(|(_, word)| word);
    match (head, tail) {
        (Some(code), _) => (text[3..].trim().to_owned(), Some(Told::Code(code.to_uppercase()))),
        (None, Some(code)) => {
            let rest = text[..text.len() - 3].trim().to_owned();
            (rest, Some(Told::Code(code.to_uppercase())))
        }
        (None, None) => (text.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, currency: Option<&str>, mark: DecimalMark) -> Result<String, String> {
        let money = parse(text, currency, mark)?;
        Ok(format!("{} {} {}", money.currency, money.units, money.nanos))
    }

    #[test]
    fn amounts_are_exact_and_know_their_currency() {
        let point = DecimalMark::Point;
        for (text, expected) in [
            ("¥1,234.50", "CNY 1234 500000000"),
            ("￥１，２３４.５", "CNY 1234 500000000"),
            ("$40,000", "USD 40000 0"),
            ("CNY 12", "CNY 12 0"),
            ("12.3 usd", "USD 12 300000000"),
            ("1.2万元", "CNY 12000 0"),
            ("-£3.05", "GBP -3 -50000000"),
            ("($3.05)", "USD -3 -50000000"),
            ("HK$5", "HKD 5 0"),
        ] {
            assert_eq!(read(text, None, point).as_deref(), Ok(expected), "{text}");
        }
        let noisy = read("22.200000000000003", Some("GBP"), point);
        assert_eq!(noisy.as_deref(), Ok("GBP 22 200000000"));
        let comma = read("1.234,50 €", None, DecimalMark::Comma);
        assert_eq!(comma.as_deref(), Ok("EUR 1234 500000000"));
        assert_eq!(read("¥5", Some("JPY"), point).as_deref(), Ok("JPY 5 0"));
    }

    #[test]
    fn what_is_no_amount_says_why() {
        let point = DecimalMark::Point;
        for (text, part) in [
            ("12", "no currency"),
            ("$12", "shows USD"),
            ("USD 12", "shows USD"),
            ("¥12,5", "decimal"),
            ("free", "amount such as"),
            ("¥", "amount such as"),
        ] {
            let currency = (text != "12").then_some("CNY");
            let reason = read(text, currency, point).expect_err(text);
            assert!(reason.contains(part), "{text}: {reason}");
        }
    }
}
