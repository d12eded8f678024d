//! The inbox in an SQLite file of its own.

mod again;
mod body;
mod delete;
mod fates;
mod figures;
mod forwards;
mod handed_over;
mod intake;
mod known;
mod leases;
mod polling;
mod purge;
mod query;
mod receiver;
mod receiving;
mod requeue;
mod targets;

pub(super) use self::receiver::SqliteReceiverInbox;
pub(super) use self::receiving::receiver_lock;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;

use super::beside;
use super::fault::StoreFault;
use super::migrations::INBOX;
use super::owners::Owners;
use crate::platform;
use crate::store::error::Part;
use crate::store::{
    Backlog, EventBucket, EventCount, EventPage, EventRecord, EventSelection, EventSeq, Events, ForwardLatency,
    Maintenance, PurgeRule, Purged, Quarantined, Requeued, StoreError, StoredDelivery, TargetId, Usage,
};

/// How long to wait for another process's write. A sender waits as long for its answer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The same for what is done again if it fails and nobody waits for: deliveries queue behind it.
const SHORT_BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// The size that the write-ahead log is cut to after it has grown, as it does while somebody reads for long. In bytes.
const LOG_BYTES: i64 = 16 * 1024 * 1024;

/// An inbox in a file.
#[derive(Debug)]
pub(super) struct SqliteInbox {
    path: PathBuf,
    connection: Connection,
    owners: Owners,
    /// A purge that has not come to its end.
    purging: Option<(PurgeRule, purge::Reached)>,
    /// Deliveries with no event behind this one hold no duplicates: they were looked at. An event never comes up to it later.
    blanked_up_to: Option<EventSeq>,
    /// Chunks of the deduplication index that belonged to runs of purged events.
    unused_chunks: Vec<Range<i64>>,
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
        // What is removed is overwritten. Receiving removes next to nothing.
        connection.pragma_update(None, "secure_delete", true)?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            owners,
            purging: None,
            blanked_up_to: None,
            unused_chunks: Vec::new(),
        })
    }

    /// Runs `work` in a write transaction and commits it durably.
    fn write<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreFault>) -> Result<T, StoreError> {
        super::commit(&self.connection, work).map_err(|fault| self.store_error(fault))
    }

    /// The same for what is done again if it fails: it does not wait for long.
    fn write_if_free<T>(&mut self, work: impl FnOnce(&Connection) -> Result<T, StoreFault>) -> Result<T, StoreError> {
        self.with_busy_timeout(SHORT_BUSY_TIMEOUT, |inbox| inbox.write(work))
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

    /// Runs `work`, which waits for no longer than this while another process has the lock.
    fn with_busy_timeout<T>(
        &mut self,
        timeout: Duration,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let set = |inbox: &Self, timeout| inbox.read(|connection| Ok(connection.busy_timeout(timeout)?));
        set(self, timeout)?;
        let outcome = work(self);
        set(self, BUSY_TIMEOUT)?;
        outcome
    }

    /// A step of a purge. Senders may wait behind a receiver's.
    fn purge_step(&mut self, rule: &PurgeRule) -> Result<Purged, StoreError> {
        // What a purge takes with it is put on record before, but for the rest that it finds: all at once is faster.
        let (_, more) = self.read(polling::note_arrivals)?;
        if more {
            return Ok(Purged { more, ..Purged::default() });
        }
        let begun = self.purging.take().filter(|(begun, _)| begun == rule);
        let mut reached = begun.map(|(_, reached)| reached).unwrap_or_default();
        let Self { connection, unused_chunks, .. } = self;
        let step = purge::step(connection, rule, &mut reached, unused_chunks);
        let mut purged = step.map_err(|fault| self.store_error(fault))?;
        match self.read(purge::give_back) {
            Ok(more) => purged.more |= more,
            // What was removed is gone all the same; its space is used again, or given back the next time.
            Err(error) => tracing::debug!("space could not be given back: {error}"),
        }
        if !purged.more && reached.has_removed() {
            self.empty_log();
        }
        self.purging = purged.more.then_some((*rule, reached));
        Ok(purged)
    }

    /// Blanks out the duplicates that deliveries hold beside the events that are stored: those of deleted events may have
    /// come in deliveries of others. The first time all deliveries are looked at, and then those that came since.
    fn blank_duplicates(&mut self) -> Result<(), StoreError> {
        let watermark = self.read(query::watermark)?;
        let mut reached = 0;
        loop {
            let found = self.read(|connection| delete::with_duplicates(connection, reached, self.blanked_up_to))?;
            let Some(last) = found.last() else { break };
            reached = *last;
            let mut rest = &found[..];
            while !rest.is_empty() {
                let done = self.write(|connection| delete::blank_some(connection, rest))?;
                rest = &rest[done..];
            }
        }
        self.blanked_up_to = Some(watermark);
        Ok(())
    }

    /// Empties the write-ahead log, if that is possible without waiting.
    fn empty_log(&mut self) {
        if let Err(error) = self.with_busy_timeout(Duration::ZERO, |inbox| inbox.read(purge::empty_log)) {
            tracing::debug!("the write-ahead log could not be emptied: {error}");
        }
    }
}

impl Events for SqliteInbox {
    fn events(
        &self,
        selection: &EventSelection,
        page: EventPage,
        each: &mut dyn FnMut(EventRecord) -> bool,
    ) -> Result<Option<EventSeq>, StoreError> {
        self.read_at_once(|connection| query::events(connection, selection, page, each))
    }

    fn watermark(&self) -> Result<EventSeq, StoreError> {
        self.read_at_once(query::watermark)
    }

    fn count_events(&self, selection: &EventSelection) -> Result<Vec<EventCount>, StoreError> {
        self.read_at_once(|connection| query::count(connection, selection))
    }

    fn histogram(
        &self,
        since: Timestamp,
        until: Timestamp,
        step: SignedDuration,
    ) -> Result<Vec<EventBucket>, StoreError> {
        self.read(|connection| figures::histogram(connection, (since, until), step))
    }

    fn forward_latency(&self, since: Timestamp) -> Result<Option<ForwardLatency>, StoreError> {
        self.read(|connection| figures::forward_latency(connection, since))
    }

    fn delivery_of(&self, event: EventSeq) -> Result<Option<StoredDelivery>, StoreError> {
        self.read(|connection| figures::delivery_of(connection, event))
    }

    fn quarantined(&self, number: Option<i64>, limit: Option<u64>) -> Result<Vec<Quarantined>, StoreError> {
        self.read(|connection| query::quarantined(connection, number, limit))
    }

    fn backlog(&self) -> Result<Backlog, StoreError> {
        self.read(query::backlog)
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        let quarantined = self.read(query::quarantine_size)?;
        let log = beside(&self.path, "-wal");
        // The log is gone while nothing is written.
        let size = |path: &Path| path.metadata().map_or(0, |file| file.len());
        let bytes = size(&self.path) + size(&log);
        Ok(Usage { bytes, free_bytes: platform::free_space(&self.path), quarantined })
    }
}

impl Maintenance for SqliteInbox {
    fn purge(&mut self, rule: &PurgeRule) -> Result<Purged, StoreError> {
        self.purge_step(rule)
    }

    fn requeue(&mut self, selection: &EventSelection, now: Timestamp) -> Result<Requeued, StoreError> {
        let (ids, reached) = self.read_at_once(|connection| requeue::undelivered(connection, selection))?;
        let forwards = if ids.is_empty() {
            0
        } else {
            self.write(|connection| requeue::requeue(connection, &ids, now, selection.target.as_deref()))?
        };
        Ok(Requeued { forwards, reached })
    }

    fn forward_again(&mut self, events: &[EventSeq], target: TargetId, now: Timestamp) -> Result<u64, StoreError> {
        let mut made = 0;
        for some in events.chunks(again::AT_ONCE) {
            made += self.write(|connection| again::forward_again(connection, some, target, now))?;
        }
        Ok(made)
    }

    fn delete(&mut self, events: &[EventSeq]) -> Result<u64, StoreError> {
        // Before the events go, too: whoever repeats what was cut short finds them, and with them their copies.
        self.blank_duplicates()?;
        let (mut rest, mut deleted) = (events, 0);
        while !rest.is_empty() {
            let (done, some) = self.write(|connection| delete::delete_some(connection, rest))?;
            (rest, deleted) = (&rest[done..], deleted + some);
        }
        self.blank_duplicates()?;
        self.empty_log();
        Ok(deleted)
    }

    fn keep_reserve(&mut self, bytes: u64) -> Result<(), StoreError> {
        let path = reserve_path(&self.path);
        let keep = || match path.metadata() {
            Ok(reserve) if reserve.len() == bytes && bytes > 0 => Ok(()),
            _ if bytes == 0 => platform::remove_file_if_there(&path).map(drop),
            // What is nearly full is left to what is received.
            _ if platform::free_space(super::directory_of(&path)).is_some_and(|free| free / 2 < bytes) => {
                platform::remove_file_if_there(&path)?;
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => platform::create_ballast(&path, bytes),
        };
        keep().map_err(|error| self.store_error(error.into()))
    }

    /// Only a receiver has anything to tidy up.
    fn maintain(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.read(super::check_integrity)
    }
}

/// The file beside an inbox that takes up space to be freed when the disk is full.
pub(super) fn reserve_path(inbox: &Path) -> PathBuf {
    beside(inbox, "-reserve")
}

/// A time as it is stored.
fn stored(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// A time that was stored.
fn time(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or_default()
}
