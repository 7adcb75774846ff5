//! E-mail addresses: lower case as a whole. RFC 5321 lets the part before the @ depend on
//! case, and no provider does; dots and plus tags mean different things to different
//! providers, so they stay. Internationalised domains stay in Unicode.

use crate::IgnoreReason;

/// Reads a folded (NFKC, lower case, trimmed) address.
pub(super) fn normalise(folded: String) -> Result<String, IgnoreReason> {
    let is_masked = |c: char| matches!(c, '*' | '•' | '●' | '█' | '…');
    if folded.chars().any(is_masked) || folded.contains("...") {
        return Err(IgnoreReason::Masked);
    }
    let Some((mailbox, domain)) = folded.split_once('@') else {
        return Err(IgnoreReason::Malformed);
    };
    if is_mailbox(mailbox) && is_domain(domain) { Ok(folded) } else { Err(IgnoreReason::Malformed) }
}

/// A dot-string of RFC 5322 atoms, with the letters of RFC 6531; no quoted strings.
/// Misplaced dots are let through: old Japanese providers gave such mailboxes out.
fn is_mailbox(mailbox: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    !mailbox.is_empty() && mailbox.len() <= 64 && mailbox.chars().all(allowed)
}

/// At least two labels of letters, digits and inner hyphens.
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        let hyphen_outside = label.starts_with('-') || label.ends_with('-');
        !label.is_empty() && label.len() <= 63 && !hyphen_outside && label.chars().all(allowed)
    };
    domain.len() <= 253 && domain.contains('.') && domain.split('.').all(is_label)
}
