//! How an event, and a delivery that could not be read, is shown: the record of the JSON schema, and the line of the table.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::domain::ShownTime;
use crate::domain::delivery::Via;
use crate::domain::event::{Sender, on_one_line};
use crate::error::{Error, ErrorKind, Result};
use crate::render::{Cell, Row, Tone};
use crate::store::{EventRecord, EventState, Quarantined};

/// An event, in the fields of the documented schema. Every key is always present.
#[derive(Serialize)]
pub struct EventRow {
    pub id: String,
    pub source: Sender,
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    pub app_id: Option<i64>,
    pub title: Option<String>,
    #[serde(rename = "status", serialize_with = "state_name")]
    pub state: EventState,
    pub received_at: ShownTime,
    pub forwarded_at: Option<ShownTime>,
    pub attempts: u32,
    pub via: Via,
}

/// The fields of [`EventRow`] with further ones behind them.
macro_rules! fields {
    ($($further:literal),*) => {
        &["id", "source", "type", "app_id", "title", "status", "received_at", "forwarded_at", "attempts", "via" $(, $further)*]
    };
}
pub(super) use fields;

impl EventRow {
    /// An event of the inbox.
    pub fn of(event: EventRecord) -> Self {
        Self {
            id: event.id,
            source: event.sender,
            event_type: event.event_type,
            app_id: event.app_id,
            title: event.title,
            state: event.state,
            received_at: event.received_at.into(),
            forwarded_at: event.forwarded_at.map(ShownTime::from),
            attempts: event.attempts,
            via: event.via,
        }
    }

    /// Its state, for people.
    pub fn state_cell(&self) -> Cell {
        let tone = match self.state {
            EventState::Forwarded => Tone::Good,
            EventState::Pending => Tone::Caution,
            EventState::Dead => Tone::Bad,
            EventState::Stored => Tone::Plain,
        };
        Cell::toned(self.state.as_str(), tone)
    }
}

impl Row for EventRow {
    const FIELDS: &'static [&'static str] = fields!();
    const HEADERS: &'static [&'static str] = &["RECEIVED", "SOURCE", "TYPE", "APP", "STATUS", "ID", "TITLE"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.received_at.to_string().into(),
            self.source.as_str().into(),
            Cell::maybe(self.event_type.as_ref()),
            Cell::maybe(self.app_id),
            self.state_cell(),
            self.id.clone().into(),
            Cell::maybe(self.title.as_ref()),
        ]
    }

    fn id(&self) -> Option<String> {
        Some(self.id.clone())
    }
}

/// A delivery that could not be read.
#[derive(Serialize)]
pub struct QuarantinedRow {
    id: i64,
    source: Sender,
    received_at: ShownTime,
    content_type: Option<String>,
    size: u64,
    reason: String,
}

impl QuarantinedRow {
    pub fn of(delivery: &Quarantined) -> Self {
        Self {
            id: delivery.number,
            source: delivery.sender,
            received_at: delivery.received_at.into(),
            content_type: delivery.content_type.clone(),
            size: delivery.size,
            reason: delivery.reason.clone(),
        }
    }
}

impl Row for QuarantinedRow {
    const FIELDS: &'static [&'static str] = &["id", "source", "received_at", "content_type", "size", "reason"];
    const HEADERS: &'static [&'static str] = &["ID", "SOURCE", "RECEIVED", "CONTENT TYPE", "BYTES", "REASON"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.id.to_string().into(),
            self.source.as_str().into(),
            self.received_at.to_string().into(),
            Cell::maybe(self.content_type.as_ref()),
            self.size.to_string().into(),
            self.reason.clone().into(),
        ]
    }

    fn id(&self) -> Option<String> {
        Some(self.id.to_string())
    }
}

/// The JSON of an event as received, on one line, with the order of keys and the numbers unchanged.
pub fn original(event: &EventRecord) -> Result<Box<RawValue>> {
    let damaged = || {
        Error::new(ErrorKind::Store, format!("event {} is damaged in the inbox", event.id))
            .hint(format!("bugfender-hooks events show --raw {} writes the stored bytes", event.id))
    };
    let json = str::from_utf8(event.json.as_deref().unwrap_or_default()).map_err(|_| damaged())?;
    RawValue::from_string(on_one_line(json)).map_err(|_| damaged())
}

// serde passes fields by reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn state_name<S: Serializer>(state: &EventState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.as_str())
}
