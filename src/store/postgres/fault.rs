//! What the server says, in the store's words.

use thiserror::Error;
use tokio_postgres::error::SqlState;

use crate::store::error::{Part, Rule};
use crate::store::{StoreError, StoreErrorKind};

/// A failure of the server, of the way to it, or of what is stored there.
#[derive(Debug, Error)]
pub(super) enum PostgresFault {
    #[error("{}", of_server(.0))]
    Server(#[from] tokio_postgres::Error),
    #[error("the server did not answer in time")]
    TimedOut,
    #[error("the server was not available a moment ago")]
    Resting,
    #[error("other transactions were in the way for too long")]
    Contended,
    #[error("what is stored is damaged: {0}")]
    Damaged(String),
    #[error("the schema was written by a newer bugfender-hooks (version {found}, this one knows {known})")]
    Newer { found: i64, known: i64 },
    #[error("this role may not make the schema {0}, or tables in it")]
    NoRights(String),
    #[error(transparent)]
    Rule(#[from] Rule),
}

impl PostgresFault {
    /// Whether the connection is of no use any more.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Server(error) => error.is_closed() || error.code().is_none() || is_shutdown(error.code()),
            Self::TimedOut => true,
            _ => false,
        }
    }

    /// Whether the connection broke, which another may be made for at once.
    pub(super) fn is_broken_connection(&self) -> bool {
        self.ends_connection() && !matches!(self, Self::TimedOut)
    }

    /// Whether the same may succeed at once: another transaction was in the way.
    pub(super) fn is_of_concurrency(&self) -> bool {
        let Self::Server(error) = self else { return false };
        let code = error.code();
        code == Some(&SqlState::T_R_DEADLOCK_DETECTED) || code == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
    }

    /// Whether a unique index has a row in the way.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Server(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION))
    }

    fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Server(error) => kind_of(error),
            Self::TimedOut | Self::Resting => StoreErrorKind::Unavailable,
            Self::Contended => StoreErrorKind::Busy,
            Self::Damaged(_) => StoreErrorKind::Damaged,
            Self::Newer { .. } => StoreErrorKind::NewerSchema,
            Self::NoRights(_) => StoreErrorKind::ReadOnly,
            // A rule has an error of its own.
            Self::Rule(_) => StoreErrorKind::Failed,
        }
    }

    /// The store's error about this part at this place.
    pub(super) fn at(self, part: Part, place: &str) -> StoreError {
        if let Self::Rule(rule) = &self {
            return StoreError::of_rule(part, place, rule);
        }
        let message = self.to_string();
        StoreError::new(part, place, self.kind(), message, "`bugfender-hooks doctor` checks the store").source(self)
    }
}

fn is_shutdown(code: Option<&SqlState>) -> bool {
    code.is_some_and(|code| {
        [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW].contains(code)
    })
}

fn kind_of(error: &tokio_postgres::Error) -> StoreErrorKind {
    let Some(code) = error.code() else { return StoreErrorKind::Unavailable };
    match &code.code()[..2] {
        "08" | "57" | "28" | "3D" => StoreErrorKind::Unavailable,
        "40" | "55" => StoreErrorKind::Busy,
        "53" if *code == SqlState::DISK_FULL => StoreErrorKind::Full,
        "53" => StoreErrorKind::Busy,
        "42" if *code == SqlState::INSUFFICIENT_PRIVILEGE => StoreErrorKind::ReadOnly,
        "25" => StoreErrorKind::ReadOnly,
        "58" | "XX" => StoreErrorKind::System,
        _ => StoreErrorKind::Failed,
    }
}

/// What the server said, on one line.
fn of_server(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}
