//! Deliveries: arrays of events to the matching hooks, never retried.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::Shared;
use super::state::{Hook, SentDelivery};
use crate::domain::EventKind;
use crate::error::{Error, Result};
use crate::http::{Client, ClientOptions, Method, Peer, Repeat, Request, RequestBody, Roots};
use crate::samples::bugfender::{self, EventShape};

/// The timeout for a response of an endpoint.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of events per request.
const MAX_COUNT: usize = 10_000;

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
        }
    }
}

/// Creates events, records and delivers them. Returns the events and the deliveries with their outcome.
pub(super) async fn emit(shared: &Shared, emit: Emit) -> Result<(Vec<Value>, Vec<SentDelivery>)> {
    if emit.count == 0 || emit.count > MAX_COUNT || emit.duplicate > MAX_COUNT {
        return Err(Error::usage(format!("count must be 1 to {MAX_COUNT}, duplicate at most {MAX_COUNT}")));
    }
    let (events, hooks) = {
        let mut state = shared.state();
        let events: Vec<Value> = (0..emit.count).map(|_| make(&emit, &state.url)).collect();
        state.events.entry(emit.app_id).or_default().extend(events.iter().cloned());
        let matches = |hook: &&Hook| hook.active && hook.event == emit.event && hook.app_id == emit.app_id;
        (events, state.hooks.hooks.iter().filter(matches).cloned().collect::<Vec<_>>())
    };
    let batches: Vec<&[Value]> = if emit.batch { vec![&events] } else { events.chunks(1).collect() };
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

fn make(emit: &Emit, url: &str) -> Value {
    let mut event = bugfender::event(emit.shape, emit.event, emit.app_id, url);
    for (name, value) in &emit.set {
        event[name] = value.clone();
    }
    event
}

/// Sends one delivery. Like Bugfender, it does not retry.
async fn deliver(hook: &Hook, events: &[Value], duplicate: bool) -> SentDelivery {
    let outcome = post(hook, events).await;
    let (status, error) = match outcome {
        Ok(status) => (Some(status), None),
        Err(error) => (None, Some(error.to_string())),
    };
    SentDelivery {
        hook_id: hook.id,
        target_url: hook.shown().target_url,
        at: Timestamp::now(),
        event_ids: events.iter().map(|event| event["id"].clone()).collect(),
        duplicate,
        status,
        error,
    }
}

async fn post(hook: &Hook, events: &[Value]) -> Result<u16> {
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
    let request =
        Request { method: Method::POST, url, body: Some(RequestBody::Json(events.into())), repeat: Repeat::Never };
    let response = Client::new(options)?.send(&request, None).await;
    response.map(|response| response.status.as_u16()).map_err(|failure| failure.error)
}
