//! Copies of a store, and what it consists of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::fault::{Problem, StoreFault};
use super::inbox::receiver_lock;
use super::migrations::{INBOX, REGISTRY, Schema};
use super::owners::Owners;
use super::{SqliteStore, beside, directory_of, has_content, open_database};
use crate::platform;
use crate::store::error::Part;
use crate::store::{PartInfo, StoreError, StoreInfo};

/// How long to wait for others.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The name of the registry in a backup. The other parts are beside it, as in every store.
const NAME: &str = "registry.db";

/// A database of the store, and where its copy is.
struct Database {
    part: Part,
    schema: &'static Schema,
    from: PathBuf,
    to: PathBuf,
}

fn databases(from: &SqliteStore, to: &SqliteStore) -> [Database; 2] {
    let (registry, inbox) = ((from.registry.clone(), to.registry.clone()), (from.inbox_path(), to.inbox_path()));
    [
        Database { part: Part::Registry, schema: &REGISTRY, from: registry.0, to: registry.1 },
        Database { part: Part::Inbox, schema: &INBOX, from: inbox.0, to: inbox.1 },
    ]
}

impl Database {
    fn failed(&self, fault: impl Into<StoreFault>) -> StoreError {
        fault.into().at(self.part, &self.from)
    }

    /// Writes a copy to a file that is not there yet, and reads it for damage.
    fn copy_to(&self, path: &Path) -> Result<(), StoreFault> {
        let made = platform::create_private_file(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.from, flags)?;
        connection.busy_timeout(TIMEOUT)?;
        let name = path.to_str().ok_or_else(|| io::Error::other("the path of the copy is not UTF-8"))?;
        connection.execute("VACUUM INTO ?", [name])?;
        let copy = Connection::open_with_flags(path, flags)?;
        // What the copy is like is not copied with it.
        copy.pragma_update(None, "journal_mode", "WAL")?;
        drop(copy);
        // It is one of ours, and undamaged.
        let copy = open_database(path, self.schema, &Owners::beside(path), TIMEOUT)?;
        super::check_integrity(&copy)?;
        drop(copy);
        made.sync_all()?;
        // Opening it has made a directory of locks.
        let _ = fs::remove_dir_all(beside(path, "-locks"));
        Ok(platform::sync_dir(directory_of(path))?)
    }
}

/// The key of the receiver, if there is one.
fn read_key(store: &SqliteStore) -> io::Result<Option<Vec<u8>>> {
    match fs::read(store.key_path()) {
        Ok(key) => Ok(Some(key)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a copy of the store into a directory.
pub(super) fn back_up(store: &SqliteStore, directory: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| StoreFault::from(error).at(Part::Registry, &directory.join(NAME));
    let has_any = [&store.registry, &store.inbox_path()].into_iter().any(|path| has_content(path).unwrap_or(true));
    if !has_any {
        return Err(StoreFault::from(Problem::NoStore).at(Part::Registry, &store.registry));
    }
    platform::create_private_dir(directory).map_err(failed)?;
    if fs::read_dir(directory).map_err(failed)?.next().is_some() {
        return Err(StoreFault::from(Problem::NotEmpty).at(Part::Registry, directory));
    }
    let copy = SqliteStore::at(&directory.join(NAME));
    for database in databases(store, &copy) {
        if has_content(&database.from).map_err(|error| database.failed(error))? {
            database.copy_to(&database.to).map_err(|fault| database.failed(fault))?;
        }
    }
    let key = read_key(store).map_err(failed)?;
    key.map_or(Ok(()), |key| platform::add_private_file(&copy.key_path(), &key)).map_err(failed)
}

/// Puts a copy in the place of the store.
pub(super) fn restore(store: &SqliteStore, directory: &Path, replace: bool) -> Result<(), StoreError> {
    let copy = SqliteStore::at(&directory.join(NAME));
    let inbox = store.inbox_path();
    let failed = |error: io::Error| StoreFault::from(error).at(Part::Registry, &store.registry);
    platform::create_private_dir(directory_of(&store.registry)).map_err(failed)?;
    // Held until the end.
    let _lock = receiver_lock(&Owners::beside(&inbox)).map_err(|fault| fault.at(Part::Inbox, &inbox))?;
    let databases = databases(&copy, store);
    let mut ready = Vec::new();
    for database in &databases {
        if has_content(&database.from).map_err(|error| database.failed(error))? {
            if !replace && has_content(&database.to).map_err(failed)? {
                return Err(StoreFault::from(Problem::InTheWay).at(database.part, &database.to));
            }
            ready.push((database, beside(&database.to, "-restoring")));
        }
    }
    if ready.is_empty() {
        return Err(StoreFault::from(Problem::NoBackup).at(Part::Registry, directory));
    }
    let key = read_key(&copy).map_err(failed)?;
    if key.is_some() && !replace && store.key_path().exists() {
        return Err(StoreFault::from(Problem::InTheWay).at(Part::Inbox, &store.key_path()));
    }
    // Nothing is replaced before all of it is there.
    for (database, path) in &ready {
        platform::remove_file_if_there(path).map_err(failed)?;
        if let Err(fault) = database.copy_to(path) {
            let _ = fs::remove_file(path);
            return Err(database.failed(fault));
        }
    }
    for (database, path) in &ready {
        for ending in ["-wal", "-shm"] {
            platform::remove_file_if_there(&beside(&database.to, ending)).map_err(failed)?;
        }
        fs::rename(path, &database.to).map_err(failed)?;
    }
    if let Some(key) = key {
        platform::replace_private_file(&store.key_path(), &key).map_err(failed)?;
    }
    platform::sync_dir(directory_of(&store.registry)).map_err(failed)
}

/// What the store consists of.
pub(super) fn info(store: &SqliteStore) -> Result<StoreInfo, StoreError> {
    let registry = [("hooks", "SELECT count(*) FROM hooks")];
    let inbox = [("events", "SELECT count(*) FROM events"), ("quarantined", "SELECT count(*) FROM quarantine")];
    Ok(StoreInfo {
        registry: part(Part::Registry, &store.registry, &REGISTRY, &registry)?,
        inbox: part(Part::Inbox, &store.inbox_path(), &INBOX, &inbox)?,
        key: file(&store.key_path()),
    })
}

fn file(path: &Path) -> PartInfo {
    let bytes = path.metadata().ok().map(|file| file.len());
    PartInfo { place: path.display().to_string(), bytes, ..PartInfo::default() }
}

fn part(
    part: Part,
    path: &Path,
    schema: &'static Schema,
    counts: &[(&'static str, &str)],
) -> Result<PartInfo, StoreError> {
    let mut info = file(path);
    let read = |info: &mut PartInfo| -> Result<(), StoreFault> {
        if !has_content(path)? {
            info.bytes = None;
            return Ok(());
        }
        let connection = open_database(path, schema, &Owners::beside(path), TIMEOUT)?;
        info.schema = Some(schema.known());
        for (kind, sql) in counts {
            let count: i64 = connection.query_row(sql, [], |row| row.get(0))?;
            info.records.push((kind, u64::try_from(count).unwrap_or(0)));
        }
        let beside = ["-wal", "-shm"].map(|ending| beside(path, ending).metadata().map_or(0, |file| file.len()));
        info.bytes = info.bytes.map(|bytes| bytes + beside.iter().sum::<u64>());
        Ok(())
    };
    read(&mut info).map_err(|fault| fault.at(part, path))?;
    Ok(info)
}
