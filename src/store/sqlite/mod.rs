//! The registry in an SQLite file: WAL, every commit synced.

mod migrations;
mod owners;
mod rows;
mod writes;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use self::owners::Owners;
use super::StoreError;
use super::error::Problem;
use crate::platform;

/// How long to wait for another process's write. Writes take well under a millisecond.
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);

/// A registry in a file.
#[derive(Debug)]
pub struct SqliteRegistry {
    path: PathBuf,
    connection: Connection,
    owners: Owners,
}

impl SqliteRegistry {
    /// Opens the registry, creating the file (mode 0600) and its directory (mode 0700) if need be.
    ///
    /// # Errors
    /// When the file is damaged, foreign, newer than this program or cannot be written; it is then as it was.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        create_file(path).map_err(|error| StoreError::io(path, error))?;
        Self::open_file(path, BUSY_TIMEOUT)
    }

    /// Opens the registry if its file exists and is not empty, which is no registry yet.
    ///
    /// # Errors
    /// As [`SqliteRegistry::open`].
    pub fn open_existing(path: &Path) -> Result<Option<Self>, StoreError> {
        Self::open_existing_within(path, BUSY_TIMEOUT)
    }

    /// The same, waiting at most `patience` for other processes.
    ///
    /// # Errors
    /// As [`SqliteRegistry::open`].
    pub fn open_existing_within(path: &Path, patience: Duration) -> Result<Option<Self>, StoreError> {
        match path.metadata() {
            Ok(file) if file.is_file() && file.len() == 0 => Ok(None),
            Ok(_) => Self::open_file(path, patience).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(path, error)),
        }
    }

    fn open_file(path: &Path, patience: Duration) -> Result<Self, StoreError> {
        let failed = |error| StoreError::sqlite(path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(patience).map_err(failed)?;
        let owners = Owners::beside(path);
        migrations::prepare(&mut connection, path, &owners)?;
        // It holds URLs with passwords. Somebody else's file can't be changed; that is theirs to answer for.
        if platform::tighten(path, platform::WORLD).unwrap_or(false) {
            tracing::warn!("{} was open to everybody; its permissions are tightened now", path.display());
        }
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        Ok(Self { path: path.to_path_buf(), connection, owners })
    }

    /// Runs `work` in a write transaction and commits it durably.
    fn write<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, StoreError> {
        let run = || -> Result<T, Fault> {
            let transaction = rusqlite::Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|fault| self.store_error(fault))
    }

    fn store_error(&self, fault: Fault) -> StoreError {
        match fault {
            Fault::Sqlite(error) => StoreError::sqlite(&self.path, error),
            Fault::Io(error) => StoreError::io(&self.path, error),
            Fault::Rule(problem) => StoreError::new(&self.path, problem),
        }
    }
}

/// What can go wrong inside a transaction, before it is put in the store's words.
#[derive(Debug)]
enum Fault {
    Sqlite(rusqlite::Error),
    Io(io::Error),
    Rule(Problem),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Rule(problem)
    }
}

/// Creates an empty file for its owner alone; SQLite gives its side files the same mode.
fn create_file(path: &Path) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        platform::create_private_dir(parent)?;
    }
    match platform::create_private_file(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created.map(drop),
    }
}
