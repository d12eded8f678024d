//! Counting events by kind.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::events::{EventCount, EventState};
use crate::domain::event::Sender;

/// What events are counted by: who sent them, their type and their app.
type EventKindKey = (Sender, Option<String>, Option<i64>);

/// Events, counted by kind as they are read.
#[derive(Debug, Default)]
pub(super) struct EventCounts {
    by_kind: BTreeMap<EventKindKey, EventCount>,
}

impl EventCounts {
    /// Counts an event that came then and has so many duplicates, and whose state is this.
    pub(super) fn add(&mut self, kind: EventKindKey, at: Timestamp, duplicates: u64, state: EventState) {
        let (sender, event_type, app_id) = kind.clone();
        let count = self.by_kind.entry(kind).or_insert_with(|| EventCount {
            sender,
            event_type,
            app_id,
            events: 0,
            duplicates: 0,
            pending: 0,
            dead: 0,
            first_at: at,
            last_at: at,
        });
        count.events += 1;
        count.duplicates += duplicates;
        count.pending += u64::from(state == EventState::Pending);
        count.dead += u64::from(state == EventState::Dead);
        (count.first_at, count.last_at) = (count.first_at.min(at), count.last_at.max(at));
    }

    /// What was counted, in the order of the kinds.
    pub(super) fn into_list(self) -> Vec<EventCount> {
        self.by_kind.into_values().collect()
    }
}
