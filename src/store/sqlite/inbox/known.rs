//! Which of the events that are being stored are duplicates.
//!
//! The deduplication index knows the newest event with a key: of one sender and one id. That it comes from another app, or,
//! if its sender gives no ids, that it came long before, makes it another event. Events with one key are a chain, each of
//! which names the one before.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};

use super::time;
use crate::domain::event::{AppHash, EventFacts, EventKey};
use crate::store::sqlite::dedup::{ByKey, DedupIndex};
use crate::store::sqlite::fault::StoreFault;

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A duplicate of this one.
    Duplicate(i64),
    /// A new one, with this number.
    New(i64),
}

/// What an app is known by.
type EventApp = (Option<i64>, Option<AppHash>);

/// An event that is stored, or being stored.
#[derive(Debug, Clone, Copy)]
struct KnownEvent {
    app: EventApp,
    previous: Option<i64>,
    received_at: Timestamp,
}

/// The events that are there, with those that are being stored together.
pub(super) struct DuplicateFinder<'a> {
    index: &'a DedupIndex,
    window: SignedDuration,
    first: i64,
    /// Those that are being stored, from the first on.
    new: Vec<KnownEvent>,
    newest: ByKey,
    /// The events of chains that were gone through, so that each is once.
    chained: HashMap<(EventKey, EventApp), i64, RandomState>,
    chained_app_ids: HashMap<(EventKey, i64), i64, RandomState>,
    walked: HashSet<EventKey, RandomState>,
}

impl<'a> DuplicateFinder<'a> {
    /// What the index knows; what is new is numbered from `first` on, and is about as much as this.
    pub(super) fn new(index: &'a DedupIndex, window: SignedDuration, first: i64, events: usize) -> Self {
        Self {
            index,
            window,
            first,
            new: Vec::with_capacity(events),
            newest: ByKey::with_capacity_and_hasher(events, RandomState::default()),
            chained: HashMap::default(),
            chained_app_ids: HashMap::default(),
            walked: HashSet::default(),
        }
    }

    /// What this event is. A new one has its number from now on.
    pub(super) fn place(
        &mut self,
        connection: &Connection,
        event: &EventFacts,
        received_at: Timestamp,
    ) -> Result<Place, StoreFault> {
        let newest = match self.newest.get(&event.key) {
            Some(id) => Some(*id),
            None => self.index.find(connection, event.key)?,
        };
        // The index also knows what was removed.
        let known = newest.map(|id| Ok::<_, StoreFault>((id, self.read(connection, id)?))).transpose()?;
        let newest = known.and_then(|(id, known)| Some((id, known?)));
        let Some((id, known)) = newest else { return Ok(self.add(event, None, received_at)) };
        let duplicate = if event.is_without_id {
            (received_at.duration_since(known.received_at).abs() <= self.window).then_some(id)
        } else if is_same_app(known.app, app(event)) {
            Some(id)
        } else {
            self.find_in_chain(connection, event, id)?
        };
        Ok(duplicate.map_or_else(|| self.add(event, Some(id), received_at), Place::Duplicate))
    }

    fn add(&mut self, event: &EventFacts, previous: Option<i64>, received_at: Timestamp) -> Place {
        let id = self.next();
        self.new.push(KnownEvent { app: app(event), previous, received_at });
        self.newest.insert(event.key, id);
        if previous.is_some() {
            self.chain(event.key, app(event), id);
        }
        Place::New(id)
    }

    fn chain(&mut self, key: EventKey, app: EventApp, id: i64) {
        self.chained.entry((key, app)).or_insert(id);
        if let (Some(app_id), _) = app {
            self.chained_app_ids.entry((key, app_id)).or_insert(id);
        }
    }

    /// The event of the same app among those before `id`.
    fn find_in_chain(
        &mut self,
        connection: &Connection,
        event: &EventFacts,
        id: i64,
    ) -> Result<Option<i64>, StoreFault> {
        if self.walked.insert(event.key) {
            let mut next = Some(id);
            while let Some(id) = next
                && let Some(known) = self.read(connection, id)?
            {
                self.chain(event.key, known.app, id);
                next = known.previous;
            }
        }
        let (app_id, hash) = app(event);
        if let (Some(app_id), None) = (app_id, hash) {
            // Known by its number alone.
            return Ok(self.chained_app_ids.get(&(event.key, app_id)).copied());
        }
        // One of the version before has no hash of its app, and so has one that was polled.
        let of_before = self.chained.get(&(event.key, (app_id, None)));
        Ok(self.chained.get(&(event.key, app(event))).or(of_before).copied())
    }

    /// The event before this one, which is being stored.
    pub(super) fn previous(&self, id: i64) -> Option<i64> {
        usize::try_from(id - self.first).ok().and_then(|place| self.new.get(place))?.previous
    }

    fn next(&self) -> i64 {
        self.first + i64::try_from(self.new.len()).unwrap_or(i64::MAX)
    }

    fn read(&self, connection: &Connection, id: i64) -> Result<Option<KnownEvent>, StoreFault> {
        if id >= self.first {
            return Ok(usize::try_from(id - self.first).ok().and_then(|place| self.new.get(place)).copied());
        }
        let sql = "SELECT e.app_id, e.app, e.previous, d.received_at
                   FROM events e JOIN deliveries d ON d.id = e.delivery WHERE e.id = ?";
        let known = |row: &Row<'_>| {
            let app = (row.get(0)?, row.get::<_, Option<i64>>(1)?.map(AppHash));
            Ok(KnownEvent { app, previous: row.get(2)?, received_at: time(row.get(3)?) })
        };
        Ok(connection.prepare_cached(sql)?.query_row([id], known).optional()?)
    }

    /// The newest events by their keys, and the number of the next.
    pub(super) fn end(self) -> (ByKey, i64) {
        let next = self.next();
        (self.newest, next)
    }
}

/// The key that targets know an event by: one of its own, if an earlier event has its key.
pub(super) fn known_by(key: [u8; 16], previous: Option<i64>) -> EventKey {
    let key = EventKey::from_bytes(key);
    previous.map_or(key, |previous| key.after(previous))
}

fn app(event: &EventFacts) -> EventApp {
    (event.app_id, event.app)
}

/// Whether two events may be of one app: they are, unless what is known of both differs.
fn is_same_app((one_id, one): EventApp, (other_id, other): EventApp) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one == other,
        _ => one_id.is_none() || other_id.is_none() || one_id == other_id,
    }
}
