//! `/api/app/{id}/issues`: the events of an app.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::extract::{AppInPath, QueryOf};
use super::{IssuesOrder, Shared, problem};
use crate::domain::IssueList;

/// How many rows are on a page if the query does not say so, and how many at most.
const PAGE_SIZES: (usize, usize) = (100, 1000);

pub(super) fn routes() -> Router<Shared> {
    let issues = get(issues);
    Router::new().route("/api/app/{id}/issues", issues.clone()).route("/api/app/{id}/issues/", issues)
}

/// The query of published clients (seen). That pages start at 1 is assumed.
#[derive(Deserialize)]
struct ListedQuery {
    date_range_start: Option<Timestamp>,
    issue_status: Option<u8>,
    page_size: Option<usize>,
    page: Option<usize>,
}

#[derive(Serialize)]
struct ListedPage<'a> {
    issues: Vec<&'a RawValue>,
    total_pages: usize,
    item_count: usize,
    page_index: usize,
}

async fn issues(
    State(shared): State<Shared>,
    AppInPath(app): AppInPath,
    QueryOf(query): QueryOf<ListedQuery>,
) -> Response {
    let is_known = |status: &u8| IssueList::ALL.iter().any(|list| list.issue_status() == *status);
    if query.issue_status.is_some_and(|status| !is_known(&status)) {
        return problem(StatusCode::BAD_REQUEST, "issue_status must be 1 (open) or 4 (closed)");
    }
    let (default, most) = PAGE_SIZES;
    let (size, page) = (query.page_size.unwrap_or(default).clamp(1, most), query.page.unwrap_or(1).max(1));
    let horizon = shared.horizon(Timestamp::now());
    let from = query.date_range_start.map_or(horizon, |start| start.max(horizon));
    let state = shared.state();
    let app = state.events.app(app);
    let found = app.map_or(&[][..], |app| app.between(query.issue_status.map(usize::from), from, Timestamp::MAX));
    let skipped = (page - 1).saturating_mul(size);
    let issues = match shared.options.issues_order {
        IssuesOrder::Newest => found.iter().rev().skip(skipped).take(size).map(|event| &*event.row).collect(),
        IssuesOrder::Oldest => found.iter().skip(skipped).take(size).map(|event| &*event.row).collect(),
    };
    Json(ListedPage { issues, total_pages: found.len().div_ceil(size), item_count: found.len(), page_index: page })
        .into_response()
}
