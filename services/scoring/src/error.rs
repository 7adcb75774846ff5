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
    /// The profile version that the caller asked for did not arrive in time.
    #[error("scoring has not seen this version of the profile within the deadline")]
    Late,
    /// The own log.
    #[error(transparent)]
    Feed(#[from] feed::Error),
    /// The database, or a key.
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
            Self::Store(error) | Self::Feed(feed::Error::Database(error)) => Some(error),
            Self::Invalid(_) | Self::NotFound(_) | Self::Late | Self::Feed(_) => None,
        }
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(violations) => Kind::Invalid(violations.clone()),
            Self::NotFound(_) => Kind::NotFound,
            Self::Late => Kind::Deadline,
            Self::Feed(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELD",
            Self::NotFound(_) => "NOT_FOUND",
            Self::Late => "DEADLINE_EXCEEDED",
            Self::Feed(error) => error.reason(),
            Self::Store(error) => error.reason(),
        }
    }
}
