//! `/api/app/{id}/issues-aggregation/summary`: the events of an app in groups of one title and type. Only the names of the
//! query and of the answer's outer fields are seen in published clients; what a group looks like is assumed.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::emitted::{AppEvents, EmittedEvent, EventGroup, STATUSES};
use super::extract::{AppInPath, QueryOf};
use super::{Shared, problem};
use crate::domain::{EventKind, IssueList};

/// The most groups on a page (seen), which is also the default.
const MAX_PAGE_SIZE: usize = 200;

pub(super) fn routes() -> Router<Shared> {
    let base = "/api/app/{id}/issues-aggregation/summary";
    let routes: [(&str, MethodRouter<Shared>); 3] =
        [("", get(summary)), ("/{hash}", get(group)), ("/{hash}/devices", get(devices))];
    routes.into_iter().fold(Router::new(), |router, (path, method)| {
        router.route(&format!("{base}{path}"), method.clone()).route(&format!("{base}{path}/"), method)
    })
}

#[derive(Deserialize)]
struct SummaryQuery {
    issue_type: Option<u8>,
    status: Option<String>,
    date_range_start: Option<Timestamp>,
    date_range_end: Option<Timestamp>,
    page_size: Option<usize>,
    page: Option<usize>,
}

/// What a query asks for.
struct SummarySelection {
    kind: Option<EventKind>,
    /// The numbers of statuses; any if empty.
    statuses: Vec<usize>,
    from: Timestamp,
    to: Timestamp,
    page: SummaryPage,
    out_of_retention_period: bool,
}

/// The part of a list that a page shows.
#[derive(Clone, Copy)]
struct SummaryPage {
    size: usize,
    number: usize,
}

/// The events of a group that were asked for.
struct GroupTotals<'a> {
    group: &'a EventGroup,
    count: u64,
    closed: u64,
    first: &'a EmittedEvent,
    last: &'a EmittedEvent,
}

#[derive(Deserialize)]
struct GroupSegment {
    hash: String,
}

/// What is read of a row to list devices.
#[derive(Deserialize)]
struct RowDevice {
    #[serde(default)]
    device: Value,
}

impl SummaryQuery {
    fn select(self, horizon: Timestamp) -> Result<SummarySelection, &'static str> {
        let kind = |number| EventKind::ALL.into_iter().find(|kind| kind.issue_type() == number);
        let kind = match self.issue_type.map(kind) {
            Some(None) => return Err("issue_type must be 0 (issue), 1 (crash) or 2 (feedback)"),
            Some(kind) => kind,
            None => None,
        };
        let texts = self.status.as_deref().unwrap_or_default().split(',').filter(|text| !text.is_empty());
        let statuses: Option<Vec<usize>> =
            texts.map(|text| text.parse().ok().filter(|n| *n < STATUSES.len())).collect();
        let statuses = statuses.ok_or("status must be numbers from 0 to 6, with commas between them")?;
        let page = SummaryPage { size: self.page_size.unwrap_or(MAX_PAGE_SIZE), number: self.page.unwrap_or(1) };
        if !(1..=MAX_PAGE_SIZE).contains(&page.size) {
            return Err("page_size must be 1 to 200");
        }
        if page.number == 0 {
            return Err("page must be at least 1");
        }
        Ok(SummarySelection {
            kind,
            statuses,
            from: self.date_range_start.map_or(horizon, |start| start.max(horizon)),
            to: self.date_range_end.unwrap_or(Timestamp::MAX),
            page,
            out_of_retention_period: self.date_range_start.is_some_and(|start| start < horizon),
        })
    }
}

impl FromRequestParts<Shared> for SummarySelection {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Response> {
        let QueryOf::<SummaryQuery>(query) = QueryOf::from_request_parts(parts, shared).await?;
        let selection = query.select(shared.horizon(Timestamp::now()));
        selection.map_err(|wrong| problem(StatusCode::BAD_REQUEST, wrong))
    }
}

impl SummarySelection {
    /// The events that are asked for, of whatever kind, oldest first.
    fn events<'a>(&'a self, app: &'a AppEvents) -> impl Iterator<Item = &'a EmittedEvent> {
        let only = self.statuses.first().copied().filter(|_| self.statuses.len() == 1);
        let is_wanted = |event: &&EmittedEvent| self.statuses.is_empty() || self.statuses.contains(&event.status);
        app.between(only, self.from, self.to).iter().map(|event| &**event).filter(is_wanted)
    }
}

impl SummaryPage {
    fn of<T>(self, items: Vec<T>) -> (Vec<T>, Value) {
        let (total, pages) = (items.len(), items.len().div_ceil(self.size));
        let shown = items.into_iter().skip((self.number - 1).saturating_mul(self.size)).take(self.size).collect();
        let pagination = json!({
            "current_page": self.number, "page_size": self.size, "total_items": total, "total_pages": pages,
            "has_next_page": self.number < pages, "has_prev_page": self.number > 1,
        });
        (shown, pagination)
    }
}

impl<'a> GroupTotals<'a> {
    fn of(group: &'a EventGroup, event: &'a EmittedEvent) -> Self {
        let mut totals = Self { group, count: 0, closed: 0, first: event, last: event };
        totals.add(event);
        totals
    }

    /// Adds an event that is not older than those before.
    fn add(&mut self, event: &'a EmittedEvent) {
        self.count += 1;
        self.closed += u64::from(event.status == usize::from(IssueList::Closed.issue_status()));
        self.last = event;
    }

    fn shown(&self) -> Value {
        json!({
            "hash": self.group.hash, "title": self.group.title, "type": self.group.kind.issue_type(),
            "status": self.last.status, "count": self.count, "open_count": self.count - self.closed,
            "closed_count": self.closed, "first_seen": self.first.created_at, "last_seen": self.last.created_at,
        })
    }
}

/// The groups that have events as asked for, the one with the newest event first.
fn totals<'a>(app: &'a AppEvents, wanted: &'a SummarySelection) -> Vec<GroupTotals<'a>> {
    let groups = app.groups();
    let mut totals: Vec<Option<GroupTotals<'a>>> = Vec::new();
    totals.resize_with(groups.len(), || None);
    for event in wanted.events(app) {
        match &mut totals[event.group] {
            Some(totals) => totals.add(event),
            totals => *totals = Some(GroupTotals::of(&groups[event.group], event)),
        }
    }
    let is_wanted = |totals: &GroupTotals<'_>| wanted.kind.is_none_or(|kind| totals.group.kind == kind);
    let mut totals: Vec<GroupTotals<'a>> = totals.into_iter().flatten().filter(is_wanted).collect();
    totals.sort_by_key(|totals| std::cmp::Reverse(totals.last.created_at));
    totals
}

async fn summary(State(shared): State<Shared>, AppInPath(app): AppInPath, wanted: SummarySelection) -> Response {
    let state = shared.state();
    let totals = state.events.app(app).map_or_else(Vec::new, |app| totals(app, &wanted));
    let (shown, pagination) = wanted.page.of(totals);
    let data: Vec<Value> = shown.iter().map(GroupTotals::shown).collect();
    Json(json!({
        "data": data, "out_of_retention_period": wanted.out_of_retention_period, "pagination": pagination,
    }))
    .into_response()
}

async fn group(
    State(shared): State<Shared>,
    AppInPath(app): AppInPath,
    Path(GroupSegment { hash }): Path<GroupSegment>,
    wanted: SummarySelection,
) -> Response {
    let state = shared.state();
    let totals = state.events.app(app).map_or_else(Vec::new, |app| totals(app, &wanted));
    match totals.iter().find(|totals| totals.group.hash == hash) {
        Some(totals) => Json(json!({
            "data": totals.shown(), "out_of_retention_period": wanted.out_of_retention_period,
        }))
        .into_response(),
        None => problem(StatusCode::NOT_FOUND, "group not found"),
    }
}

async fn devices(
    State(shared): State<Shared>,
    AppInPath(app): AppInPath,
    Path(GroupSegment { hash }): Path<GroupSegment>,
    wanted: SummarySelection,
) -> Response {
    let state = shared.state();
    let place = |app: &&AppEvents| app.groups().iter().position(|group| group.hash == hash);
    let found = state.events.app(app).and_then(|app| Some((app, place(&app)?)));
    let Some((app, place)) = found else { return problem(StatusCode::NOT_FOUND, "group not found") };
    let (shown, pagination) = wanted.page.of(seen_on(wanted.events(app).filter(|event| event.group == place)));
    Json(json!({
        "data": shown, "out_of_retention_period": wanted.out_of_retention_period, "pagination": pagination,
    }))
    .into_response()
}

/// The devices that events, which are in order of time, came from.
fn seen_on<'a>(events: impl Iterator<Item = &'a EmittedEvent>) -> Vec<Value> {
    let mut devices: Vec<(Value, u64, Timestamp)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for event in events {
        let Ok(RowDevice { device }) = serde_json::from_str(event.row.get()) else { continue };
        // Events of the older shape have none.
        let Some(udid) = device["udid"].as_str() else { continue };
        let place = *places.entry(udid.to_owned()).or_insert(devices.len());
        match devices.get_mut(place) {
            Some((known, count, last_seen)) => (*known, *count, *last_seen) = (device, *count + 1, event.created_at),
            None => devices.push((device, 1, event.created_at)),
        }
    }
    let shown = |(device, count, last_seen): (Value, u64, Timestamp)| {
        json!({
            "udid": device["udid"], "name": device["name"], "language": device["language"], "count": count,
            "last_seen": last_seen,
        })
    };
    devices.into_iter().map(shown).collect()
}
