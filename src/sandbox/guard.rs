//! The middleware of every API request: log, latency and faults.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION, RETRY_AFTER, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde_json::Value;

use super::fault::{FaultKind, Operation};
use super::serve::Withheld;
use super::state::LoggedRequest;
use super::{Shared, problem};
use crate::domain::TargetUrl;

/// The maximum size of a request body, in bytes.
const MAX_BODY: usize = 1024 * 1024;

pub(super) async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
    };
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let operation = Operation::of(&method, &path);
    let log = LoggedRequest {
        method: method.to_string(),
        path,
        query: parts.uri.query().filter(|_| operation != Some(Operation::Authorize)).map(str::to_owned),
        authorization: text(&parts.headers, &AUTHORIZATION).map(|value| scheme_of(&value)),
        user_agent: text(&parts.headers, &USER_AGENT),
        body: serde_json::from_slice(&body).ok().map(without_password),
        status: None,
    };
    let (entry, fault) = {
        let mut state = shared.state();
        (state.log(log), operation.and_then(|operation| state.take_fault(operation)))
    };
    if !shared.options.latency.is_zero() {
        // A sleep of zero would still last until the next tick of the timer.
        tokio::time::sleep(shared.options.latency).await;
    }
    let request = Request::from_parts(parts, Body::from(body));
    let response = match fault {
        None => next.run(request).await,
        Some(FaultKind::Drop) => {
            next.run(request).await;
            let mut withheld = StatusCode::OK.into_response();
            withheld.extensions_mut().insert(Withheld);
            withheld
        }
        Some(FaultKind::Truncate) => truncate(next.run(request).await).await,
        Some(FaultKind::Hang) => std::future::pending().await,
        Some(FaultKind::Redirect) => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "/elsewhere")]).into_response(),
        Some(FaultKind::Status(status, None)) => problem(status, "injected fault"),
        Some(FaultKind::Status(status, Some(after))) => {
            ([(RETRY_AFTER, after.to_string())], problem(status, "injected fault")).into_response()
        }
    };
    let sent = response.extensions().get::<Withheld>().is_none();
    shared.state().set_status(entry, sent.then(|| response.status().as_u16()));
    response
}

/// How long after half of a response the connection is closed.
const TRUNCATE_DELAY: Duration = Duration::from_millis(20);

/// A response with its full `Content-Length` but only half of its body.
async fn truncate(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let whole = to_bytes(body, MAX_BODY).await.unwrap_or_default();
    let half = whole.slice(..whole.len() / 2);
    parts.headers.insert(CONTENT_LENGTH, whole.len().max(1).into());
    let close = async {
        // The first half is sent only when the next chunk is not ready immediately.
        tokio::time::sleep(TRUNCATE_DELAY).await;
        Err(io::Error::other("injected fault: response truncated"))
    };
    let half = futures_util::stream::iter([Ok::<Bytes, io::Error>(half)]);
    Response::from_parts(parts, Body::from_stream(half.chain(futures_util::stream::once(close))))
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The scheme of a credential, without the credential.
fn scheme_of(value: &str) -> String {
    format!("{} [redacted]", value.split(' ').next().unwrap_or_default())
}

/// The body with the password of its target URL redacted.
fn without_password(mut body: Value) -> Value {
    if let Some(url) = body.get("target_url").and_then(Value::as_str) {
        body["target_url"] = TargetUrl::from_stored(url.to_owned()).into_shown(false).into();
    }
    body
}
