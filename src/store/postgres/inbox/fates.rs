//! What became of events: the forwards of many are read at once.

use std::collections::HashMap;
use std::rc::Rc;

use tokio_postgres::Row;

use super::super::fault::PostgresFault;
use super::super::session::{Link, values};
use super::states::{DEAD, PENDING};
use crate::store::EventState;

/// What became of the forwards of an event.
#[derive(Debug, Clone, Default)]
pub(super) struct EventFate {
    pending: u32,
    dead: u32,
    delivered: u32,
    pub(super) forwarded_at: Option<i64>,
    pub(super) attempts: u32,
    /// The error of one that was not delivered.
    pub(super) error: Option<Rc<str>>,
}

impl EventFate {
    pub(super) fn state(&self) -> EventState {
        EventState::of_forwards(self.pending, self.dead, self.delivered)
    }
}

/// Where an event is: its place, its delivery, and the last event of that.
pub(super) struct EventPlace {
    event: i64,
    delivery: i64,
    last_event: i64,
}

/// The places of events, from these columns of rows.
pub(super) fn places(rows: &[Row], event: usize, delivery: usize, last_event: usize) -> Vec<EventPlace> {
    let place =
        |row: &Row| EventPlace { event: row.get(event), delivery: row.get(delivery), last_event: row.get(last_event) };
    rows.iter().map(place).collect()
}

/// The fates of some events.
pub(super) struct EventFates {
    by_event: HashMap<i64, EventFate>,
}

impl EventFates {
    /// Those of the events at these places, at the target with this name or at all.
    pub(super) async fn of(link: &Link, places: &[EventPlace], target: Option<&str>) -> Result<Self, PostgresFault> {
        let mut by_delivery: HashMap<i64, Vec<i64>> = HashMap::new();
        for place in places {
            by_delivery.entry(place.delivery).or_default().push(place.event);
        }
        let mut by_event: HashMap<i64, EventFate> = HashMap::new();
        let (Some(first), Some(last), Some(end)) = (
            places.iter().map(|place| place.event).min(),
            places.iter().map(|place| place.event).max(),
            places.iter().map(|place| place.last_event).max(),
        ) else {
            return Ok(Self { by_event });
        };
        for events in by_delivery.values_mut() {
            events.sort_unstable();
        }
        let sql = "SELECT delivery, first_event, last_event, state, settled_at, attempts, error FROM @forwards
                   WHERE last_event BETWEEN $1 AND $2 AND first_event <= $3 AND delivery = ANY ($4)
                       AND ($5::text IS NULL OR target IN (SELECT id FROM @targets WHERE shown = $5))";
        let deliveries: Vec<i64> = by_delivery.keys().copied().collect();
        let values = values![first => INT8, end => INT8, last => INT8, deliveries => INT8_ARRAY, target => TEXT];
        for row in &link.rows(sql, values).await? {
            let (delivery, from, to): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let Some(events) = by_delivery.get(&delivery) else { continue };
            let error = row.try_get::<_, Option<String>>(6)?.map(Rc::from);
            let (state, settled_at, attempts) = (row.try_get(3)?, row.try_get(4)?, row.try_get::<_, i32>(5)?);
            let begin = events.partition_point(|event| *event < from);
            for event in events[begin..].iter().take_while(|event| **event <= to) {
                by_event.entry(*event).or_default().add(state, settled_at, attempts, error.as_ref());
            }
        }
        Ok(Self { by_event })
    }

    /// What became of this event; `None` if no target accepts it.
    pub(super) fn of_event(&self, event: i64) -> Option<&EventFate> {
        self.by_event.get(&event)
    }
}

impl EventFate {
    fn add(&mut self, state: i16, settled_at: Option<i64>, attempts: i32, error: Option<&Rc<str>>) {
        self.attempts = self.attempts.saturating_add(u32::try_from(attempts).unwrap_or(0));
        match state {
            PENDING => self.pending += 1,
            DEAD => self.dead += 1,
            _ => {
                self.delivered += 1;
                self.forwarded_at = self.forwarded_at.max(settled_at);
                return;
            }
        }
        if self.error.as_ref() < error {
            self.error = error.cloned();
        }
    }
}
