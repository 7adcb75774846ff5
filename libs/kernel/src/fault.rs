//! What went wrong, as far as the caller is concerned. `server::status` turns a kind into
//! a gRPC code, in one place.

use std::time::Duration;

use crate::Violations;

/// What the caller may do about a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Correct the named fields. Never retry.
    Invalid(Violations),
    /// Get a (better) token.
    Unauthenticated,
    /// Ask for the scope.
    Denied,
    /// Nothing there, or another tenant's.
    NotFound,
    /// The object's state does not allow this.
    Precondition,
    /// Lost a race: repeat the whole read-modify-write.
    Conflict,
    /// A position or page that is no longer, or never was, valid.
    OutOfRange,
    /// Too much at once: wait.
    Exhausted,
    /// The deadline passed.
    Deadline,
    /// A dependency or this server is away: repeat with jitter.
    Unavailable,
    /// A fault of ours.
    Internal,
}

/// An error that knows what to tell a caller. `Display` of the implementor is the message
/// that the caller sees: it carries no personal data and no internals; the `source` chain
/// is for the log.
pub trait Fault: std::error::Error {
    /// What the caller may do.
    fn kind(&self) -> Kind;

    /// The name of the `ErrorReason` without its prefix, e.g. `NOT_FOUND`.
    fn reason(&self) -> &'static str {
        match self.kind() {
            Kind::Invalid(_) => "INVALID_FIELD",
            Kind::Unauthenticated => "TOKEN_INVALID",
            Kind::Denied => "SCOPE_MISSING",
            Kind::NotFound => "NOT_FOUND",
            Kind::Precondition => "WRONG_STATE",
            Kind::Conflict => "CONFLICT",
            Kind::OutOfRange => "FEED_TRUNCATED",
            Kind::Exhausted => "OVERLOADED",
            Kind::Deadline => "DEADLINE_EXCEEDED",
            Kind::Unavailable => "UNAVAILABLE",
            Kind::Internal => "INTERNAL",
        }
    }

    /// How long to wait before a retry has a chance, where the fault knows better than the
    /// usual wait of its kind. An error that wraps another fault passes its answer on.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}
