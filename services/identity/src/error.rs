//! What can go wrong in a use case.

use ::store::FromStore;
use kernel::{Fault, Kind, Violations};

/// Why a call was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request are wrong.
    #[error("{0}")]
    Invalid(Violations),
    /// There is no such thing in this tenant.
    #[error("{0} does not exist")]
    NotFound(&'static str),
    /// The customer of these identifiers was erased, at this time (microseconds since 1970).
    #[error("the customer of these identifiers was erased after the time they were seen")]
    Erased(i64),
    /// The database, a queue before it, or a key.
    #[error(transparent)]
    Store(#[from] ::store::Error),
}

impl From<Violations> for Error {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}

impl FromStore for Error {
    fn as_store(&self) -> Option<&::store::Error> {
        match self {
            Self::Store(error) => Some(error),
            Self::Invalid(_) | Self::NotFound(_) | Self::Erased(_) => None,
        }
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(violations) => Kind::Invalid(violations.clone()),
            Self::NotFound(_) => Kind::NotFound,
            Self::Erased(_) => Kind::Precondition,
            Self::Store(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELD",
            Self::NotFound(_) => "NOT_FOUND",
            Self::Erased(_) => "ERASED",
            Self::Store(error) => error.reason(),
        }
    }
}
