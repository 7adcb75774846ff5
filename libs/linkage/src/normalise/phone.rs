//! Telephone numbers: E.164, with `;ext=` (RFC 3966) when there is an extension, because
//! the people behind one switchboard are many.
//!
//! A number must have a *possible* length for its country rather than lie in an assigned
//! range: ranges are opened faster than metadata is released, and the result is frozen. The one
//! exception are short national numbers, see below.
//! Masked digits must be found first: a parser drops the stars and makes a shorter number.

use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, Region};

use crate::IgnoreReason;

/// Counting rows of the keypad, after the country code.
const KEYPAD_ROWS: [&str; 5] = ["12345678", "123456789", "1234567890", "12345678901", "0123456789"];

/// What stands before an extension in Chinese, the longer words first.
const EXTENSION_WORDS: [&str; 6] = ["转分机", "轉分機", "分机", "分機", "转", "轉"];

/// Reads an NFKC form (which has ASCII digits and signs for full-width ones).
pub(super) fn normalise(compatible: &str, region: Region) -> Result<String, IgnoreReason> {
    let lower = compatible.trim().to_lowercase();
    let mut dialled = lower.strip_prefix("tel:").unwrap_or(&lower).to_owned();
    for word in EXTENSION_WORDS {
        dialled = dialled.replace(word, "x");
    }
    if is_masked(&dialled) {
        return Err(IgnoreReason::Masked);
    }
    // The parser knows dots and hyphens, not the middle dot of Chinese typography.
    let dialled = dialled.replace('·', "-");
    let digits: String = dialled.chars().filter(char::is_ascii_digit).collect();
    let is_one_digit = digits.len() > 4 && digits.bytes().all(|d| d == digits.as_bytes()[0]);
    if is_one_digit || KEYPAD_ROWS.contains(&digits.as_str()) {
        return Err(IgnoreReason::Placeholder);
    }
    // The parser would read FLOWERS as digits and find a number inside a sentence.
    let mut letters = dialled.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    if letters.any(|word| !matches!(word, "x" | "ext" | "extn" | "extension")) {
        return Err(IgnoreReason::Malformed);
    }
    let parsed = PHONE_NUMBER_UTIL.parse(&dialled, Some(region));
    let number = parsed.map_err(|_| IgnoreReason::Malformed)?;
    if number.is_possible_with_reason() != Ok(NumberLengthType::IsPossible) {
        return Err(IgnoreReason::Malformed);
    }
    let national = number.get_national_significant_number();
    let begins = dialled.trim_start_matches(['(', ' ']);
    let is_international = begins.starts_with('+') || begins.starts_with("00");
    if national.len() < 9 && !is_international && !number.is_valid() {
        // A subscriber number without its area code: the same digits exist in many cities.
        return Err(IgnoreReason::Malformed);
    }
    let mut national_digits = national.bytes();
    let first = national_digits.next();
    if national_digits.all(|digit| Some(digit) == first) {
        return Err(IgnoreReason::Placeholder);
    }
    let e164 = format!("+{}{national}", number.country_code);
    match number.extension.as_deref() {
        Some(extension) if !extension.is_empty() => Ok(format!("{e164};ext={extension}")),
        _ => Ok(e164),
    }
}

/// A sign that no number has, or a run of signs where digits should be. One `x` or dot is
/// an extension or a separator.
fn is_masked(dialled: &str) -> bool {
    let is_mask_sign = |c: char| matches!(c, '*' | '•' | '●' | '○' | '█' | '■' | '□' | '×' | '?');
    let runs = ["xx", "##", "..", "__", "··"];
    dialled.chars().any(is_mask_sign) || runs.iter().any(|run| dialled.contains(run))
}
