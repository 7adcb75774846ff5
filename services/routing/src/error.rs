//! What can go wrong in a use case.

use ::store::FromStore;
use kernel::{Fault, Kind, Violations};

use crate::domain::Refusal;

/// Why a call was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request are wrong.
    #[error("{0}")]
    Invalid(Violations),
    /// There is no such thing in this tenant.
    #[error("{0} does not exist")]
    NotFound(&'static str),
    /// The offer went to somebody else, was withdrawn or timed out.
    #[error("the offer is no longer open")]
    OfferGone,
    /// The state does not allow this.
    #[error("{0}")]
    WrongState(&'static str),
    /// Something else still needs it.
    #[error("{0}")]
    InUse(String),
    /// The database, or a queue before it.
    #[error(transparent)]
    Store(#[from] ::store::Error),
    /// The own log.
    #[error(transparent)]
    Feed(feed::Error),
}

impl Error {
    /// True if it passes by itself: no tenant and no demand is to blame.
    pub(crate) fn is_transient(&self) -> bool {
        use ::store::Error as Store;
        match self {
            Self::Store(error) => matches!(
                error,
                Store::Unavailable { .. }
                    | Store::Busy(_)
                    | Store::Full { .. }
                    | Store::Conflict(_)
            ),
            _ => false,
        }
    }
}

impl From<Violations> for Error {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound(what) => Self::NotFound(what),
            Refusal::OfferGone => Self::OfferGone,
            Refusal::WrongState(why) => Self::WrongState(why),
        }
    }
}

impl From<feed::Error> for Error {
    fn from(error: feed::Error) -> Self {
        match error {
            feed::Error::Database(error) => Self::Store(error),
            other => Self::Feed(other),
        }
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
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(violations) => Kind::Invalid(violations.clone()),
            Self::NotFound(_) => Kind::NotFound,
            Self::OfferGone | Self::WrongState(_) | Self::InUse(_) => Kind::Precondition,
            Self::Store(error) => error.kind(),
            Self::Feed(error) => error.kind(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELD",
            Self::NotFound(_) => "NOT_FOUND",
            Self::OfferGone => "OFFER_GONE",
            Self::WrongState(_) => "WRONG_STATE",
            Self::InUse(_) => "IN_USE",
            Self::Store(error) => error.reason(),
            Self::Feed(error) => error.reason(),
        }
    }
}
