//! What has come since: as server-sent events, and for those whom no stream reaches as an answer to a question.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::event_query::EventQuery;
use super::failure::WebFailure;
use super::row_view::EventLine;
use super::templates::content;
use super::{PageState, SharedPage};
use crate::store::{EventPage, EventRecord, EventSelection, EventSeq, Inbox, StoreError, next_events};

/// How often the inbox is looked at.
const INTERVAL: Duration = Duration::from_millis(300);

/// How long a stream that has more to tell waits, for each event that it has told: nobody reads faster, and what is shown
/// costs the browser, and the receiver beside it, something.
const PACE: Duration = Duration::from_micros(1250);

/// How often a stream says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The most streams at once. Whoever comes later asks from time to time, and pages have connections left.
pub(super) const MAX_STREAMS: usize = 200;

/// What a message says that has nothing to say: browsers drop one without data.
const SAID: &str = "-";

/// The most events of one message.
const MESSAGE: u64 = 200;

/// The most events whose states are told at once.
const MAX_STATES: i64 = 1000;

/// Where a browser is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct After {
    after: i64,
}

/// How far a stream has come.
struct StreamProgress {
    page: SharedPage,
    /// What the browser asked with: it may be signed out meanwhile.
    headers: HeaderMap,
    _place: OwnedSemaphorePermit,
    selection: EventSelection,
    shown: EventSeq,
    has_begun: bool,
    /// How long to wait before the inbox is looked at again.
    wait: Duration,
}

/// Some events, and how far all have been looked at.
struct NewEvents {
    events: Vec<EventRecord>,
    shown: EventSeq,
    /// Whether these are all.
    is_last: bool,
}

/// Streams what comes behind the event that a page ends with, or behind the last that the browser got before a break.
pub(super) async fn stream(
    State(page): State<SharedPage>,
    Query(query): Query<EventQuery>,
    Query(After { after }): Query<After>,
    headers: HeaderMap,
) -> Response<Body> {
    let selection = match query.selection(Timestamp::now()) {
        Ok(selection) => selection,
        Err(problem) => return WebFailure::unusable(problem).response(&page),
    };
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let shown = EventSeq(last.unwrap_or(after));
    let Ok(place) = Arc::clone(&page.streams).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "there are too many streams: ask from time to time").into_response();
    };
    let progress =
        StreamProgress { page, headers, _place: place, selection, shown, has_begun: false, wait: Duration::ZERO };
    let kept = KeepAlive::new().interval(HEARTBEAT).event(Event::default().event("beat").data(SAID));
    let mut response = Sse::new(messages(progress)).keep_alive(kept).into_response();
    // For nginx, which otherwise keeps back what there is little of.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    response.headers_mut().insert(unbuffered, HeaderValue::from_static("no"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn messages(progress: StreamProgress) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(progress, |mut progress| async move {
        if !progress.has_begun {
            progress.has_begun = true;
            let hello = Event::default().event("hello").retry(Duration::from_secs(1)).data(SAID);
            return Some((Ok(hello), progress));
        }
        let mut stop = progress.page.stop.clone();
        loop {
            tokio::select! {
                () = tokio::time::sleep(progress.wait) => {}
                _ = stop.changed() => return None,
            }
            progress.wait = INTERVAL;
            if *stop.borrow() || progress.page.visitor(&progress.headers, None).is_none() {
                return None;
            }
            match progress.page.behind(&progress.selection, progress.shown).await {
                Ok(batch) if batch.shown > progress.shown => {
                    progress.shown = batch.shown;
                    if !batch.is_last {
                        progress.wait = PACE.saturating_mul(u32::try_from(batch.events.len()).unwrap_or(u32::MAX));
                    }
                    let EventSeq(id) = batch.shown;
                    let rows = progress.page.rows(&batch.events);
                    return Some((Ok(Event::default().event("rows").id(id.to_string()).data(rows)), progress));
                }
                Ok(_) => {}
                // The browser is told by the stream's end, and asks again.
                Err(failure) => {
                    tracing::debug!(error = failure.message(), "a stream ends: the inbox could not be read");
                    tokio::time::sleep(INTERVAL).await;
                    return None;
                }
            }
        }
    })
}

impl PageState {
    /// Some of the selected events behind this one, in their order.
    async fn behind(&self, selection: &EventSelection, shown: EventSeq) -> Result<NewEvents, WebFailure> {
        let mut selection = selection.clone();
        let read = move |inbox: &mut (dyn Inbox + 'static)| {
            let watermark = inbox.watermark()?;
            if watermark <= shown {
                return Ok::<_, StoreError>(NewEvents { events: Vec::new(), shown, is_last: true });
            }
            (selection.after, selection.up_to) = (Some(shown), Some(watermark));
            let (events, reached) = next_events(inbox, &selection, (MESSAGE, 10 * MESSAGE), |event| event)?;
            let shown = reached.unwrap_or(watermark);
            Ok(NewEvents { events, shown, is_last: shown == watermark })
        };
        Ok(self.readers.quick.run(read).await?)
    }

    /// The rows of the list, newest first.
    fn rows(&self, events: &[EventRecord]) -> String {
        let lines: Vec<EventLine> = events.iter().rev().map(EventLine::of).collect();
        let rows = self.templates.render(self, "rows.html", content! { lines, address => "" });
        rows.unwrap_or_else(|error| {
            tracing::error!(%error, "rows could not be made: this is a bug");
            String::new()
        })
    }
}

/// The same for whoever asks from time to time.
pub(super) async fn new_rows(
    State(page): State<SharedPage>,
    Query(query): Query<EventQuery>,
    Query(After { after }): Query<After>,
) -> Response<Body> {
    let selection = match query.selection(Timestamp::now()) {
        Ok(selection) => selection,
        Err(problem) => return WebFailure::unusable(problem).response(&page),
    };
    match page.behind(&selection, EventSeq(after)).await {
        Ok(batch) => Json(json!({"rows": page.rows(&batch.events), "after": batch.shown.0})).into_response(),
        Err(failure) => (StatusCode::SERVICE_UNAVAILABLE, failure.message().to_owned()).into_response(),
    }
}

/// Which events' states are asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Stretch {
    from: i64,
    to: i64,
}

/// The states of events that a page shows.
pub(super) async fn states(
    State(page): State<SharedPage>,
    Query(Stretch { from, to }): Query<Stretch>,
) -> Response<Body> {
    let from = from.max(to.saturating_sub(MAX_STATES)).max(1);
    let selection =
        EventSelection { after: Some(EventSeq(from - 1)), up_to: Some(EventSeq(to)), ..EventSelection::default() };
    let read = move |inbox: &mut (dyn Inbox + 'static)| {
        let mut states = serde_json::Map::new();
        inbox.events(&selection, EventPage::default(), &mut |event| {
            states.insert(event.seq.0.to_string(), json!([event.state.as_str(), event.duplicates]));
            true
        })?;
        Ok::<_, StoreError>(Value::Object(states))
    };
    match page.readers.quick.run(read).await {
        Ok(states) => Json(states).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}
