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
    /// The profile did not reach the wanted version in time.
    #[error("the profile has not reached this version yet")]
    NotYet,
    /// identity is away, or refuses.
    #[error("identity did not answer")]
    Identity(#[source] Box<tonic::Status>),
    /// Stored state does not decode.
    #[error("stored state is damaged")]
    State(#[from] aggregate::Error),
    /// The database, a queue before it, or a key.
    #[error(transparent)]
    Store(#[from] ::store::Error),
    /// The own change log.
    #[error(transparent)]
    Feed(#[from] feed::Error),
}

impl From<Violations> for Error {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl FromStore for Error {
    fn as_store(&self) -> Option<&::store::Error> {
        match self {
            Self::Store(error) | Self::Feed(feed::Error::Database(error)) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for ::store::Error {
    /// For the committer, which answers errors of the store.
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) | Error::Feed(feed::Error::Database(error)) => error,
            Error::State(error) => Self::damaged(error),
            other => Self::internal(other),
        }
    }
}

impl From<Error> for feed::HandleError {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::Feed(error) => error.into(),
            Error::State(error) => Self::Poison(error.to_string()),
            other => Self::Transient(Box::new(other)),
        }
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(violations) => Kind::Invalid(violations.clone()),
            Self::NotFound(_) => Kind::NotFound,
            Self::NotYet => Kind::Deadline,
            Self::Identity(status) => match status.code() {
                tonic::Code::DeadlineExceeded => Kind::Deadline,
                tonic::Code::ResourceExhausted => Kind::Exhausted,
                tonic::Code::Internal | tonic::Code::InvalidArgument => Kind::Internal,
                _ => Kind::Unavailable,
            },
            Self::State(_) => Kind::Internal,
            Self::Store(error) => error.kind(),
            Self::Feed(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELD",
            Self::NotFound(_) => "NOT_FOUND",
            Self::NotYet => "DEADLINE_EXCEEDED",
            Self::Identity(status) => match status.code() {
                tonic::Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
                tonic::Code::ResourceExhausted => "OVERLOADED",
                tonic::Code::Internal | tonic::Code::InvalidArgument => "INTERNAL",
                _ => "UNAVAILABLE",
            },
            Self::State(_) => "INTERNAL",
            Self::Store(error) => error.reason(),
            Self::Feed(error) => error.reason(),
        }
    }
}
