//! The inbox of the one process that receives into the file.
//!
//! That there is only one is SQLite's rule: it knows all keys in memory, numbers what it stores by itself, and keeps its
//! leases in memory, where they end with the process.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::SqliteInbox;
use super::forwards;
use super::intake;
use crate::platform::FileIdentity;
use crate::store::error::Part;
use crate::store::sqlite::dedup::DedupIndex;
use crate::store::sqlite::fault::{Problem, StoreFault};
use crate::store::{
    Backlog, ClaimRequest, EncodedDelivery, EventCount, EventPage, EventRecord, EventSelection, EventSeq, Events,
    ForwardId, Intake, Lease, LeaseToken, Leased, Maintenance, PurgeRule, Purged, Quarantined, Queue, Receipt, Route,
    Settled, Settlement, StoreError, TargetId, TargetName,
};

/// An inbox in a file that this process alone receives into.
#[derive(Debug)]
pub(in crate::store::sqlite) struct SqliteReceiverInbox {
    inbox: SqliteInbox,
    receiving: Receiving,
    leases: Leases,
}

/// What the one process has that receives.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) known: DedupIndex,
    pub(super) next_delivery: i64,
    pub(super) next_event: i64,
    /// Never given again while this process has leases: a new forward must not be taken for one that was purged.
    pub(super) next_forward: i64,
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

impl Receiving {
    /// Takes the lock that one process has, and reads which events are there.
    fn begin(inbox: &SqliteInbox) -> Result<Self, StoreFault> {
        let SqliteInbox { connection, owners, path, .. } = inbox;
        let lock = owners.lock_file("receiver.lock")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Problem::Receiving.into()),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let after = |table: &str| -> Result<i64, rusqlite::Error> {
            connection.query_row(&format!("SELECT coalesce(max(id), 0) + 1 FROM {table}"), [], |row| row.get(0))
        };
        let gone = "SELECT max(coalesce((SELECT max(last_event) FROM runs), 0),
                               coalesce((SELECT last_event FROM purged), 0)) + 1";
        let after_gone: i64 = connection.query_row(gone, [], |row| row.get(0))?;
        Ok(Self {
            known: DedupIndex::load(connection)?,
            next_delivery: after("deliveries")?,
            next_event: after("events")?.max(after_gone),
            next_forward: after("forwards")?,
            identity: FileIdentity::of(path)?,
            lock,
        })
    }

    /// Whether the file at `path` is still the one that was opened. SQLite goes on with a file that was removed, and what
    /// it commits there is gone when it is closed.
    pub(super) fn check_file(&self, path: &Path) -> Result<(), StoreFault> {
        match FileIdentity::of(path) {
            Ok(identity) if identity == self.identity => Ok(()),
            _ => Err(Problem::Moved.into()),
        }
    }
}

/// The leases that were given and have not ended, by forward.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: HashMap<ForwardId, (LeaseToken, Timestamp)>,
    last_token: u64,
}

impl Leases {
    /// Whether somebody has the forward.
    pub(super) fn is_leased(&self, forward: i64, now: Timestamp) -> bool {
        self.held.get(&ForwardId(forward)).is_some_and(|(_, until)| now < *until)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    fn give(&mut self, forward: ForwardId, until: Timestamp) -> LeaseToken {
        self.last_token += 1;
        let token = LeaseToken(self.last_token);
        self.held.insert(forward, (token, until));
        token
    }

    /// Whether this is the lease of its forward, expired or not: nobody else has it as long as this one is known.
    fn holds(&self, lease: Lease) -> bool {
        self.held.get(&lease.forward).is_some_and(|(token, _)| *token == lease.token)
    }

    fn end(&mut self, lease: Lease) {
        if self.holds(lease) {
            self.held.remove(&lease.forward);
        }
    }
}

impl SqliteReceiverInbox {
    /// Opens the inbox, creating it if need be, and keeps other processes from receiving into it.
    ///
    /// # Errors
    /// As [`SqliteInbox::open`], and when another process receives into it.
    pub(in crate::store::sqlite) fn open(path: &Path) -> Result<Self, StoreError> {
        let inbox = SqliteInbox::open(path)?;
        let receiving = Receiving::begin(&inbox).map_err(|fault| inbox.store_error(fault))?;
        Ok(Self { inbox, receiving, leases: Leases::default() })
    }
}

impl Intake for SqliteReceiverInbox {
    fn commit(&mut self, deliveries: &[EncodedDelivery], routes: &[Route]) -> Result<Vec<Receipt>, StoreError> {
        let Self { inbox: SqliteInbox { connection, path, .. }, receiving, .. } = self;
        intake::commit(connection, path, receiving, deliveries, routes).map_err(|fault| fault.at(Part::Inbox, path))
    }

    fn probe(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.receiving.check_file(&self.inbox.path).map_err(|fault| self.inbox.store_error(fault))?;
        self.inbox.write(|connection| {
            let touch = "INSERT INTO probe (id, at) VALUES (1, ?) ON CONFLICT DO UPDATE SET at = excluded.at";
            connection.execute(touch, [super::stored(now)])?;
            Ok(())
        })
    }
}

impl Queue for SqliteReceiverInbox {
    fn targets(&mut self, names: &[TargetName]) -> Result<Vec<TargetId>, StoreError> {
        self.inbox.write(|connection| {
            let upsert = "INSERT INTO targets (key, shown) VALUES (?, ?)
                          ON CONFLICT (key) DO UPDATE SET shown = excluded.shown RETURNING id";
            let mut statement = connection.prepare(upsert)?;
            let id =
                |name: &TargetName| Ok(TargetId(statement.query_row(params![name.key, name.shown], |row| row.get(0))?));
            names.iter().map(id).collect()
        })
    }

    fn claim(
        &mut self,
        target: TargetId,
        request: ClaimRequest,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<Leased>, StoreError> {
        let claim = |connection: &Connection| forwards::claim(connection, &self.leases, target, now, request);
        let (claimed, orphans) = self.inbox.read(claim)?;
        if !orphans.is_empty() {
            self.inbox.write_if_free(|connection| forwards::drop_orphans(connection, &orphans))?;
        }
        let until = end_of_lease(now, lease);
        let leased = claimed.into_iter().map(|forward| {
            let token = self.leases.give(forward.id, until);
            Leased { forward, token }
        });
        Ok(leased.collect())
    }

    fn renew(&mut self, leases: &[Lease], now: Timestamp, lease: Duration) -> Result<Vec<Lease>, StoreError> {
        let until = end_of_lease(now, lease);
        let mut lost = Vec::new();
        for lease in leases {
            match self.leases.held.get_mut(&lease.forward) {
                Some((token, end)) if *token == lease.token => *end = until,
                _ => lost.push(*lease),
            }
        }
        Ok(lost)
    }

    fn settle(&mut self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        let Self { inbox, leases, .. } = self;
        let settle = |connection: &Connection| {
            let settle = |settlement: &Settlement| {
                let recorded = leases.holds(settlement.lease) && forwards::settle(connection, settlement)?;
                Ok(if recorded { Settled::Recorded } else { Settled::LeaseLost })
            };
            settlements.iter().map(settle).collect::<Result<Vec<_>, StoreFault>>()
        };
        let settled = inbox.write_if_free(settle)?;
        for settlement in settlements {
            leases.end(settlement.lease);
        }
        Ok(settled)
    }

    fn release(&mut self, leases: &[Lease]) -> Result<(), StoreError> {
        for lease in leases {
            self.leases.end(*lease);
        }
        Ok(())
    }

    fn next_due(&self, target: TargetId, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.inbox.read(|connection| forwards::next_due(connection, &self.leases, target, now))
    }

    fn expire(&mut self, queued_before: Timestamp, now: Timestamp) -> Result<Vec<(String, u64)>, StoreError> {
        self.inbox.write_if_free(|connection| forwards::expire(connection, &self.leases, queued_before, now))
    }
}

fn end_of_lease(now: Timestamp, lease: Duration) -> Timestamp {
    now.checked_add(lease).unwrap_or(Timestamp::MAX)
}

impl Events for SqliteReceiverInbox {
    fn events(
        &self,
        selection: &EventSelection,
        page: EventPage,
        each: &mut dyn FnMut(EventRecord) -> bool,
    ) -> Result<(), StoreError> {
        self.inbox.events(selection, page, each)
    }

    fn watermark(&self) -> Result<EventSeq, StoreError> {
        self.inbox.watermark()
    }

    fn count_events(&self, selection: &EventSelection) -> Result<Vec<EventCount>, StoreError> {
        self.inbox.count_events(selection)
    }

    fn quarantined(&self, number: Option<i64>, limit: Option<u64>) -> Result<Vec<Quarantined>, StoreError> {
        self.inbox.quarantined(number, limit)
    }

    fn backlog(&self) -> Result<Backlog, StoreError> {
        self.inbox.backlog()
    }

    fn pending_by_target(&self) -> Result<Vec<(TargetId, String, u64)>, StoreError> {
        self.inbox.pending_by_target()
    }
}

impl Maintenance for SqliteReceiverInbox {
    fn purge(&mut self, rule: &PurgeRule) -> Result<Purged, StoreError> {
        let purged = self.inbox.purge_step(rule, true)?;
        if purged.events > 0 {
            let reloaded = self.receiving.known.forget_purged(&self.inbox.connection);
            reloaded.map_err(|fault| self.inbox.store_error(fault))?;
        }
        Ok(purged)
    }

    fn requeue(&mut self, selection: &EventSelection, now: Timestamp) -> Result<u64, StoreError> {
        self.inbox.requeue(selection, now)
    }

    fn maintain(&mut self) -> Result<bool, StoreError> {
        let Self { inbox, receiving, .. } = self;
        let Some(step) = receiving.known.next_step() else { return Ok(false) };
        let done = inbox.write_if_free(|connection| receiving.known.write(step, connection))?;
        receiving.known.apply(done);
        Ok(receiving.known.next_step().is_some())
    }

    fn check(&self) -> Result<(), StoreError> {
        self.inbox.check()
    }
}
