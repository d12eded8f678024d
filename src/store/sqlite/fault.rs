//! What SQLite and the system say, in the store's words.

use std::io;
use std::path::Path;

use rusqlite::{ErrorCode, ffi};

use crate::store::StoreError;
use crate::store::error::Problem;

/// A failure of the store's own making.
pub(super) fn of_problem(path: &Path, problem: Problem) -> StoreError {
    StoreError::new(path.display().to_string(), problem)
}

/// A failure of the system.
pub(super) fn of_io(path: &Path, error: io::Error) -> StoreError {
    let problem = match error.kind() {
        io::ErrorKind::StorageFull => Problem::Full,
        io::ErrorKind::ReadOnlyFilesystem => Problem::ReadOnly(error.to_string()),
        _ => Problem::Unopenable(error.to_string()),
    };
    of_problem(path, problem).source(error)
}

/// A failure of SQLite.
pub(super) fn of_sqlite(path: &Path, error: rusqlite::Error) -> StoreError {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    let problem = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => Problem::Damaged,
        Some(ErrorCode::NotADatabase) => Problem::Foreign,
        Some(ErrorCode::DiskFull) => Problem::Full,
        // The memory that processes share could not be made as large as it has to be.
        Some(ErrorCode::SystemIoFailure) if extended == Some(ffi::SQLITE_IOERR_SHMSIZE) => Problem::Full,
        Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => Problem::System(error.to_string()),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Problem::ReadOnly(error.to_string()),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Problem::Busy,
        Some(ErrorCode::CannotOpen) => Problem::Unopenable(error.to_string()),
        _ => Problem::Failed(error.to_string()),
    };
    of_problem(path, problem).source(error)
}

/// What can go wrong inside a transaction, before it is put in the store's words.
#[derive(Debug)]
pub(super) enum StoreFault {
    Sqlite(rusqlite::Error),
    Io(io::Error),
    Rule(Problem),
}

impl StoreFault {
    /// In the store's words.
    pub(super) fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Sqlite(error) => of_sqlite(path, error),
            Self::Io(error) => of_io(path, error),
            Self::Rule(problem) => of_problem(path, problem),
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
        Self::Rule(problem)
    }
}
