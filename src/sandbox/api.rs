//! The REST API. Paths work with and without a trailing slash.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{PUBLIC_ID, reject};
use super::{Shared, problem};
use crate::domain::{EventKind, TargetUrl};

/// The apps that exist from the start. Any other positive id is an app too.
const APPS: [(i64, &str); 2] = [(1001, "Sandbox for Android"), (1002, "Sandbox for iOS")];

pub(super) fn routes() -> Router<Shared> {
    let routes: [(&str, MethodRouter<Shared>); 5] = [
        ("/api/hook/subscribe", post(subscribe)),
        ("/api/hook/{id}", delete(unsubscribe)),
        ("/api/me", get(me)),
        ("/api/app", get(apps)),
        ("/api/app/{id}", get(app)),
    ];
    routes.into_iter().fold(Router::new(), |router, (path, method)| {
        router.route(path, method.clone()).route(&format!("{path}/"), method)
    })
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
        "id": id, "public_id": format!("{PUBLIC_ID}{id}"), "key": format!("sandbox-key-{id}"), "name": name,
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
