//! What only the process has that receives into the file.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use rusqlite::Connection;

use crate::platform::FileIdentity;
use crate::store::DEDUPE_WINDOW;
use crate::store::sqlite::beside;
use crate::store::sqlite::dedup::DedupIndex;
use crate::store::sqlite::fault::{Problem, StoreFault};
use crate::store::sqlite::owners::Owners;

/// What the one process has that receives.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) known: DedupIndex,
    /// For how long an event of a sender that gives no ids is the same.
    pub(super) dedupe_window: SignedDuration,
    pub(super) next_delivery: i64,
    pub(super) next_event: i64,
    /// Never given again by this process while it has leases: a new forward must not be taken for one that was purged.
    pub(super) next_forward: i64,
    identity: FileIdentity,
    /// The files beside it, which SQLite keeps as long as somebody has the inbox open.
    side_files: [(PathBuf, FileIdentity); 2],
    lock: File,
}

/// A program that is being started has the file open too, until it is that program: closing the file is not enough.
impl Drop for Receiving {
    fn drop(&mut self) {
        // If it fails, closing it is what is left.
        let _ = self.lock.unlock();
    }
}

impl Receiving {
    /// Takes the lock that one process has, and reads which events are there.
    pub(super) fn begin(connection: &Connection, owners: &Owners, path: &Path) -> Result<Self, StoreFault> {
        let lock = receiver_lock(owners)?;
        let after = |table: &str| -> Result<i64, rusqlite::Error> {
            connection.query_row(&format!("SELECT coalesce(max(id), 0) + 1 FROM {table}"), [], |row| row.get(0))
        };
        let gone = "SELECT max(coalesce((SELECT max(last_event) FROM runs), 0),
                               coalesce((SELECT last_event FROM purged), 0)) + 1";
        let after_gone: i64 = connection.query_row(gone, [], |row| row.get(0))?;
        Ok(Self {
            known: DedupIndex::load(connection)?,
            dedupe_window: DEDUPE_WINDOW,
            next_delivery: after("deliveries")?,
            next_event: after("events")?.max(after_gone),
            next_forward: after("forwards")?,
            identity: FileIdentity::of(path)?,
            side_files: [side_file(path, "-wal")?, side_file(path, "-shm")?],
            lock,
        })
    }

    /// Whether the file at `path`, and those beside it, are still those that were opened. SQLite goes on with a file that
    /// was removed, and what it commits there is gone when it is closed.
    pub(super) fn check_file(&self, path: &Path) -> Result<(), StoreFault> {
        let is_there = |path: &Path, known: FileIdentity| FileIdentity::of(path).is_ok_and(|found| found == known);
        if is_there(path, self.identity) && self.side_files.iter().all(|(path, known)| is_there(path, *known)) {
            Ok(())
        } else {
            Err(Problem::Moved.into())
        }
    }
}

/// The lock that only one process has, which receives, until it is dropped.
///
/// # Errors
/// When another process has it.
pub(in crate::store::sqlite) fn receiver_lock(owners: &Owners) -> Result<File, StoreFault> {
    let lock = owners.lock_file("receiver.lock")?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Problem::Receiving.into()),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// The file beside an inbox that has this ending. SQLite has it beside the file that a link leads to.
fn side_file(path: &Path, ending: &str) -> io::Result<(PathBuf, FileIdentity)> {
    let path = beside(&path.canonicalize()?, ending);
    let identity = FileIdentity::of(&path)?;
    Ok((path, identity))
}
