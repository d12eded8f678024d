//! The inbox of the one process that receives into the file.
//!
//! That there is only one is SQLite's rule: it knows all keys in memory, numbers what it stores by itself, and keeps its
//! leases in memory, where they end with the process.

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::body::Bodies;
use super::forwards;
use super::intake;
use super::leases::Leases;
use super::polling::{SEEN_AT_ONCE, note_arrivals, seen};
use super::receiving::Receiving;
use super::targets;
use super::{SHORT_BUSY_TIMEOUT, SqliteInbox};
use crate::domain::{ApiOrigin, AppId, IssueList};
use crate::platform;
use crate::store::error::Part;
use crate::store::sqlite::fault::StoreFault;
use crate::store::{
    Arrival, Backlog, ClaimRequest, Coordination, EncodedDelivery, EventBucket, EventCount, EventPage, EventRecord,
    EventSelection, EventSeq, Events, ForwardLatency, ForwardRecord, HandOver, HandedOver, Intake, Lease, Leased,
    Maintenance, MissedEvents, Polling, PurgeRule, Purged, Quarantined, Queue, Receipt, Requeued, Route, Settled,
    Settlement, StoreError, StoredDelivery, TargetId, TargetName, TargetRecord, Targets, Usage,
};

/// What a commit takes up beside a body: pages that it changes, in bytes.
const ROOM_BESIDE_A_BODY: u64 = 128 * 1024;

/// An inbox in a file that this process alone receives into.
#[derive(Debug)]
pub(in crate::store::sqlite) struct SqliteReceiverInbox {
    inbox: SqliteInbox,
    receiving: Receiving,
    leases: Leases,
    /// Bodies of deliveries whose events are claimed one by one.
    bodies: Bodies,
    /// How long forwards to these targets are pending.
    max_ages: Vec<(TargetId, SignedDuration)>,
    /// Up to which event the arrivals on record go, at least.
    arrivals_seen: i64,
}

impl SqliteReceiverInbox {
    /// Opens the inbox, creating it if need be, and keeps other processes from receiving into it.
    ///
    /// # Errors
    /// As [`SqliteInbox::open`], and when another process receives into it.
    pub(in crate::store::sqlite) fn open(path: &Path) -> Result<Self, StoreError> {
        let inbox = SqliteInbox::open(path)?;
        let receiving =
            Receiving::begin(&inbox.connection, &inbox.owners, path).map_err(|fault| inbox.store_error(fault))?;
        let arrivals_seen = inbox.read(seen)?;
        let (leases, bodies) = (Leases::default(), Bodies::default());
        Ok(Self { inbox, receiving, leases, bodies, max_ages: Vec::new(), arrivals_seen })
    }
}

impl Intake for SqliteReceiverInbox {
    fn dedupe_within(&mut self, window: SignedDuration) {
        self.receiving.dedupe_window = window;
    }

    fn commit(&mut self, deliveries: &[EncodedDelivery], routes: &[Route]) -> Result<Vec<Receipt>, StoreError> {
        let Self { inbox: SqliteInbox { connection, path, .. }, receiving, .. } = self;
        intake::commit(connection, path, receiving, deliveries, routes).map_err(|fault| fault.at(Part::Inbox, path))
    }

    fn probe(&mut self, now: Timestamp, bytes: u64) -> Result<bool, StoreError> {
        self.receiving.check_file(&self.inbox.path).map_err(|fault| self.inbox.store_error(fault))?;
        self.inbox.write(|connection| {
            let touch = "INSERT INTO probe (id, at) VALUES (1, ?) ON CONFLICT DO UPDATE SET at = excluded.at";
            connection.execute(touch, [super::stored(now)])?;
            Ok(())
        })?;
        // It is written to the log, page by page with a header each, and some of its events beside it.
        let needed = bytes + bytes / 8 + ROOM_BESIDE_A_BODY;
        let directory = crate::store::sqlite::directory_of(&self.inbox.path);
        Ok(platform::free_space(directory).is_none_or(|free| free >= needed))
    }
}

/// There is one receiver, which needs to be told nothing: what it tells is for those who look.
impl Coordination for SqliteReceiverInbox {
    fn hold(&mut self, target: TargetId, until: Option<Timestamp>) -> Result<(), StoreError> {
        self.inbox.write_if_free(|connection| targets::hold(connection, target, until))
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
        let Self { inbox, leases, bodies, .. } = self;
        let claim = |connection: &Connection| forwards::claim(connection, bodies, leases, target, now, request);
        let (claimed, orphans) = inbox.read(claim)?;
        if claimed.is_empty() {
            // What is not needed is given back.
            bodies.forget();
        }
        if !orphans.is_empty() {
            self.inbox.write_if_free(|connection| forwards::drop_orphans(connection, &orphans))?;
        }
        let until = end_of_lease(now, lease);
        let leased = claimed.into_iter().map(|(forward, identity)| {
            let token = self.leases.give(forward.id, identity, until);
            Leased { forward, token }
        });
        Ok(leased.collect())
    }

    fn renew(&mut self, leases: &[Lease], now: Timestamp, lease: Duration) -> Result<Vec<Lease>, StoreError> {
        let until = end_of_lease(now, lease);
        let lost = leases.iter().filter(|lease| !self.leases.renew(**lease, until));
        Ok(lost.copied().collect())
    }

    fn settle(&mut self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        let Self { inbox, leases, .. } = self;
        let settle = |connection: &Connection| {
            let settle = |settlement: &Settlement| {
                let Some(forward) = leases.held(settlement.lease) else { return Ok(Settled::LeaseLost) };
                let recorded = forwards::settle(connection, settlement, forward)?;
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

    fn set_max_ages(&mut self, ages: Vec<(TargetId, SignedDuration)>) {
        self.max_ages = ages;
    }

    fn expire(&mut self, queued_before: Timestamp, now: Timestamp) -> Result<Vec<(String, u64)>, StoreError> {
        let before = |target: TargetId| {
            let own = self.max_ages.iter().find(|(id, _)| *id == target);
            own.map_or(queued_before, |(_, age)| now.checked_sub(*age).unwrap_or(Timestamp::MIN))
        };
        self.inbox.write_if_free(|connection| forwards::expire(connection, &self.leases, before, now))
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
    ) -> Result<Option<EventSeq>, StoreError> {
        self.inbox.events(selection, page, each)
    }

    fn watermark(&self) -> Result<EventSeq, StoreError> {
        self.inbox.watermark()
    }

    fn count_events(&self, selection: &EventSelection) -> Result<Vec<EventCount>, StoreError> {
        self.inbox.count_events(selection)
    }

    fn histogram(
        &self,
        since: Timestamp,
        until: Timestamp,
        step: SignedDuration,
    ) -> Result<Vec<EventBucket>, StoreError> {
        self.inbox.histogram(since, until, step)
    }

    fn forward_latency(&self, since: Timestamp) -> Result<Option<ForwardLatency>, StoreError> {
        self.inbox.forward_latency(since)
    }

    fn delivery_of(&self, event: EventSeq) -> Result<Option<StoredDelivery>, StoreError> {
        self.inbox.delivery_of(event)
    }

    fn quarantined(&self, number: Option<i64>, limit: Option<u64>) -> Result<Vec<Quarantined>, StoreError> {
        self.inbox.quarantined(number, limit)
    }

    fn backlog(&self) -> Result<Backlog, StoreError> {
        self.inbox.backlog()
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        self.inbox.usage()
    }
}

impl Targets for SqliteReceiverInbox {
    fn target_records(&self) -> Result<Vec<TargetRecord>, StoreError> {
        self.inbox.target_records()
    }

    fn forwards_of(&self, event: EventSeq) -> Result<Vec<ForwardRecord>, StoreError> {
        self.inbox.forwards_of(event)
    }

    fn pause_target(&mut self, target: TargetId, now: Timestamp) -> Result<bool, StoreError> {
        self.inbox.pause_target(target, now)
    }

    fn resume_target(&mut self, target: TargetId, now: Timestamp) -> Result<bool, StoreError> {
        self.inbox.resume_target(target, now)
    }

    fn drop_pending(&mut self, target: TargetId, now: Timestamp) -> Result<u64, StoreError> {
        self.inbox.drop_pending(target, now)
    }
}

impl Polling for SqliteReceiverInbox {
    fn arrivals(&self) -> Result<Vec<Arrival>, StoreError> {
        self.inbox.arrivals()
    }

    fn polled_until(&self, origin: &ApiOrigin, app: AppId, list: IssueList) -> Result<Option<Timestamp>, StoreError> {
        self.inbox.polled_until(origin, app, list)
    }

    fn note_polled(
        &mut self,
        origin: &ApiOrigin,
        app: AppId,
        list: IssueList,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.inbox.note_polled(origin, app, list, until)
    }

    fn missed_events(&self, origin: &ApiOrigin) -> Result<Vec<MissedEvents>, StoreError> {
        self.inbox.missed_events(origin)
    }

    fn note_missed(&mut self, origin: &ApiOrigin, missed: &[MissedEvents]) -> Result<(), StoreError> {
        self.inbox.note_missed(origin, missed)
    }

    fn routes(&self) -> Result<Vec<Route>, StoreError> {
        self.inbox.routes()
    }

    fn set_routes(&mut self, routes: &[Route]) -> Result<(), StoreError> {
        self.inbox.set_routes(routes)
    }
}

impl HandOver for SqliteReceiverInbox {
    fn hand_over(&mut self, delivery: &HandedOver) -> Result<i64, StoreError> {
        self.inbox.hand_over(delivery)
    }

    fn take_receipt(&mut self, number: i64) -> Result<Option<u64>, StoreError> {
        self.inbox.take_receipt(number)
    }

    fn next_handed_over(&mut self) -> Result<Option<HandedOver>, StoreError> {
        self.inbox.next_handed_over()
    }

    fn note_taken(&mut self, number: i64, stored: u64) -> Result<(), StoreError> {
        self.inbox.note_taken(number, stored)
    }
}

impl Maintenance for SqliteReceiverInbox {
    fn purge(&mut self, rule: &PurgeRule) -> Result<Purged, StoreError> {
        let purged = self.inbox.with_busy_timeout(SHORT_BUSY_TIMEOUT, |inbox| inbox.purge_step(rule))?;
        let reloaded = self.receiving.known.forget_purged(&self.inbox.connection);
        reloaded.map_err(|fault| self.inbox.store_error(fault))?;
        Ok(purged)
    }

    fn requeue(&mut self, selection: &EventSelection, now: Timestamp) -> Result<Requeued, StoreError> {
        self.inbox.requeue(selection, now)
    }

    fn forward_again(&mut self, events: &[EventSeq], target: TargetId, now: Timestamp) -> Result<u64, StoreError> {
        self.inbox.forward_again(events, target, now)
    }

    fn delete(&mut self, events: &[EventSeq]) -> Result<u64, StoreError> {
        self.bodies.forget();
        self.inbox.delete(events)
    }

    fn keep_reserve(&mut self, bytes: u64) -> Result<(), StoreError> {
        self.inbox.keep_reserve(bytes)
    }

    fn maintain(&mut self) -> Result<bool, StoreError> {
        let Self { inbox, receiving, .. } = self;
        let Some(step) = receiving.known.next_step() else {
            if receiving.next_event - self.arrivals_seen <= SEEN_AT_ONCE {
                return Ok(false);
            }
            let (reached, more) = inbox.with_busy_timeout(SHORT_BUSY_TIMEOUT, |inbox| inbox.read(note_arrivals))?;
            // Behind the last there may be numbers whose events are gone.
            self.arrivals_seen = if more { reached } else { receiving.next_event - 1 };
            return Ok(more);
        };
        let done = inbox.write_if_free(|connection| receiving.known.write(step, connection))?;
        receiving.known.apply(done);
        Ok(receiving.known.next_step().is_some())
    }

    fn check(&self) -> Result<(), StoreError> {
        self.inbox.check()
    }
}
