//! Deliveries: arrays of events to the matching hooks, never retried.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use url::Url;

use super::Shared;
use super::emitted::ListedEvent;
use super::state::{Hook, SentDelivery};
use crate::domain::{EventKind, whole_second};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Client, ClientOptions, Method, Payload, Peer, Repeat, Request, RequestBody, Roots};
use crate::samples::bugfender::{self, EventShape};

/// The timeout for a response of an endpoint.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of events per request.
const MAX_COUNT: usize = 100_000;

/// The maximum number of duplicates of a delivery.
const MAX_DUPLICATES: usize = 10_000;

/// The body of `POST /sandbox/emit`. All fields are optional.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Emit {
    /// The kind of event.
    event: EventKind,
    /// The app of the events.
    app_id: i64,
    /// The number of events.
    count: usize,
    /// Whether to send all in one delivery, rather than one each.
    batch: bool,
    /// How many duplicates of each delivery to send.
    duplicate: usize,
    /// The shape of the events.
    shape: EventShape,
    /// Fields to set in each event.
    set: Map<String, Value>,
    /// How many seconds lie between the times of two events; the last one is of now, or of the time that is set.
    interval: u32,
}

/// An event as it is delivered.
pub(super) struct DeliveredEvent {
    id: Value,
    pub(super) json: Box<RawValue>,
}

impl Default for Emit {
    fn default() -> Self {
        Self {
            event: EventKind::NewCrash,
            app_id: 1001,
            count: 1,
            batch: true,
            duplicate: 0,
            shape: EventShape::default(),
            set: Map::new(),
            interval: 0,
        }
    }
}

/// Creates events, records and delivers them. Returns the events and the deliveries with their outcome.
pub(super) async fn emit(shared: &Shared, emit: Emit) -> Result<(Vec<DeliveredEvent>, Vec<SentDelivery>)> {
    if emit.count == 0 || emit.count > MAX_COUNT || emit.duplicate > MAX_DUPLICATES {
        return Err(Error::usage(format!("count must be 1 to {MAX_COUNT}, duplicate at most {MAX_DUPLICATES}")));
    }
    let (events, listed) = make_all(&emit, shared)?;
    let hooks: Vec<Hook> = {
        let mut state = shared.state();
        state.events.add(emit.app_id, listed);
        let matches = |hook: &&Hook| hook.active && hook.event == emit.event && hook.app_id == emit.app_id;
        state.hooks.hooks.iter().filter(matches).cloned().collect()
    };
    let batches: Vec<&[DeliveredEvent]> = if emit.batch { vec![&events] } else { events.chunks(1).collect() };
    let mut deliveries = Vec::new();
    for hook in &hooks {
        for batch in &batches {
            for copy in 0..=emit.duplicate {
                let delivery = deliver(hook, batch, copy > 0).await;
                shared.state().record_delivery(delivery.clone());
                deliveries.push(delivery);
            }
        }
    }
    shared.state().hooks.save(shared.options.state.as_deref())?;
    Ok((events, deliveries))
}

/// The events as they are delivered, and as they are listed.
fn make_all(emit: &Emit, shared: &Shared) -> Result<(Vec<DeliveredEvent>, Vec<ListedEvent>)> {
    let url = shared.state().url.clone();
    let set = emit.set.get("created_at").and_then(Value::as_str).and_then(|text| text.parse().ok());
    let last: Timestamp = set.unwrap_or_else(|| whole_second(Timestamp::now()));
    let make = |number: usize| {
        let mut event = bugfender::event(emit.shape, emit.event, emit.app_id, &url);
        for (name, value) in &emit.set {
            event[name] = value.clone();
        }
        if emit.interval > 0 {
            // At most 100,000 times 2^32 seconds, which does not overflow.
            let before = i64::from(emit.interval) * i64::try_from(emit.count - 1 - number).unwrap_or_default();
            event["created_at"] =
                last.checked_sub(SignedDuration::from_secs(before)).unwrap_or(Timestamp::MIN).to_string().into();
        }
        let (id, json) = (event["id"].clone(), to_raw_value(&event)?);
        let listed = ListedEvent::new(event, &json, emit.event, shared.options.foreign_ids)?;
        Ok((DeliveredEvent { id, json }, listed))
    };
    let events: serde_json::Result<_> = (0..emit.count).map(make).collect();
    events.map_err(|error| Error::new(ErrorKind::Other, error.to_string()))
}

/// Sends one delivery. Like Bugfender, it does not retry.
async fn deliver(hook: &Hook, events: &[DeliveredEvent], duplicate: bool) -> SentDelivery {
    let outcome = post(hook, events).await;
    let (status, error) = match outcome {
        Ok(status) => (Some(status), None),
        Err(error) => (None, Some(error.to_string())),
    };
    SentDelivery {
        hook_id: hook.id,
        target_url: hook.shown().target_url,
        at: Timestamp::now(),
        event_ids: events.iter().map(|event| event.id.clone()).collect(),
        duplicate,
        status,
        error,
    }
}

async fn post(hook: &Hook, events: &[DeliveredEvent]) -> Result<u16> {
    let url = Url::parse(&hook.target_url).map_err(|error| Error::usage(error.to_string()))?;
    let options = ClientOptions {
        attempt_timeout: TIMEOUT,
        total_timeout: None,
        tls: url.scheme() == "https",
        proxy: false,
        loopback_only: false,
        roots: Roots::System,
        peer: Peer::Endpoint,
    };
    let events: Vec<&RawValue> = events.iter().map(|event| &*event.json).collect();
    let bytes = serde_json::to_vec(&events).map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?;
    let payload = Payload { content_type: "application/json".into(), headers: Vec::new(), bytes };
    let body = Some(RequestBody::Bytes(payload));
    let request = Request { method: Method::POST, url, body, repeat: Repeat::Never };
    let response = Client::new(options)?.send(&request, None).await;
    response.map(|response| response.status.as_u16()).map_err(|failure| failure.error)
}
