//! What can go wrong between a log and its readers.

use kernel::{Fault, Kind};

/// Why a feed could not be read, written or followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The position is older than what is kept, ahead of the head, or of another epoch.
    #[error("the position is no longer kept: read everything again, then follow from there")]
    Truncated,
    /// More entries, or a longer one, than the log takes.
    #[error("too many or too large entries for one append")]
    TooLarge,
    /// A field of a message or row is not what it should be.
    #[error("{0} is malformed")]
    Malformed(&'static str),
    /// The tail, and with it this process, is stopping.
    #[error("the server is stopping")]
    Stopped,
    /// Another replica took the lane.
    #[error("the lease of the lane is lost")]
    LeaseLost,
    /// The owner of the log is away, or refuses.
    #[error("the owner of the log is away")]
    Upstream(#[source] Box<tonic::Status>),
    /// The owner of the log was silent for too long.
    #[error("the owner of the log is silent")]
    Silent,
    /// The database.
    #[error("the database of the log failed")]
    Database(#[source] store::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Database(error)
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        match status.code() {
            tonic::Code::OutOfRange => Self::Truncated,
            _ => Self::Upstream(Box::new(status)),
        }
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Truncated => Kind::OutOfRange,
            Self::Malformed(field) => Kind::Invalid(kernel::Violations::of(*field, "is malformed")),
            Self::Stopped | Self::LeaseLost | Self::Upstream(_) | Self::Silent => Kind::Unavailable,
            Self::TooLarge => Kind::Internal,
            Self::Database(error) => error.kind(),
        }
    }
}
