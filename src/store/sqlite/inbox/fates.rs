//! What became of events: the forwards of a delivery are read once for all of its events.

use std::collections::BTreeSet;
use std::rc::Rc;

use rusqlite::{CachedStatement, Connection};

use crate::store::EventState;
use crate::store::sqlite::fault::{Problem, StoreFault};

/// The states of a forward, as they are stored.
pub(super) const PENDING: i64 = 0;
pub(super) const DELIVERED: i64 = 1;
pub(super) const DEAD: i64 = 2;

// They stand in the SQL of this module's neighbours as numbers.
const _: () = assert!(PENDING == 0 && DELIVERED == 1 && DEAD == 2);

/// More events than any delivery has: a forward of as many is damaged.
const TOO_MANY: i64 = 1_000_000;

/// What became of the forwards of an event.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate {
    pub(super) pending: u32,
    pub(super) dead: u32,
    pub(super) delivered: u32,
    pub(super) forwarded_at: Option<i64>,
    pub(super) attempts: u32,
    /// The error of one that was not delivered.
    pub(super) error: Option<Rc<str>>,
    /// Those that were not delivered.
    pub(super) undelivered: BTreeSet<i64>,
}

impl Fate {
    pub(super) fn state(&self) -> EventState {
        EventState::of_forwards(self.pending, self.dead, self.delivered)
    }
}

/// The fates of the events of one delivery after the other.
pub(super) struct Fates<'c> {
    forwards: CachedStatement<'c>,
    target: Option<String>,
    delivery: Option<i64>,
    /// The first event with a forward, and what became of it and those behind it.
    first: i64,
    in_order: Vec<Fate>,
    none: Fate,
}

impl<'c> Fates<'c> {
    /// Those of forwards to the target with this name, or to all.
    pub(super) fn of(connection: &'c Connection, target: Option<&str>) -> Result<Self, StoreFault> {
        let sql = "SELECT id, first_event, last_event, state, settled_at, attempts, error
                   FROM forwards INDEXED BY forwards_by_delivery
                   WHERE delivery = ?1 AND (?2 IS NULL OR target IN (SELECT id FROM targets WHERE shown = ?2))";
        let forwards = connection.prepare_cached(sql)?;
        Ok(Self {
            forwards,
            target: target.map(str::to_owned),
            delivery: None,
            first: 0,
            in_order: Vec::new(),
            none: Fate::default(),
        })
    }

    /// What became of this event of this delivery.
    pub(super) fn of_event(&mut self, delivery: i64, event: i64) -> Result<&Fate, StoreFault> {
        if self.delivery != Some(delivery) {
            self.read(delivery)?;
        }
        let place = usize::try_from(event - self.first).ok();
        Ok(place.and_then(|place| self.in_order.get(place)).unwrap_or(&self.none))
    }

    fn read(&mut self, delivery: i64) -> Result<(), StoreFault> {
        (self.delivery, self.first) = (None, i64::MAX);
        self.in_order.clear();
        let mut rows = self.forwards.query((delivery, self.target.as_deref()))?;
        let mut forwards = Vec::new();
        while let Some(row) = rows.next()? {
            let (id, first, last): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (state, settled_at, attempts): (i64, Option<i64>, u32) = (row.get(3)?, row.get(4)?, row.get(5)?);
            let error = row.get::<_, Option<String>>(6)?.map(Rc::from);
            self.first = self.first.min(first);
            forwards.push((id, first, last, state, settled_at, attempts, error));
        }
        for (id, first, last, state, settled_at, attempts, error) in forwards {
            let (start, end) = (first - self.first, last - self.first);
            if start > end || end > TOO_MANY {
                return Err(Problem::Damaged.into());
            }
            // Neither is negative, nor large.
            let (start, end) = (usize::try_from(start).unwrap_or(0), usize::try_from(end).unwrap_or(0));
            if self.in_order.len() <= end {
                self.in_order.resize_with(end + 1, Fate::default);
            }
            for fate in &mut self.in_order[start..=end] {
                fate.add(id, state, settled_at, attempts, error.as_ref());
            }
        }
        self.delivery = Some(delivery);
        Ok(())
    }
}

impl Fate {
    fn add(&mut self, id: i64, state: i64, settled_at: Option<i64>, attempts: u32, error: Option<&Rc<str>>) {
        self.attempts = self.attempts.saturating_add(attempts);
        match state {
            PENDING => self.pending += 1,
            DEAD => self.dead += 1,
            _ => {
                self.delivered += 1;
                self.forwarded_at = self.forwarded_at.max(settled_at);
                return;
            }
        }
        self.undelivered.insert(id);
        if self.error.as_ref() < error {
            self.error = error.cloned();
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    /// How many steps SQLite takes for the fates of as many events, each with a forward of its own.
    fn steps_of(events: i64) -> i32 {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../../../../migrations/sqlite/0001_inbox.sql")).unwrap();
        let insert = "INSERT INTO forwards (target, delivery, first_event, last_event, state, queued_at)
                      VALUES (1, 1, ?1, ?1, ?1 % 3, 0)";
        for event in 1..=events {
            connection.execute(insert, [event]).unwrap();
        }
        let mut fates = Fates::of(&connection, None).unwrap();
        for event in 1..=events {
            let fate = fates.of_event(1, event).unwrap();
            assert_eq!(
                (fate.pending + fate.dead + fate.delivered, fate.undelivered.len()),
                (1, usize::from(event % 3 != 1))
            );
        }
        fates.forwards.get_status(StatementStatus::VmStep)
    }

    #[test]
    fn the_work_grows_as_the_events_do() {
        let (some, twice) = (steps_of(500), steps_of(1000));
        assert!(twice < some * 3, "{some} {twice}");
    }
}
