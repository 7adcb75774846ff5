//! What can go wrong in a use case.

use kernel::{Fault, Kind, Violations};

/// Why a call was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Fields of the request are wrong.
    #[error("{0}")]
    Invalid(Violations),
    /// There is no such thing in this tenant.
    #[error("{0} does not exist")]
    NotFound(&'static str),
    /// All places for reports were taken until the deadline.
    #[error("too many reports at once, try again later")]
    Busy,
    /// A computation broke off.
    #[error("the report could not be computed")]
    Broken(#[source] tokio::task::JoinError),
    /// The database, or a queue before it.
    #[error(transparent)]
    Store(#[from] ::store::Error),
}

impl From<Violations> for Error {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(violations) => Kind::Invalid(violations.clone()),
            Self::NotFound(_) => Kind::NotFound,
            Self::Busy => Kind::Exhausted,
            Self::Broken(_) => Kind::Internal,
            Self::Store(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELD",
            Self::NotFound(_) => "NOT_FOUND",
            Self::Busy => "OVERLOADED",
            Self::Broken(_) => "INTERNAL",
            Self::Store(error) => error.reason(),
        }
    }
}
