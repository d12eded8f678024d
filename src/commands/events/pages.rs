//! Reading events in pages, so that few are in memory at a time.

use crate::error::Result;
use crate::store::{EventPage, EventRecord, EventSelection, Inbox};

/// The most events of a page.
const EVENTS: u64 = 500;

/// The size at which a page ends early, in bytes of JSON.
const BYTES: usize = 4 * 1024 * 1024;

/// All events with their JSON, oldest first.
pub const ORIGINALS: EventPage = EventPage { newest_first: false, limit: None, with_json: true, scan_limit: None };

/// Calls `each` with every event that `wanted` selects.
///
/// No transaction stays open while `each` runs, so events that arrive meanwhile may be included.
pub fn each_event(
    inbox: &dyn Inbox,
    mut selection: EventSelection,
    wanted: EventPage,
    each: &mut dyn FnMut(EventRecord) -> Result<()>,
) -> Result<()> {
    let mut left = wanted.limit;
    loop {
        let page = EventPage { limit: Some(left.unwrap_or(EVENTS).min(EVENTS)), ..wanted };
        let (mut events, mut bytes) = (Vec::new(), 0);
        inbox.events(&selection, page, &mut |event| {
            bytes += event.json.as_ref().map_or(0, Vec::len);
            events.push(event);
            bytes < BYTES
        })?;
        let Some(last) = events.last() else { return Ok(()) };
        let reached = if wanted.newest_first { &mut selection.before } else { &mut selection.after };
        *reached = Some(last.seq);
        left = left.map(|left| left.saturating_sub(events.len() as u64));
        events.into_iter().try_for_each(&mut *each)?;
        if left == Some(0) {
            return Ok(());
        }
    }
}

/// Reads `--limit`, where 0 is no limit.
pub fn limit(given: u64) -> Option<u64> {
    (given > 0).then_some(given)
}
