//! Raw text to the one form in which equal identifiers are equal.
//!
//! FROZEN: the result enters evidence ids that are stored for ever. Any change of what is
//! accepted or produced is a new [`VERSION`], and both services must carry the old one too.
//! The tables in `tests/it/normalise.rs` are the guard.
//!
//! Every value: invisible format characters (U+200B, bidi marks of copied contacts, BOM) are
//! dropped, blanks around it trimmed, and values that identify nobody refused.

mod email;
mod phone;
mod placeholder;

use rlibphonenumber::Region;
use unicode_normalization::UnicodeNormalization;

use crate::{Identifier, IgnoreReason, Namespace};

/// Goes into every evidence id.
pub const VERSION: u8 = 1;

/// The longest raw and the longest normalised value, in bytes.
pub const MAX_VALUE_BYTES: usize = 512;

/// How the rules want values to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// Compare without regard to case.
    pub(crate) ignore_case: bool,
    /// Where phone numbers without country code belong.
    pub(crate) region: Region,
}

/// Normalises one value. O(length).
pub(crate) fn identifier(
    namespace: &Namespace,
    raw: &str,
    reading: Reading,
) -> Result<Identifier, IgnoreReason> {
    if raw.len() > MAX_VALUE_BYTES {
        return Err(IgnoreReason::Malformed);
    }
    let visible: String = raw.chars().filter(|c| !is_invisible(*c)).collect();
    let trimmed = visible.trim();
    if trimmed.chars().any(char::is_control) {
        return Err(IgnoreReason::Malformed);
    }
    let compatible: String = trimmed.nfkc().collect();
    // Lower case may leave the normal form: only the small letter of J with U+030C is one sign.
    let folded: String = compatible.trim().to_lowercase().nfkc().collect();
    if placeholder::is_placeholder(&folded) {
        return Err(IgnoreReason::Placeholder);
    }
    let value = if *namespace == Namespace::EMAIL {
        email::normalise(folded)?
    } else if *namespace == Namespace::PHONE {
        phone::normalise(&compatible, reading.region)?
    } else if reading.ignore_case {
        folded
    } else if *namespace == Namespace::USER_ID || *namespace == Namespace::MEMBER_NO {
        compatible.trim().to_owned()
    } else {
        trimmed.to_owned()
    };
    if value.len() > MAX_VALUE_BYTES {
        return Err(IgnoreReason::Malformed);
    }
    let scoped_value = value.rsplit_once(':').map(|(_scope, value)| value.trim().to_lowercase());
    if is_scoped(namespace) && scoped_value.is_some_and(|v| placeholder::is_placeholder(&v)) {
        return Err(IgnoreReason::Placeholder);
    }
    Ok(Identifier::of_normalised(namespace.clone(), value))
}

/// Namespaces whose values carry `<app or source>:` in front.
fn is_scoped(namespace: &Namespace) -> bool {
    let scoped = [Namespace::WECHAT_OPENID, Namespace::WECHAT_UNIONID, Namespace::CRM_ID];
    scoped.contains(namespace)
}

/// Format characters that people copy along without seeing them.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
