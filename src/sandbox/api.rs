//! The REST API. Paths work with and without a trailing slash.

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, problem};
use crate::domain::{EventKind, TargetUrl};

/// The apps that exist from the start. Any other positive id is an app too.
const APPS: [(i64, &str); 2] = [(1001, "Sandbox for Android"), (1002, "Sandbox for iOS")];

pub(super) fn routes() -> Router<Shared> {
    let routes: [(&str, MethodRouter<Shared>); 6] = [
        ("/api/hook/subscribe", post(subscribe)),
        ("/api/hook/{id}", delete(unsubscribe)),
        ("/api/me", get(me)),
        ("/api/app", get(apps)),
        ("/api/app/{id}", get(app)),
        ("/api/app/{id}/issues", get(issues)),
    ];
    routes.into_iter().fold(Router::new(), |router, (path, method)| {
        router.route(path, method.clone()).route(&format!("{path}/"), method)
    })
}

/// The response to an unauthenticated request: 401 without a credential, 403 with an invalid one.
fn reject(shared: &Shared, headers: &HeaderMap) -> Option<Response> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = header.and_then(|value| value.strip_prefix("Bearer ")) else {
        return Some(problem(StatusCode::UNAUTHORIZED, "no credentials supplied"));
    };
    let state = shared.state();
    match state.grants.access.get(token) {
        _ if token == state.token => None,
        Some(expiry) if *expiry > std::time::Instant::now() => None,
        // The help page does not say which status an expired token gets; 401 is assumed.
        Some(_) => Some(problem(StatusCode::UNAUTHORIZED, "the access token has expired")),
        None => Some(problem(StatusCode::FORBIDDEN, "the credentials are not valid")),
    }
}

#[derive(Deserialize)]
struct SubscribeRequest {
    target_url: String,
    event: String,
    app_id: i64,
}

async fn subscribe(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(rejection) = reject(&shared, &headers) {
        return rejection;
    }
    let (wanted, event) = match parse_subscription(&headers, &body) {
        Ok(read) => read,
        Err(message) => return problem(StatusCode::BAD_REQUEST, &message),
    };
    let mut state = shared.state();
    let id = state.hooks.add(wanted.app_id, event, wanted.target_url.clone());
    if let Err(error) = state.hooks.save(shared.options.state.as_deref()) {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string());
    }
    let created = json!({"id": id, "event": event, "target_url": wanted.target_url, "app_id": wanted.app_id});
    (StatusCode::CREATED, Json(created)).into_response()
}

fn parse_subscription(headers: &HeaderMap, body: &[u8]) -> Result<(SubscribeRequest, EventKind), String> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err("the body must be application/json".to_owned());
    }
    let wanted: SubscribeRequest = serde_json::from_slice(body).map_err(|error| format!("invalid body: {error}"))?;
    let event = wanted.event.parse::<EventKind>().map_err(|error| error.to_string())?;
    if wanted.app_id < 1 {
        return Err("app_id must be a positive integer".to_owned());
    }
    wanted.target_url.parse::<TargetUrl>().map_err(|error| error.to_string())?;
    Ok((wanted, event))
}

async fn unsubscribe(State(shared): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Some(rejection) = reject(&shared, &headers) {
        return rejection;
    }
    let mut state = shared.state();
    if !id.parse().is_ok_and(|id| state.hooks.remove(id)) {
        return problem(StatusCode::NOT_FOUND, "hook not found");
    }
    match state.hooks.save(shared.options.state.as_deref()) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn me(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    if let Some(rejection) = reject(&shared, &headers) {
        return rejection;
    }
    Json(json!({
        "id": 1,
        "name": "Sandbox user",
        "email": "user@sandbox.invalid",
        "teams": [{"id": 1, "name": "Sandbox team"}],
    }))
    .into_response()
}

fn app_named(id: i64) -> Value {
    let known = APPS.iter().find(|(known, _)| *known == id);
    let name = known.map_or_else(|| format!("Sandbox app {id}"), |(_, name)| (*name).to_owned());
    json!({
        "id": id, "public_id": format!("Sandbox{id}"), "key": format!("sandbox-key-{id}"), "name": name,
        "created_at": "2024-01-15T09:30:00Z",
    })
}

async fn apps(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    if let Some(rejection) = reject(&shared, &headers) {
        return rejection;
    }
    let mut ids: Vec<i64> = APPS.iter().map(|(id, _)| *id).collect();
    ids.extend(shared.state().hooks.hooks.iter().map(|hook| hook.app_id));
    ids.sort_unstable();
    ids.dedup();
    Json(ids.into_iter().map(app_named).collect::<Vec<_>>()).into_response()
}

async fn app(State(shared): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Some(rejection) = reject(&shared, &headers) {
        return rejection;
    }
    match id.parse() {
        Ok(id) if id > 0 => Json(app_named(id)).into_response(),
        _ => problem(StatusCode::NOT_FOUND, "app not found"),
    }
}

/// The query of `/api/app/{id}/issues`, seen in published clients. That pages start at 1 is assumed.
#[derive(Deserialize)]
struct IssueQuery {
    date_range_start: Option<jiff::Timestamp>,
    issue_status: Option<u8>,
    page_size: Option<usize>,
    page: Option<usize>,
}

async fn issues(
    State(shared): State<Shared>,
    Path(id): Path<i64>,
    Query(query): Query<IssueQuery>,
    headers: HeaderMap,
) -> Response {
    if let Some(rejection) = reject(&shared, &headers) {
        return rejection;
    }
    let status = match query.issue_status {
        None => None,
        Some(1) => Some("open"),
        Some(4) => Some("closed"),
        Some(_) => return problem(StatusCode::BAD_REQUEST, "issue_status must be 1 (open) or 4 (closed)"),
    };
    let state = shared.state();
    let wanted = |event: &&Value| {
        let created = event["created_at"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let recent = query.date_range_start.is_none_or(|start| created.is_none_or(|created| created >= start));
        recent && status.is_none_or(|status| event["status"] == status)
    };
    let found: Vec<&Value> = state.events.get(&id).into_iter().flatten().filter(wanted).collect();
    let (size, page) = (query.page_size.unwrap_or(100).clamp(1, 1000), query.page.unwrap_or(1).max(1));
    let shown: Vec<&Value> = found.iter().skip((page - 1).saturating_mul(size)).take(size).copied().collect();
    Json(json!({
        "issues": shown,
        "total_pages": found.len().div_ceil(size),
        "item_count": found.len(),
        "page_index": page,
    }))
    .into_response()
}
