//! An event as a row of the list.

use serde::Serialize;

use crate::domain::{ShownTime, excerpt};
use crate::store::EventRecord;

/// The longest title in a list, in characters.
const MAX_TITLE: usize = 200;

/// A row.
#[derive(Debug, Serialize)]
pub(super) struct EventLine {
    pub(super) seq: i64,
    pub(super) id: String,
    pub(super) event_type: Option<String>,
    /// The class of its type, which is one of a few.
    pub(super) kind: &'static str,
    pub(super) source: &'static str,
    pub(super) app_id: Option<i64>,
    pub(super) title: String,
    pub(super) received_at: ShownTime,
    pub(super) state: &'static str,
    pub(super) duplicates: u32,
    pub(super) is_polled: bool,
    pub(super) attempts: u32,
}

impl EventLine {
    pub(super) fn of(event: &EventRecord) -> Self {
        Self {
            seq: event.seq.0,
            id: excerpt(&event.id, MAX_TITLE),
            kind: kind(event.event_type.as_deref()),
            event_type: event.event_type.clone(),
            source: event.sender.as_str(),
            app_id: event.app_id,
            title: event.title.as_deref().map_or_else(|| "(no title)".to_owned(), |title| excerpt(title, MAX_TITLE)),
            received_at: event.received_at.into(),
            state: event.state.as_str(),
            duplicates: event.duplicates,
            is_polled: event.via.as_str() == "poll",
            attempts: event.attempts,
        }
    }
}

/// The class of a type, for its colour.
pub(super) fn kind(event_type: Option<&str>) -> &'static str {
    let known = ["crash", "issue", "feedback", "bug", "apm"];
    let same = |known: &&&'static str| event_type.is_some_and(|own| own.eq_ignore_ascii_case(known));
    known.iter().find(same).copied().unwrap_or("other")
}
