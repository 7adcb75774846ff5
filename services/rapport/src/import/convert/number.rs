//! Numbers as people write them: `1,234.50`, `1.234,50`, `1 234`, `１２`, `12%`.
//! Grouping must be by three digits, so that a decimal comma is never read as grouping.

use super::{DecimalMark, half_width};

/// A number in parts: all digits, and how many of them stand after the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) is_negative: bool,
    pub(super) digits: i128,
    pub(super) scale: u32,
}

const EXPECTED: &str = "must be a number such as 1234.5";

pub(super) fn integer(text: &str, mark: DecimalMark) -> Result<i64, String> {
    let wrong = || "must be a whole number".to_owned();
    let Parts { is_negative, mut digits, mut scale } = parts(&half_width(text), mark)
        .map_err(|reason| reason.replace("a number", "a whole number"))?;
    while scale > 0 && digits % 10 == 0 {
        digits /= 10;
        scale -= 1;
    }
    let value = if is_negative { -digits } else { digits };
    if scale > 0 { Err(wrong()) } else { i64::try_from(value).map_err(|_| wrong()) }
}

pub(super) fn decimal(text: &str, mark: DecimalMark) -> Result<f64, String> {
    let text = half_width(text);
    let text = text.trim();
    // 1.2E+3, as sheets write long numbers.
    if mark == DecimalMark::Point && text.contains(['e', 'E']) {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        return number.ok_or_else(|| EXPECTED.to_owned());
    }
    let (text, divisor) = match text.strip_suffix('%') {
        Some(rest) => (rest, 100.0),
        None => (text, 1.0),
    };
    let Parts { is_negative, digits, scale } = parts(text, mark)?;
    // Parsing the digits as text rounds once, dividing would round twice.
    let written = format!("{digits}e-{scale}");
    let number = written.parse::<f64>().map_err(|_| EXPECTED.to_owned())? / divisor;
    Ok(if is_negative { -number } else { number })
}

/// Splits a number of ASCII signs into its parts.
pub(super) fn parts(text: &str, mark: DecimalMark) -> Result<Parts, String> {
    let text = text.trim();
    let (is_negative, text) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        [b'(', .., b')'] => (true, &text[1..text.len() - 1]),
        _ => (false, text),
    };
    let (point, group) = match mark {
        DecimalMark::Point => ('.', ','),
        DecimalMark::Comma => (',', '.'),
    };
    let text = text.trim();
    let (whole, fraction) = text.split_once(point).unwrap_or((text, ""));
    let whole = ungrouped(whole, group)?;
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !all_digits(&whole) || !all_digits(fraction) {
        return Err(EXPECTED.to_owned());
    }
    // Noise of binary floating point (22.200000000000003) is cut at 18 places.
    let fraction = &fraction[..fraction.len().min(18)];
    let written = format!("{whole}{fraction}");
    let digits = written.parse().map_err(|_| "has too many digits".to_owned())?;
    Ok(Parts { is_negative, digits, scale: fraction.len() as u32 })
}

fn ungrouped(whole: &str, group: char) -> Result<String, String> {
    let sign = if whole.contains(group) {
        group
    } else {
        ['\'', ' '].into_iter().find(|sign| whole.contains(*sign)).unwrap_or(group)
    };
    if !whole.contains(sign) {
        return Ok(whole.to_owned());
    }
    let groups: Vec<&str> = whole.split(sign).collect();
    let first_fits = matches!(groups[0].len(), 1..=3);
    if !first_fits || groups[1..].iter().any(|digits| digits.len() != 3) {
        return Err(format!(
            "must be a number: `{sign}` does not group by three digits here (is it the decimal \
             mark? then say `decimal: \"{group}\"`)"
        ));
    }
    Ok(groups.concat())
}

/// Which decimal marks a number may have been written with.
pub(crate) fn decimal_mark(text: &str) -> (bool, bool) {
    let text = half_width(text);
    (parts(&text, DecimalMark::Point).is_ok(), parts(&text, DecimalMark::Comma).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        let point = DecimalMark::Point;
        for (text, expected) in [
            ("1,234.50", 1_234.5),
            ("-12", -12.0),
            ("(3.5)", -3.5),
            (".5", 0.5),
            ("１２３", 123.0),
            ("12.5%", 0.125),
            ("1.5E+3", 1_500.0),
            ("22.200000000000003", 22.200000000000003),
            ("1 234", 1_234.0),
        ] {
            assert_eq!(decimal(text, point), Ok(expected), "{text}");
        }
        assert_eq!(decimal("1.234,50", DecimalMark::Comma), Ok(1_234.5));
        for text in ["", "abc", "1,23", "1.2.3", "12,34,567", "--1", "1e", "∞", "1e999"] {
            assert!(decimal(text, point).is_err(), "{text}");
        }
        assert_eq!(integer("1,000.00", point), Ok(1_000));
        assert!(integer("1.5", point).is_err());
        assert!(integer("99999999999999999999", point).is_err());
    }
}
