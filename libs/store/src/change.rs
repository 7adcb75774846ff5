//! How a configuration resource is to be changed, and by whom.

use jiff::Timestamp;
use kernel::Violations;

/// How a change is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The etag that was read, if the caller insists on it; [`ABSENT`] if nothing was there.
    pub etag: Option<&'a str>,
    /// Answer what would happen, change nothing.
    pub validate_only: bool,
    /// The time of the change.
    pub now: Timestamp,
    /// Who makes it.
    pub origin: Origin<'a>,
}

impl<'a> Change<'a> {
    /// An unconditional change by nobody in particular.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self { etag: None, validate_only: false, now, origin: Origin { author: "", change_id: "" } }
    }

    /// The same by somebody.
    #[must_use]
    pub const fn by(self, origin: Origin<'a>) -> Self {
        Self { origin, ..self }
    }
}

/// Who makes a change, for the record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The subject of the caller's token.
    pub author: &'a str,
    /// What the caller calls the change that this one is part of; empty for none.
    pub change_id: &'a str,
}

impl<'a> Origin<'a> {
    /// Checks the id that a caller gave a change.
    ///
    /// # Errors
    /// A violation of `change_id`.
    pub fn new(author: &'a str, change_id: &'a str) -> Result<Self, Violations> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        if change_id.len() > 64 || !change_id.bytes().all(fits) {
            let text = "must be at most 64 letters, digits, and `_`, `.`, `:`, `-`";
            return Err(Violations::of("change_id", text));
        }
        Ok(Self { author, change_id })
    }
}
