//! All events of a sandbox, as its API lists them: by app, in order of time.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use ring::digest;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::domain::{EventKind, whole_second};

/// The names of the statuses, in the order of their numbers (seen).
pub(super) const STATUSES: [&str; 7] = ["new", "open", "in_progress", "resolved", "closed", "muted", "invalid"];

/// The number of the status `open`.
const OPEN: usize = 1;

/// The events so far.
#[derive(Default)]
pub(super) struct Emitted(HashMap<i64, AppEvents>);

/// The events of an app.
#[derive(Default)]
pub(super) struct AppEvents {
    all: Timeline,
    by_status: [Timeline; STATUSES.len()],
    groups: Vec<EventGroup>,
    /// The places of the groups, by kind and title.
    places: HashMap<(EventKind, String), usize>,
}

/// An event as the API lists it. Nothing of it has to be parsed again.
pub(super) struct EmittedEvent {
    pub(super) created_at: Timestamp,
    /// The number of its status.
    pub(super) status: usize,
    /// The place of its group.
    pub(super) group: usize,
    pub(super) row: Box<RawValue>,
}

/// The events of one kind and title are a group.
pub(super) struct EventGroup {
    pub(super) hash: String,
    pub(super) kind: EventKind,
    pub(super) title: String,
}

/// Events in order of time; those of one time are in the order in which they came.
#[derive(Default)]
struct Timeline(Vec<Arc<EmittedEvent>>);

/// An event that is to be listed.
pub(super) struct ListedEvent {
    kind: EventKind,
    title: String,
    status: usize,
    created_at: Timestamp,
    row: Box<RawValue>,
}

impl ListedEvent {
    /// An event as it is listed: as it was delivered, but for an id of its own if ids are foreign. One without a time, as
    /// those of the older shape are, gets one, as rows have it (seen).
    pub(super) fn new(
        mut event: Value,
        delivered: &RawValue,
        kind: EventKind,
        foreign_ids: bool,
    ) -> serde_json::Result<Self> {
        let time = event["created_at"].as_str().and_then(|text| text.parse().ok());
        let created_at = time.unwrap_or_else(|| whole_second(Timestamp::now()));
        if time.is_none() {
            event["created_at"] = created_at.to_string().into();
        }
        if foreign_ids {
            replace_id(&mut event);
        }
        let is_changed = time.is_none() || foreign_ids;
        Ok(Self {
            kind: event["type"].as_str().and_then(EventKind::of_type).unwrap_or(kind),
            title: event["title"].as_str().unwrap_or_default().to_owned(),
            status: status(&event["status"]),
            created_at,
            row: if is_changed { to_raw_value(&event)? } else { delivered.to_owned() },
        })
    }
}

/// The number of a status. That of the older shape is always 0, which tells nothing: it counts as open, so that whoever
/// asks for what is open and what is closed finds all events.
fn status(status: &Value) -> usize {
    let named = || STATUSES.iter().position(|name| status == name);
    let numbered = || usize::try_from(status.as_u64()?).ok().filter(|number| (1..STATUSES.len()).contains(number));
    named().or_else(numbered).unwrap_or(OPEN)
}

/// Gives an event another id of the same type, which follows from the first.
fn replace_id(event: &mut Value) {
    let id = event["id"].clone();
    let hash = hash(&id.to_string());
    let other = match &id {
        // The ids of delivered events are below.
        Value::Number(_) => (1_000_000_000 + u64::from_str_radix(&hash[..8], 16).unwrap_or_default()).into(),
        _ => Value::from(&hash[..24]),
    };
    if let (Some(id), Some(other), Some(url)) = (id.as_str(), other.as_str(), event["self"].as_str()) {
        event["self"] = url.replace(id, other).into();
    }
    if event.get("uid").is_some() {
        event["uid"] = other.clone();
    }
    event["id"] = other;
}

/// The SHA-256 of a text, in hex.
fn hash(text: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

impl Emitted {
    pub(super) fn add(&mut self, app_id: i64, events: Vec<ListedEvent>) {
        let app = self.0.entry(app_id).or_default();
        let mut by_status: [Vec<Arc<EmittedEvent>>; STATUSES.len()] = Default::default();
        let mut all = Vec::with_capacity(events.len());
        for event in events {
            let ListedEvent { kind, title, status, created_at, row } = event;
            let event = EmittedEvent { created_at, status, group: app.group_of(kind, title), row };
            let event = Arc::new(event);
            by_status[status].push(Arc::clone(&event));
            all.push(event);
        }
        app.all.add(all);
        for (timeline, events) in app.by_status.iter_mut().zip(by_status) {
            timeline.add(events);
        }
    }

    pub(super) fn app(&self, app_id: i64) -> Option<&AppEvents> {
        self.0.get(&app_id)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl AppEvents {
    /// The events with this status, if any, from one time to another, oldest first.
    pub(super) fn between(&self, status: Option<usize>, from: Timestamp, to: Timestamp) -> &[Arc<EmittedEvent>] {
        let timeline = status.map_or(Some(&self.all), |status| self.by_status.get(status));
        timeline.map_or(&[], |timeline| timeline.between(from, to))
    }

    pub(super) fn groups(&self) -> &[EventGroup] {
        &self.groups
    }

    fn group_of(&mut self, kind: EventKind, title: String) -> usize {
        let groups = &mut self.groups;
        *self.places.entry((kind, title)).or_insert_with_key(|(kind, title)| {
            let hash = hash(&format!("{kind} {title}"))[..32].to_owned();
            groups.push(EventGroup { hash, kind: *kind, title: title.clone() });
            groups.len() - 1
        })
    }
}

impl Timeline {
    fn add(&mut self, events: Vec<Arc<EmittedEvent>>) {
        let last = self.0.len().saturating_sub(1);
        self.0.extend(events);
        if !self.0[last..].is_sorted_by_key(|event| event.created_at) {
            // Two sorted runs are merged, and events of one time keep their order.
            self.0.sort_by_key(|event| event.created_at);
        }
    }

    /// The events from one time to another, both included.
    fn between(&self, from: Timestamp, to: Timestamp) -> &[Arc<EmittedEvent>] {
        let start = self.0.partition_point(|event| event.created_at < from);
        let end = self.0.partition_point(|event| event.created_at <= to);
        self.0.get(start..end).unwrap_or_default()
    }
}
