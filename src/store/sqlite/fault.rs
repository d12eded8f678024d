//! What SQLite and the system say, in the store's words.

use std::io;
use std::path::Path;

use rusqlite::{ErrorCode, ffi};
use thiserror::Error;

use crate::store::error::{NAME_AN_EMPTY_STORE, Part, Rule};
use crate::store::{StoreError, StoreErrorKind};

/// What can be wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Problem {
    #[error("the file is damaged")]
    Damaged,
    #[error("the file is not a registry of bugfender-hooks")]
    NoRegistry,
    #[error("the file is not an inbox of bugfender-hooks")]
    NoInbox,
    #[error("another `bugfender-hooks listen` receives into it")]
    Receiving,
    #[error("it is there already")]
    InTheWay,
    #[error("there is no store to copy")]
    NoStore,
    #[error("the directory holds no backup")]
    NoBackup,
    #[error("the directory is not empty")]
    NotEmpty,
    #[error("it holds something else than a copy of that store")]
    NotEmptyStore,
    #[error("the file, or its log beside it, was moved or removed while it was in use")]
    Moved,
    #[error("it was written by a newer bugfender-hooks (schema {found}, this version knows {known})")]
    Newer { found: i64, known: i64 },
    #[error("the disk is full")]
    Full,
    #[error("it cannot be written: {0}")]
    ReadOnly(String),
    #[error("another process kept it locked for too long")]
    Busy,
    #[error("it cannot be opened: {0}")]
    Unopenable(String),
    #[error("{0}")]
    Failed(String),
    #[error("the system fails: {0}")]
    System(String),
}

impl Problem {
    fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Damaged => StoreErrorKind::Damaged,
            Self::NoRegistry | Self::NoInbox | Self::NotEmptyStore => StoreErrorKind::Foreign,
            Self::Receiving => StoreErrorKind::InUse,
            Self::InTheWay => StoreErrorKind::Conflict,
            Self::Moved => StoreErrorKind::Lost,
            Self::Newer { .. } => StoreErrorKind::NewerSchema,
            Self::Full => StoreErrorKind::Full,
            Self::ReadOnly(_) => StoreErrorKind::ReadOnly,
            Self::Busy => StoreErrorKind::Busy,
            Self::Unopenable(_) | Self::NoStore | Self::NoBackup | Self::NotEmpty => StoreErrorKind::Unavailable,
            Self::Failed(_) => StoreErrorKind::Failed,
            Self::System(_) => StoreErrorKind::System,
        }
    }

    fn advice(&self, part: Part) -> &'static str {
        match (self, part) {
            (Self::Damaged, Part::Inbox) => "move the file away: `listen` makes a new one",
            (Self::Damaged, Part::Registry) => {
                "restore a copy, or move the file away and `import` the hooks whose ids you know"
            }
            (Self::Receiving, _) => "give this one an inbox of its own, with --store sqlite:PATH",
            (Self::NoStore, _) => "name the store with --store, as in `bugfender-hooks store info`",
            (Self::NoBackup, _) => "name the directory that `bugfender-hooks store backup` made",
            (Self::NotEmpty, _) => "name a directory that does not exist, or that is empty",
            (Self::NotEmptyStore, _) => NAME_AN_EMPTY_STORE,
            (Self::InTheWay, _) => "give --replace to put the backup in its place",
            (Self::Moved, _) => "start `listen` again: it makes a new inbox, or finds one put in its place",
            (Self::NoRegistry | Self::NoInbox, _) => "name another file with --store sqlite:PATH",
            (Self::Newer { .. }, _) => "update bugfender-hooks, or name another file with --store sqlite:PATH",
            (Self::Full, _) => "free some space and run the same command again",
            (Self::ReadOnly(_) | Self::Unopenable(_), _) => {
                "make the file and its directory writable for this user, or name another with --store sqlite:PATH"
            }
            (Self::Busy, _) => "wait for the other bugfender-hooks to end, then try again",
            (Self::System(_), _) => "check the disk and the memory of this machine, then run the same command again",
            (Self::Failed(_), _) => "`bugfender-hooks doctor` checks the registry",
        }
    }

    /// The problem with this part.
    fn of(self, part: Part) -> Self {
        match (self, part) {
            (Self::NoRegistry, Part::Inbox) => Self::NoInbox,
            (problem, _) => problem,
        }
    }
}

impl From<&io::Error> for Problem {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull => Self::Full,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(error.to_string()),
            _ => Self::Unopenable(error.to_string()),
        }
    }
}

impl From<&rusqlite::Error> for Problem {
    fn from(error: &rusqlite::Error) -> Self {
        let extended = error.sqlite_error().map(|error| error.extended_code);
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged,
            Some(ErrorCode::NotADatabase) => Self::NoRegistry,
            Some(ErrorCode::DiskFull) => Self::Full,
            // The memory that processes share could not be made as large as it has to be.
            Some(ErrorCode::SystemIoFailure) if extended == Some(ffi::SQLITE_IOERR_SHMSIZE) => Self::Full,
            Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => Self::System(error.to_string()),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::CannotOpen) => Self::Unopenable(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// What can go wrong with a file, before it is put in the store's words.
#[derive(Debug)]
pub(super) enum StoreFault {
    Sqlite(rusqlite::Error),
    Io(io::Error),
    Problem(Problem),
    Rule(Rule),
}

impl StoreFault {
    /// In the store's words, for the part of the store that is in the file at `path`.
    pub(super) fn at(self, part: Part, path: &Path) -> StoreError {
        let place = path.display().to_string();
        let told = |problem: Problem| {
            let problem = problem.of(part);
            StoreError::new(part, place.as_str(), problem.kind(), problem.to_string(), problem.advice(part))
        };
        match self {
            Self::Sqlite(error) => told(Problem::from(&error)).source(error),
            Self::Io(error) => told(Problem::from(&error)).source(error),
            Self::Problem(problem) => told(problem),
            Self::Rule(rule) => StoreError::of_rule(part, place.as_str(), &rule),
        }
    }
}

impl From<rusqlite::Error> for StoreFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<io::Error> for StoreFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Problem> for StoreFault {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Rule> for StoreFault {
    fn from(rule: Rule) -> Self {
        Self::Rule(rule)
    }
}
