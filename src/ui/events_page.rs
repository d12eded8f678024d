//! The list of events, newest first.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use minijinja::value::Value;
use serde::Deserialize;

use super::event_query::{EventQuery, STATES};
use super::failure::WebFailure;
use super::readers::InboxReader;
use super::row_view::EventLine;
use super::templates::content;
use super::{PageState, SharedPage};
use crate::domain::event::{EVENT_TYPES, Sender};
use crate::store::{EventPage, EventRecord, EventSelection, EventSeq, EventState, StoreError};

/// How many events a page has.
pub(super) const PAGE: u64 = 100;

/// How many events a search looks at before it shows what it has found so far.
const SCAN: u64 = 20_000;

/// How long it looks.
const SCAN_TIME: Duration = Duration::from_secs(2);

/// Where in the list a page is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListPlace {
    /// Events older than this one.
    before: Option<i64>,
    /// The number of a notice.
    note: Option<u64>,
}

/// Events that were found.
#[derive(Debug, Default)]
pub(super) struct ListedEvents {
    pub(super) events: Vec<EventRecord>,
    /// The last event that was looked at, if there may be more behind it.
    pub(super) reached: Option<EventSeq>,
}

/// Shows the list.
pub(super) async fn show(
    State(page): State<SharedPage>,
    Query(query): Query<EventQuery>,
    Query(place): Query<ListPlace>,
) -> Response<Body> {
    let now = Timestamp::now();
    let (selection, problem) = match query.selection(now) {
        Ok(selection) => (Some(selection), None),
        // What was typed stays where it is.
        Err(problem) => (None, Some(problem)),
    };
    match listed(&page, &query, selection, &place).await {
        Ok(list) => {
            let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
            let notice = page.notices.take(place.note);
            let content = content! { problem, notice; list };
            page.templates.respond(&page, status, "events.html", content)
        }
        Err(failure) => failure.response(&page),
    }
}

async fn listed(
    page: &PageState,
    query: &EventQuery,
    selection: Option<EventSelection>,
    place: &ListPlace,
) -> Result<Value, WebFailure> {
    let before = place.before.map(EventSeq);
    let is_valid = selection.is_some();
    let (watermark, targets) = page
        .readers
        .quick
        .run(|inbox| {
            let targets = inbox.target_records()?.into_iter().map(|target| target.name).collect::<BTreeSet<_>>();
            Ok::<_, StoreError>((inbox.watermark()?, targets))
        })
        .await?;
    let found = match selection {
        None => ListedEvents::default(),
        Some(mut selection) => {
            selection.before = before;
            selection.up_to = Some(watermark);
            let reader = if query.is_slow() { &page.readers.slow } else { &page.readers.quick };
            find(reader, selection, PAGE).await?
        }
    };
    let lines: Vec<EventLine> = found.events.iter().map(EventLine::of).collect();
    let older = found.reached.map(|EventSeq(reached)| query.address(&[("before", reached)]));
    let is_unfinished = found.reached.is_some() && (lines.len() as u64) < PAGE;
    Ok(content! {
        current => "events",
        query => query,
        address => query.address(&[]),
        is_filtered => !query.is_empty(),
        is_live => before.is_none() && is_valid,
        watermark => watermark.0,
        lines => lines,
        older => older,
        is_unfinished => is_unfinished,
        newest => before.map(|_| query.address(&[])),
        types => EVENT_TYPES,
        sources => Sender::ALL.map(Sender::as_str),
        states => STATES.map(EventState::as_str),
        targets => targets,
        empty_inbox => watermark.0 == 0,
    })
}

/// The newest selected events. One more is looked for than is asked for, to know whether there are more.
pub(super) async fn find(
    reader: &InboxReader,
    selection: EventSelection,
    limit: u64,
) -> Result<ListedEvents, WebFailure> {
    let search = move |inbox: &mut (dyn crate::store::Inbox + 'static)| {
        let begun = Instant::now();
        let scans = selection.search.is_some() || selection.state.is_some();
        let page = EventPage {
            newest_first: true,
            limit: Some(limit + 1),
            scan_limit: scans.then_some(SCAN),
            ..EventPage::default()
        };
        let (mut selection, mut found) = (selection, ListedEvents::default());
        loop {
            let page = EventPage { limit: Some(limit + 1 - found.events.len() as u64), ..page };
            let reached = inbox.events(&selection, page, &mut |event| {
                found.events.push(event);
                true
            })?;
            if found.events.len() as u64 > limit {
                found.events.pop();
                found.reached = found.events.last().map(|event| event.seq);
                return Ok::<_, StoreError>(found);
            }
            let Some(reached) = reached else { return Ok(found) };
            if begun.elapsed() > SCAN_TIME {
                found.reached = Some(reached);
                return Ok(found);
            }
            selection.before = Some(reached);
        }
    };
    Ok(reader.run(search).await?)
}
