//! The inbox in an SQLite file of its own.

mod body;
mod forwards;
mod intake;
mod purge;
mod query;

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::StoreError;
use super::dedup::DedupIndex;
use super::fault::{StoreFault, of_io, of_sqlite};
use super::migrations::INBOX;
use super::owners::Owners;
use crate::domain::delivery::Delivery;
use crate::platform::FileIdentity;
use crate::store::error::Problem;
use crate::store::{
    Backlog, ClaimRequest, EventCount, EventPage, EventRecord, EventSelection, Forward, ForwardId, Inbox, PurgeRule,
    Purged, Quarantined, Receipt, Route, Settlement, TargetId, TargetName,
};

/// How long to wait for another process's write. A sender waits as long for its answer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The same for what nobody waits for, and is done again if it fails: deliveries come behind it.
const SHORT_TIMEOUT: Duration = Duration::from_millis(500);

/// What is left of the log on the disk when it has grown: somebody who looked for long kept it from being used again.
const LOG_BYTES: i64 = 16 * 1024 * 1024;

/// How long others have for the inbox between the steps of a long change.
const YIELD_TO_WRITERS: Duration = Duration::from_millis(5);

/// An inbox in a file.
#[derive(Debug)]
pub struct SqliteInbox {
    path: PathBuf,
    connection: Connection,
    owners: Owners,
    receiving: Option<Receiving>,
    claimed: HashSet<ForwardId>,
    /// A purge that has not come to its end.
    purging: Option<(PurgeRule, purge::Reached)>,
}

/// What the one process has that receives.
#[derive(Debug)]
struct Receiving {
    seen: DedupIndex,
    next_delivery: i64,
    next_event: i64,
    /// Not given again while this process has claims: a new forward must not be taken for one that was purged.
    next_forward: i64,
    identity: FileIdentity,
    lock: File,
}

/// A program that is being started has the file open too, until it is that program: closing the file is not enough.
impl Drop for Receiving {
    fn drop(&mut self) {
        // If it fails, closing it is what is left.
        let _ = self.lock.unlock();
    }
}

impl SqliteInbox {
    /// Opens the inbox, creating the file (mode 0600) and its directory (mode 0700) if need be.
    ///
    /// # Errors
    /// When the file is damaged, foreign, newer than this program or cannot be written; it is then as it was.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        super::create_file(path).map_err(|error| of_io(path, error).of_inbox())?;
        Self::open_file(path)
    }

    /// Opens the inbox if its file exists and is not empty.
    ///
    /// # Errors
    /// As [`SqliteInbox::open`].
    pub fn open_existing(path: &Path) -> Result<Option<Self>, StoreError> {
        if super::has_content(path).map_err(|error| of_io(path, error).of_inbox())? {
            return Self::open_file(path).map(Some);
        }
        Ok(None)
    }

    fn open_file(path: &Path) -> Result<Self, StoreError> {
        let owners = Owners::beside(path);
        let opened = super::open_database(path, &INBOX, &owners, BUSY_TIMEOUT);
        let connection = opened.map_err(StoreError::of_inbox)?;
        let shortened = connection.pragma_update(None, "journal_size_limit", LOG_BYTES);
        shortened.map_err(|error| of_sqlite(path, error).of_inbox())?;
        let (receiving, claimed, purging) = (None, HashSet::new(), None);
        Ok(Self { path: path.to_owned(), connection, owners, receiving, claimed, purging })
    }

    /// Runs `work` in a write transaction and commits it durably.
    fn write<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreFault>) -> Result<T, StoreError> {
        super::commit(&self.connection, work).map_err(|fault| self.store_error(fault))
    }

    /// The same for what is done again if it fails: it does not wait for long.
    fn write_if_free<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreFault>) -> Result<T, StoreError> {
        let timeout = |time| self.connection.busy_timeout(time).map_err(|error| self.store_error(error.into()));
        timeout(SHORT_TIMEOUT)?;
        let outcome = self.write(work);
        timeout(BUSY_TIMEOUT)?;
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
        fault.at(&self.path).of_inbox()
    }

    /// Takes the lock that one process has, and reads which events are there.
    fn start_receiving(&self) -> Result<Receiving, StoreFault> {
        let lock = self.owners.lock_file("receiver.lock")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Problem::Receiving.into()),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let after = |table: &str| -> Result<i64, rusqlite::Error> {
            let sql = format!("SELECT coalesce(max(id), 0) + 1 FROM {table}");
            self.connection.query_row(&sql, [], |row| row.get(0))
        };
        let gone = "SELECT max(coalesce((SELECT max(last_event) FROM runs), 0),
                               coalesce((SELECT last_event FROM purged), 0)) + 1";
        let after_gone: i64 = self.connection.query_row(gone, [], |row| row.get(0))?;
        Ok(Receiving {
            seen: DedupIndex::load(&self.connection)?,
            next_delivery: after("deliveries")?,
            next_event: after("events")?.max(after_gone),
            next_forward: after("forwards")?,
            identity: FileIdentity::of(&self.path)?,
            lock,
        })
    }
}

impl Inbox for SqliteInbox {
    fn begin_receiving(&mut self) -> Result<(), StoreError> {
        if self.receiving.is_none() {
            self.receiving = Some(self.start_receiving().map_err(|fault| self.store_error(fault))?);
        }
        Ok(())
    }

    fn targets(&mut self, names: &[TargetName]) -> Result<Vec<TargetId>, StoreError> {
        self.write(|connection| {
            let upsert = "INSERT INTO targets (key, shown) VALUES (?, ?)
                          ON CONFLICT (key) DO UPDATE SET shown = excluded.shown RETURNING id";
            let mut statement = connection.prepare(upsert)?;
            let id =
                |name: &TargetName| Ok(TargetId(statement.query_row(params![name.key, name.shown], |row| row.get(0))?));
            names.iter().map(id).collect()
        })
    }

    fn commit_deliveries(&mut self, deliveries: &[Delivery], routes: &[Route]) -> Result<Vec<Receipt>, StoreError> {
        self.begin_receiving()?;
        let Self { connection, receiving, path, .. } = self;
        let Some(receiving) = receiving else { return Ok(Vec::new()) };
        intake::commit(connection, path, receiving, deliveries, routes).map_err(|fault| fault.at(path).of_inbox())
    }

    fn waiting(&self) -> Result<Vec<(TargetId, String, u64)>, StoreError> {
        self.read(forwards::waiting)
    }

    fn claim_forwards(
        &mut self,
        target: TargetId,
        now: Timestamp,
        request: ClaimRequest,
    ) -> Result<Vec<Forward>, StoreError> {
        self.begin_receiving()?;
        let claim = |connection: &Connection| forwards::claim(connection, &self.claimed, target, now, request);
        let (claimed, orphans) = self.read(claim)?;
        if !orphans.is_empty() {
            self.write_if_free(|connection| forwards::drop_orphans(connection, &orphans))?;
        }
        self.claimed.extend(claimed.iter().map(|forward| forward.id));
        Ok(claimed)
    }

    fn next_due(&self, target: TargetId) -> Result<Option<Timestamp>, StoreError> {
        self.read(|connection| forwards::next_due(connection, &self.claimed, target))
    }

    fn settle_forwards(&mut self, settlements: &[Settlement]) -> Result<(), StoreError> {
        self.write_if_free(|connection| forwards::settle(connection, settlements))?;
        for settlement in settlements {
            self.claimed.remove(&settlement.forward);
        }
        Ok(())
    }

    fn release_forwards(&mut self, forwards: &[ForwardId]) {
        for forward in forwards {
            self.claimed.remove(forward);
        }
    }

    fn expire_forwards(&mut self, queued_before: Timestamp) -> Result<Vec<(String, u64)>, StoreError> {
        self.write_if_free(|connection| forwards::expire(connection, &self.claimed, queued_before))
    }

    fn requeue_forwards(&mut self, selection: &EventSelection, now: Timestamp) -> Result<u64, StoreError> {
        let ids = self.read_at_once(|connection| forwards::undelivered(connection, selection))?;
        let mut requeued = 0;
        for (index, some) in ids.chunks(forwards::REQUEUED_AT_ONCE).enumerate() {
            if index > 0 {
                // A receiver that waits for the lock gets it now.
                std::thread::sleep(YIELD_TO_WRITERS);
            }
            requeued += self.write(|connection| forwards::requeue(connection, some, now))?;
        }
        Ok(requeued)
    }

    fn backlog(&self) -> Result<Backlog, StoreError> {
        self.read(query::backlog)
    }

    fn events(
        &self,
        selection: &EventSelection,
        page: EventPage,
        each: &mut dyn FnMut(EventRecord) -> bool,
    ) -> Result<(), StoreError> {
        self.read_at_once(|connection| query::events(connection, selection, page, each))
    }

    fn count_events(&self, selection: &EventSelection) -> Result<Vec<EventCount>, StoreError> {
        self.read_at_once(|connection| query::count(connection, selection))
    }

    fn quarantined(&self, number: Option<i64>, limit: Option<u64>) -> Result<Vec<Quarantined>, StoreError> {
        self.read(|connection| query::quarantined(connection, number, limit))
    }

    fn purge(&mut self, rule: &PurgeRule) -> Result<Purged, StoreError> {
        let begun = self.purging.take().filter(|(begun, _)| begun == rule);
        let mut reached = begun.map(|(_, reached)| reached).unwrap_or_default();
        let step = |connection: &Connection| purge::step(connection, rule, &mut reached);
        // Who receives has senders that wait behind this.
        let mut purged = if self.receiving.is_some() { self.write_if_free(step) } else { self.write(step) }?;
        if purged.events > 0
            && let Some(receiving) = &mut self.receiving
        {
            let reloaded = receiving.seen.reload_runs(&self.connection);
            reloaded.map_err(|fault| fault.at(&self.path).of_inbox())?;
        }
        match self.read(purge::give_back) {
            Ok(more) => purged.more |= more,
            // What was removed is gone all the same; its space is used again, or given back the next time.
            Err(error) => tracing::debug!("space could not be given back: {error}"),
        }
        self.purging = purged.more.then_some((*rule, reached));
        Ok(purged)
    }

    fn maintain(&mut self) -> Result<(), StoreError> {
        let Some(receiving) = self.receiving.as_ref().filter(|receiving| receiving.seen.is_due()) else {
            return Ok(());
        };
        let written = self.write_if_free(|connection| receiving.seen.write_run(connection))?;
        if let Some(receiving) = &mut self.receiving {
            receiving.seen.forget_tail(written);
        }
        Ok(())
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        if let Some(receiving) = &self.receiving {
            receiving.identity.check(&self.path).map_err(|fault| self.store_error(fault))?;
        }
        let now = Timestamp::now().as_microsecond();
        self.write(|connection| {
            connection.execute(
                "INSERT INTO probe (id, at) VALUES (1, ?) ON CONFLICT DO UPDATE SET at = excluded.at",
                [now],
            )?;
            Ok(())
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        self.read(super::quick_check)
    }
}

impl FileIdentity {
    /// Whether the file at `path` is still this one. SQLite goes on with a file that was removed, and what it commits
    /// there is gone when it is closed.
    fn check(self, path: &Path) -> Result<(), StoreFault> {
        match Self::of(path) {
            Ok(identity) if identity == self => Ok(()),
            _ => Err(Problem::Moved.into()),
        }
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
