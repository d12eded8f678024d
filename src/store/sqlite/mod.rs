//! The store in SQLite files, the registry in one and the inbox in another: WAL, every commit synced.

mod backup;
mod copy;
mod dedup;
mod fault;
mod inbox;
mod migrations;
mod owners;
mod registry;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use self::copy::SqliteCopy;
use self::fault::{Problem, StoreFault};
use self::inbox::{SqliteInbox, SqliteReceiverInbox};
use self::owners::Owners;
use self::registry::SqliteRegistry;
use super::error::Part;
use super::{
    Actor, Inbox, KeyFile, ReceiverInbox, ReceiverKeys, Registry, SchemaState, Store, StoreError, StoreErrorKind,
    StoreExport, StoreImport, StoreInfo,
};
use crate::platform;

/// How long to wait for another process's write. Writes take well under a millisecond.
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);

/// The size of the smallest page of SQLite's, in bytes: a file that is shorter, and not empty, is no database.
const SHORTEST_DATABASE: u64 = 512;

/// The store whose registry is in this file; the inbox is beside it, as it grows large and the registry stays small.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    registry: PathBuf,
    actor: Actor,
}

impl SqliteStore {
    /// The store at `registry`, for an unknown actor. Nothing is opened yet.
    pub fn at(registry: &Path) -> Self {
        Self { registry: registry.to_owned(), actor: Actor::default() }
    }

    /// The same store, whose registry is changed by `actor`.
    #[must_use]
    pub fn by(self, actor: Actor) -> Self {
        Self { actor, ..self }
    }

    /// The inbox's file: `hooks.inbox.db` for `hooks.db`.
    pub fn inbox_path(&self) -> PathBuf {
        self.registry.with_extension("inbox.db")
    }

    /// The file of the receiver's keys: `hooks.receiver-key` for `hooks.db`.
    fn key_path(&self) -> PathBuf {
        self.registry.with_extension("receiver-key")
    }
}

impl Store for SqliteStore {
    fn registry_place(&self) -> String {
        self.registry.display().to_string()
    }

    fn inbox_place(&self) -> String {
        self.inbox_path().display().to_string()
    }

    fn registry(&self) -> Result<Box<dyn Registry>, StoreError> {
        Ok(Box::new(SqliteRegistry::open(&self.registry, self.actor.clone())?))
    }

    fn existing_registry(&self, lock_timeout: Option<Duration>) -> Result<Option<Box<dyn Registry>>, StoreError> {
        let lock_timeout = lock_timeout.unwrap_or(BUSY_TIMEOUT);
        let registry = SqliteRegistry::open_existing(&self.registry, lock_timeout, self.actor.clone())?;
        Ok(registry.map(|registry| Box::new(registry) as Box<dyn Registry>))
    }

    fn check_creatable(&self) -> Result<(), StoreError> {
        // The registry's directory, or the nearest above it that exists; an empty path is the working directory.
        let directory = self.registry.ancestors().skip(1).find(|directory| directory.exists());
        let directory = directory.filter(|directory| *directory != Path::new("")).unwrap_or(Path::new("."));
        // An unnamed file, which is removed when it is closed.
        tempfile::tempfile_in(directory).map(drop).map_err(|error| {
            let message = format!("it cannot be created in {}: {error}", directory.display());
            let advice = "choose another place with --store sqlite:PATH or BUGFENDER_HOOKS_HOME";
            let place = self.registry.display().to_string();
            StoreError::new(Part::Registry, place, StoreErrorKind::ReadOnly, message, advice).source(error)
        })
    }

    fn inbox(&self) -> Result<Box<dyn Inbox>, StoreError> {
        Ok(Box::new(SqliteInbox::open(&self.inbox_path())?))
    }

    fn existing_inbox(&self) -> Result<Option<Box<dyn Inbox>>, StoreError> {
        let inbox = SqliteInbox::open_existing(&self.inbox_path())?;
        Ok(inbox.map(|inbox| Box::new(inbox) as Box<dyn Inbox>))
    }

    fn receiver_inbox(&self) -> Result<Box<dyn ReceiverInbox>, StoreError> {
        Ok(Box::new(SqliteReceiverInbox::open(&self.inbox_path())?))
    }

    fn info(&self) -> Result<StoreInfo, StoreError> {
        backup::info(self)
    }

    fn back_up(&self, directory: &Path) -> Result<(), StoreError> {
        backup::back_up(self, directory)
    }

    fn restore(&self, directory: &Path, replace: bool) -> Result<(), StoreError> {
        backup::restore(self, directory, replace)
    }

    fn schemas(&self) -> Result<Vec<SchemaState>, StoreError> {
        let state = |part: Part, name: &'static str, path: &Path, schema: &migrations::Schema| {
            let found = migrations::version_of(path, schema, BUSY_TIMEOUT).map_err(|fault| fault.at(part, path))?;
            let (newest, script) = (schema.known(), migrations::script(path, schema, found));
            Ok(SchemaState { part: name, place: path.display().to_string(), found, newest, script })
        };
        Ok(vec![
            state(Part::Registry, "registry", &self.registry, &migrations::REGISTRY)?,
            state(Part::Inbox, "inbox", &self.inbox_path(), &migrations::INBOX)?,
        ])
    }

    fn migrate(&self) -> Result<(), StoreError> {
        self.registry()?;
        self.inbox().map(drop)
    }

    fn export(&self) -> Result<Box<dyn StoreExport>, StoreError> {
        Ok(Box::new(SqliteCopy::of_existing(self)?))
    }

    fn import(&self) -> Result<Box<dyn StoreImport>, StoreError> {
        Ok(Box::new(SqliteCopy::of_target(self)?))
    }

    fn free_reserve(&self) -> Result<bool, StoreError> {
        let path = self.inbox_path();
        platform::remove_file_if_there(&inbox::reserve_path(&path))
            .map_err(|error| StoreFault::from(error).at(Part::Inbox, &path))
    }

    fn receiver_keys(&self) -> Box<dyn ReceiverKeys> {
        Box::new(KeyFile::at(self.key_path()))
    }
}

/// Connects to a file that exists, and leaves it as it is.
fn connect(path: &Path, lock_timeout: Duration) -> Result<Connection, StoreFault> {
    // SQLite takes a shorter one for an empty database.
    if (1..SHORTEST_DATABASE).contains(&path.metadata()?.len()) {
        return Err(Problem::NoRegistry.into());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(lock_timeout)?;
    Ok(connection)
}

/// Opens a file that exists, with its schema brought up to date and every commit synced.
fn open_database(
    path: &Path,
    schema: &migrations::Schema,
    owners: &Owners,
    lock_timeout: Duration,
) -> Result<Connection, StoreFault> {
    let mut connection = connect(path, lock_timeout)?;
    // One plan for a statement, whatever is bound: SQLite would plan those anew, each time, that may use a partial index.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // A name in double quotes that no column has is an error, not a string.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    migrations::prepare(&mut connection, schema, path, owners)?;
    // It holds URLs with passwords, or people's data. Somebody else's file can't be changed; that is theirs to answer for.
    if platform::tighten(path, platform::WORLD).unwrap_or(false) {
        tracing::warn!("{} was open to everybody; its permissions are tightened now", path.display());
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Where a sync leaves things in the drive's own memory (macOS) it takes one more word; elsewhere it means nothing.
    connection.pragma_update(None, "fullfsync", true)?;
    Ok(connection)
}

/// Runs `work` in a write transaction and commits it durably.
fn commit<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreFault>,
) -> Result<T, StoreFault> {
    let transaction = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// Reads a whole file for damage, indexes included.
fn check_integrity(connection: &Connection) -> Result<(), StoreFault> {
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(Problem::Damaged.into()) }
}

/// The directory that a file is in; an empty path is the working directory.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What stands beside a file and has its name with this ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(ending);
    PathBuf::from(name)
}

/// Whether there is a file that is not empty, or something that is no file.
fn has_content(path: &Path) -> io::Result<bool> {
    match path.metadata() {
        Ok(file) => Ok(!file.is_file() || file.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
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
