//! What can go wrong in the store, as far as the code above can act on it.
//!
//! `From<sqlx::Error>` stands here only. A driver error is reduced to a [`Cause`]: SQLSTATE,
//! constraint, and the server's text where that text cannot quote a row ("duplicate key …
//! (email)=(…)" stands in DETAIL, "invalid input syntax … "…"" in the message).

use std::fmt;
use std::time::Duration;

use kernel::{Fault, Kind, Violations};

/// The reason behind an [`Error`], for the log. Holds no row data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    sqlstate: Option<String>,
    text: String,
    broken_connection: bool,
}

impl Cause {
    /// A reason in words. The words must not quote data.
    pub fn new(text: impl fmt::Display) -> Self {
        Self { sqlstate: None, text: text.to_string(), broken_connection: false }
    }

    fn broken_connection(text: impl fmt::Display) -> Self {
        Self { broken_connection: true, ..Self::new(text) }
    }

    /// True if a connection broke, so that another one may do.
    #[must_use]
    pub fn is_broken_connection(&self) -> bool {
        self.broken_connection
    }

    /// The SQLSTATE, if the server answered.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        self.sqlstate.as_deref()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sqlstate {
            Some(sqlstate) => write!(f, "sqlstate {sqlstate}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl std::error::Error for Cause {}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No connection, or it broke.
    #[error("the database is not available")]
    Unavailable {
        /// False when the connection broke during COMMIT: the effect may be there.
        certainly_not_committed: bool,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// A lock or statement time-out: too much at once.
    #[error("the database is busy")]
    Busy(#[source] Cause),
    /// A bounded queue of this process is full.
    #[error("too much at once, try again later")]
    Full {
        /// When a retry has a chance.
        retry_after: Duration,
    },
    /// Deadlock or serialisation failure: certainly not committed, repeat the whole.
    #[error("lost a race with another change")]
    Conflict(#[source] Cause),
    /// A row with this key exists.
    #[error("already exists")]
    Unique {
        /// The constraint's name.
        constraint: String,
    },
    /// A check, not-null or exclusion constraint refused the row.
    #[error("the stored state does not allow this")]
    Check {
        /// The constraint's name; for not-null the column's.
        constraint: String,
    },
    /// A row that this one refers to is missing, or is still referred to.
    #[error("a related object is missing or in use")]
    ForeignKey {
        /// The constraint's name.
        constraint: String,
    },
    /// This row's own data cannot be stored (SQLSTATE class 22).
    #[error("a value cannot be stored")]
    Data(#[source] Cause),
    /// No such row, or another tenant's.
    #[error("not found")]
    NotFound,
    /// The object changed since the caller read it.
    #[error("the object has changed since it was read: read it again")]
    EtagMismatch,
    /// The request id was used with another body.
    #[error("the request id was already used for another request")]
    RequestIdReused,
    /// A sealed value does not open: another key, another place, or damaged.
    #[error("stored data cannot be decrypted")]
    Decrypt,
    /// A stored value is not what was written: it does not decode.
    #[error("stored data is damaged")]
    Damaged(#[source] Cause),
    /// A fault of ours.
    #[error("internal error of the store")]
    Internal(#[source] Cause),
}

impl Error {
    /// A fault of ours, in words that quote no data.
    pub fn internal(text: impl fmt::Display) -> Self {
        Self::Internal(Cause::new(text))
    }

    /// A stored value that does not decode, in words that quote no data.
    pub fn damaged(text: impl fmt::Display) -> Self {
        Self::Damaged(Cause::new(text))
    }

    /// A race that the code above found out itself, in words that quote no data.
    pub fn conflict(text: impl fmt::Display) -> Self {
        Self::Conflict(Cause::new(text))
    }

    /// True if the effect is surely absent, so that repeating cannot double it.
    #[must_use]
    pub fn certainly_not_committed(&self) -> bool {
        match self {
            Self::Unavailable { certainly_not_committed, .. } => *certainly_not_committed,
            Self::Internal(_) => false,
            _ => true,
        }
    }

    /// True if one item of a batch is to blame rather than the batch or the database.
    #[must_use]
    pub fn blames_one_row(&self) -> bool {
        matches!(
            self,
            Self::Data(_)
                | Self::Check { .. }
                | Self::Unique { .. }
                | Self::ForeignKey { .. }
                | Self::Decrypt
                | Self::Damaged(_)
        )
    }

    /// True if a lock was waited for in vain: one row may be held, or many.
    #[must_use]
    pub fn is_lock_timeout(&self) -> bool {
        matches!(self, Self::Busy(cause) if cause.sqlstate() == Some(LOCK_NOT_AVAILABLE))
    }

    /// True if `name` is the constraint that refused the row.
    #[must_use]
    pub fn violates(&self, name: &str) -> bool {
        match self {
            Self::Unique { constraint }
            | Self::Check { constraint }
            | Self::ForeignKey { constraint } => constraint == name,
            _ => false,
        }
    }

    /// The same error, of which is known that it came before COMMIT was sent.
    pub(crate) fn before_commit(self) -> Self {
        match self {
            Self::Unavailable { cause, .. } => {
                Self::Unavailable { certainly_not_committed: true, cause }
            }
            other => other,
        }
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Unavailable { .. } => Kind::Unavailable,
            Self::Busy(_) | Self::Full { .. } => Kind::Exhausted,
            Self::Conflict(_) | Self::EtagMismatch | Self::Unique { .. } => Kind::Conflict,
            Self::Check { .. } | Self::ForeignKey { .. } => Kind::Precondition,
            Self::Data(_) => Kind::Invalid(Violations::of("", "a value cannot be stored")),
            Self::RequestIdReused => Kind::Invalid(Violations::of(
                "request_id",
                "was already used for another request; use a new one",
            )),
            Self::NotFound => Kind::NotFound,
            Self::Decrypt | Self::Damaged(_) | Self::Internal(_) => Kind::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "UNAVAILABLE",
            Self::Busy(_) | Self::Full { .. } => "OVERLOADED",
            Self::Conflict(_) | Self::Unique { .. } => "CONFLICT",
            Self::EtagMismatch => "ETAG_MISMATCH",
            Self::Check { .. } => "WRONG_STATE",
            Self::ForeignKey { .. } => "IN_USE",
            Self::Data(_) => "INVALID_FIELD",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::NotFound => "NOT_FOUND",
            Self::Decrypt | Self::Damaged(_) | Self::Internal(_) => "INTERNAL",
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Full { retry_after } => Some(*retry_after),
            Self::Busy(_) | Self::Unavailable { .. } => Some(Duration::from_millis(200)),
            _ => None,
        }
    }
}

/// An error of a use case that may be an error of the store, so that
/// [`transaction!`](crate::transaction!) knows which one to repeat.
pub trait FromStore: From<Error> {
    /// The store's error inside, if it is one.
    fn as_store(&self) -> Option<&Error>;
}

impl FromStore for Error {
    fn as_store(&self) -> Option<&Error> {
        Some(self)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(answer) => from_answer(answer.as_ref()),
            sqlx::Error::RowNotFound => Self::NotFound,
            sqlx::Error::PoolTimedOut => Self::Unavailable {
                certainly_not_committed: true,
                cause: Cause::new("no connection within the acquire time-out"),
            },
            sqlx::Error::PoolClosed => Self::Unavailable {
                certainly_not_committed: true,
                cause: Cause::new("the pool is closed"),
            },
            sqlx::Error::Io(io) => Self::Unavailable {
                certainly_not_committed: false,
                cause: Cause::broken_connection(format_args!("connection failed: {}", io.kind())),
            },
            sqlx::Error::WorkerCrashed | sqlx::Error::Tls(_) => Self::Unavailable {
                certainly_not_committed: false,
                cause: Cause::broken_connection("connection broke"),
            },
            // The inner error may quote the value, so only the place is kept.
            sqlx::Error::ColumnDecode { index, .. } => {
                Self::internal(format_args!("column {index} does not decode"))
            }
            sqlx::Error::Decode(_) => Self::internal("a value does not decode"),
            sqlx::Error::Encode(_) => Self::internal("a value does not encode"),
            other => Self::internal(other),
        }
    }
}

fn from_answer(answer: &dyn sqlx::error::DatabaseError) -> Error {
    let sqlstate = answer.code().unwrap_or_default().into_owned();
    let postgres = answer.try_downcast_ref::<sqlx::postgres::PgDatabaseError>();
    let column = postgres.and_then(sqlx::postgres::PgDatabaseError::column);
    let place = answer.constraint().or(column).unwrap_or_default();
    classify(&sqlstate, place, answer.message())
}

const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The one table from SQLSTATE to error.
fn classify(sqlstate: &str, place: &str, message: &str) -> Error {
    let constraint = place.to_owned();
    let cause = |text| Cause { sqlstate: Some(sqlstate.to_owned()), ..Cause::new(text) };
    let with_text = || cause(message);
    let without_text = || cause("text withheld");
    let broken = || Cause { broken_connection: true, ..cause(message) };
    match sqlstate {
        "40001" | "40P01" => Error::Conflict(with_text()),
        "23505" => Error::Unique { constraint },
        "23503" | "23001" => Error::ForeignKey { constraint },
        // query_canceled is a statement time-out, 53300 too_many_connections
        LOCK_NOT_AVAILABLE | "57014" | "53300" => Error::Busy(with_text()),
        // transaction_resolution_unknown, and shut-downs that may hit a COMMIT
        "08007" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => {
            Error::Unavailable { certainly_not_committed: false, cause: broken() }
        }
        // read_only_sql_transaction: a replica or a server in recovery
        "25006" => Error::Unavailable { certainly_not_committed: true, cause: with_text() },
        _ => match sqlstate.get(..2).unwrap_or_default() {
            "22" => Error::Data(without_text()),
            "23" => Error::Check { constraint },
            "08" => Error::Unavailable { certainly_not_committed: false, cause: broken() },
            "53" | "28" | "3D" => {
                Error::Unavailable { certainly_not_committed: true, cause: with_text() }
            }
            _ => Error::Internal(with_text()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn each_sqlstate_says_what_to_do() {
        let of = |sqlstate| classify(sqlstate, "customer_pkey", "alice@example.com");
        assert!(matches!(of("40001"), Error::Conflict(_)));
        assert!(matches!(of("40P01"), Error::Conflict(_)));
        assert!(matches!(of("55P03"), Error::Busy(_)));
        assert!(matches!(of("57014"), Error::Busy(_)));
        assert!(of("55P03").is_lock_timeout() && !of("57014").is_lock_timeout());
        assert!(matches!(of("22P02"), Error::Data(_)));
        assert!(matches!(of("42P01"), Error::Internal(_)));
        assert!(of("23505").violates("customer_pkey"));
        assert!(matches!(of("23514"), Error::Check { .. }));
        assert!(matches!(of("23502"), Error::Check { .. }));
        assert!(matches!(of("23503"), Error::ForeignKey { .. }));
        assert!(!of("57P01").certainly_not_committed());
        assert!(of("57P01").before_commit().certainly_not_committed());
        assert!(of("40001").certainly_not_committed());
    }

    #[test]
    fn row_data_never_reaches_the_text() {
        for sqlstate in ["22P02", "22001", "23505", "23514", "23503"] {
            let error = classify(sqlstate, "c", "bad value \"alice@example.com\"");
            let chain = format!("{error} {error:?} {:?}", error.source().map(ToString::to_string));
            assert!(!chain.contains("alice"), "{sqlstate}: {chain}");
        }
    }

    #[test]
    fn a_reused_request_id_names_its_field() {
        assert_eq!(Error::RequestIdReused.reason(), "REQUEST_ID_REUSED");
        let Kind::Invalid(violations) = Error::RequestIdReused.kind() else {
            panic!("must be invalid")
        };
        assert!(violations.iter().any(|violation| violation.field == "request_id"));
    }
}
