//! The endpoints under `/sandbox/` that control the sandbox. Bugfender has none of them.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::value::RawValue;

use super::deliver::{self, Emit};
use super::state::{Hook, Hooks, SentDelivery};
use super::{Shared, problem};
use crate::error::ErrorKind;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/sandbox/hooks", get(hooks))
        .route("/sandbox/hooks/{id}/deactivate", post(deactivate))
        .route("/sandbox/hooks/{id}/forget", post(forget))
        .route("/sandbox/requests", get(requests))
        .route("/sandbox/deliveries", get(deliveries))
        .route("/sandbox/emit", post(emit))
        .route("/sandbox/reset", post(reset))
}

async fn hooks(State(shared): State<Shared>) -> Response {
    let shown: Vec<Hook> = shared.state().hooks.hooks.iter().map(Hook::shown).collect();
    Json(shown).into_response()
}

/// Deactivates a hook, as Bugfender does with an endpoint that fails: it stays, and gets nothing more.
async fn deactivate(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    change(&shared, &id, Hooks::deactivate)
}

/// Forgets a hook, as if it was deleted in the dashboard.
async fn forget(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    change(&shared, &id, Hooks::remove)
}

fn change(shared: &Shared, id: &str, change: fn(&mut Hooks, i64) -> bool) -> Response {
    let mut state = shared.state();
    if !id.parse().is_ok_and(|id| change(&mut state.hooks, id)) {
        return problem(StatusCode::NOT_FOUND, "hook not found");
    }
    saved(shared, &state.hooks)
}

fn saved(shared: &Shared, hooks: &Hooks) -> Response {
    match hooks.save(shared.options.state.as_deref()) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn requests(State(shared): State<Shared>) -> Response {
    Json(&shared.state().requests).into_response()
}

async fn deliveries(State(shared): State<Shared>) -> Response {
    Json(&shared.state().deliveries).into_response()
}

/// What came of `POST /sandbox/emit`.
#[derive(Serialize)]
struct EmitAnswer<'a> {
    events: Vec<&'a RawValue>,
    deliveries: Vec<SentDelivery>,
}

/// Creates events and delivers them; responds when all deliveries are done.
async fn emit(State(shared): State<Shared>, body: axum::body::Bytes) -> Response {
    let emit: Emit = match serde_json::from_slice(if body.is_empty() { b"{}" } else { &body }) {
        Ok(emit) => emit,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("invalid body: {error}")),
    };
    match deliver::emit(&shared, emit).await {
        Ok((events, deliveries)) => {
            let events = events.iter().map(|event| &*event.json).collect();
            Json(EmitAnswer { events, deliveries }).into_response()
        }
        Err(error) if error.kind() == ErrorKind::Usage => problem(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn reset(State(shared): State<Shared>) -> Response {
    let mut state = shared.state();
    state.reset(&shared.options);
    saved(&shared, &state.hooks)
}
