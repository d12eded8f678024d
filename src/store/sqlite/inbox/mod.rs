//! The inbox in an SQLite file of its own.

mod body;
mod forwards;
mod intake;
mod leases;
mod purge;
mod query;
mod receiver;
mod receiving;
mod requeue;
mod targets;

pub(super) use self::receiver::SqliteReceiverInbox;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

use super::fault::StoreFault;
use super::migrations::INBOX;
use super::owners::Owners;
use crate::platform;
use crate::store::error::Part;
use crate::store::{
    Backlog, EventCount, EventPage, EventRecord, EventSelection, EventSeq, Events, Maintenance, PurgeRule, Purged,
    Quarantined, StoreError, TargetId, Usage,
};

/// How long to wait for another process's write. A sender waits as long for its answer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The same for what is done again if it fails and nobody waits for: deliveries queue behind it.
const SHORT_BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// The size that the write-ahead log is cut to after it has grown, as it does while somebody reads for long. In bytes.
const LOG_BYTES: i64 = 16 * 1024 * 1024;

/// How long others have for the inbox between the steps of a long change.
const YIELD_TO_WRITERS: Duration = Duration::from_millis(5);

/// An inbox in a file.
#[derive(Debug)]
pub(super) struct SqliteInbox {
    path: PathBuf,
    connection: Connection,
    owners: Owners,
    /// A purge that has not come to its end.
    purging: Option<(PurgeRule, purge::Reached)>,
}

impl SqliteInbox {
    /// Opens the inbox, creating the file (mode 0600) and its directory (mode 0700) if need be.
    ///
    /// # Errors
    /// When the file is damaged, foreign, newer than this program or cannot be written; it is then as it was.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let made = super::create_file(path).map_err(StoreFault::from);
        made.and_then(|()| Self::open_file(path)).map_err(|fault| fault.at(Part::Inbox, path))
    }

    /// Opens the inbox if its file exists and is not empty.
    ///
    /// # Errors
    /// As [`SqliteInbox::open`].
    pub(super) fn open_existing(path: &Path) -> Result<Option<Self>, StoreError> {
        let open = || if super::has_content(path)? { Self::open_file(path).map(Some) } else { Ok(None) };
        open().map_err(|fault: StoreFault| fault.at(Part::Inbox, path))
    }

    fn open_file(path: &Path) -> Result<Self, StoreFault> {
        let owners = Owners::beside(path);
        let connection = super::open_database(path, &INBOX, &owners, BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
        Ok(Self { path: path.to_owned(), connection, owners, purging: None })
    }

    /// Runs `work` in a write transaction and commits it durably.
    fn write<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreFault>) -> Result<T, StoreError> {
        super::commit(&self.connection, work).map_err(|fault| self.store_error(fault))
    }

    /// The same for what is done again if it fails: it does not wait for long.
    fn write_if_free<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreFault>) -> Result<T, StoreError> {
        let busy_timeout = |time| self.connection.busy_timeout(time).map_err(|error| self.store_error(error.into()));
        busy_timeout(SHORT_BUSY_TIMEOUT)?;
        let outcome = self.write(work);
        busy_timeout(BUSY_TIMEOUT)?;
        outcome
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreFault>) -> Result<T, StoreError> {
        work(&self.connection).map_err(|fault| self.store_error(fault))
    }

    /// The same for what is read in several steps, all of which see one moment.
    fn read_at_once<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreFault>) -> Result<T, StoreError> {
        self.read(|connection| {
            let moment = connection.unchecked_transaction()?;
            work(&moment)
        })
    }

    fn store_error(&self, fault: StoreFault) -> StoreError {
        fault.at(Part::Inbox, &self.path)
    }

    /// A step of a purge. Senders may wait behind a receiver's.
    fn purge_step(&mut self, rule: &PurgeRule, is_receiver: bool) -> Result<Purged, StoreError> {
        let begun = self.purging.take().filter(|(begun, _)| begun == rule);
        let mut reached = begun.map(|(_, reached)| reached).unwrap_or_default();
        let step = |connection: &Connection| purge::step(connection, rule, &mut reached);
        let mut purged = if is_receiver { self.write_if_free(step) } else { self.write(step) }?;
        match self.read(purge::give_back) {
            Ok(more) => purged.more |= more,
            // What was removed is gone all the same; its space is used again, or given back the next time.
            Err(error) => tracing::debug!("space could not be given back: {error}"),
        }
        self.purging = purged.more.then_some((*rule, reached));
        Ok(purged)
    }
}

impl Events for SqliteInbox {
    fn events(
        &self,
        selection: &EventSelection,
        page: EventPage,
        each: &mut dyn FnMut(EventRecord) -> bool,
    ) -> Result<(), StoreError> {
        self.read_at_once(|connection| query::events(connection, selection, page, each))
    }

    fn watermark(&self) -> Result<EventSeq, StoreError> {
        self.read_at_once(query::watermark)
    }

    fn count_events(&self, selection: &EventSelection) -> Result<Vec<EventCount>, StoreError> {
        self.read_at_once(|connection| query::count(connection, selection))
    }

    fn quarantined(&self, number: Option<i64>, limit: Option<u64>) -> Result<Vec<Quarantined>, StoreError> {
        self.read(|connection| query::quarantined(connection, number, limit))
    }

    fn backlog(&self) -> Result<Backlog, StoreError> {
        self.read(query::backlog)
    }

    fn pending_by_target(&self) -> Result<Vec<(TargetId, String, u64)>, StoreError> {
        self.read(query::pending_by_target)
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        let quarantined = self.read(query::quarantine_size)?;
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        // The log is gone while nothing is written.
        let size = |path: &Path| path.metadata().map_or(0, |file| file.len());
        let bytes = size(&self.path) + size(Path::new(&log));
        Ok(Usage { bytes, free_bytes: platform::free_space(&self.path), quarantined })
    }
}

impl Maintenance for SqliteInbox {
    fn purge(&mut self, rule: &PurgeRule) -> Result<Purged, StoreError> {
        self.purge_step(rule, false)
    }

    fn requeue(&mut self, selection: &EventSelection, now: Timestamp) -> Result<u64, StoreError> {
        let ids = self.read_at_once(|connection| requeue::undelivered(connection, selection))?;
        let mut requeued = 0;
        for (index, some) in ids.chunks(requeue::AT_ONCE).enumerate() {
            if index > 0 {
                // A receiver that waits for the lock gets it now.
                std::thread::sleep(YIELD_TO_WRITERS);
            }
            requeued +=
                self.write(|connection| requeue::requeue(connection, some, now, selection.target.as_deref()))?;
        }
        Ok(requeued)
    }

    /// Only a receiver has anything to tidy up.
    fn maintain(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.read(super::quick_check)
    }
}

/// A time as it is stored.
fn stored(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// A time that was stored.
fn time(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or_default()
}
