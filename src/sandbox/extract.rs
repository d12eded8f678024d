//! What handlers take from a request: the caller is checked first, then the app, then the query.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Shared, problem};

/// The prefix of public ids, which end with the number of the app.
pub(super) const PUBLIC_ID: &str = "Sandbox";

/// The response to an unauthenticated request: 401 without a credential, 403 with an invalid one.
pub(super) fn reject(shared: &Shared, headers: &HeaderMap) -> Option<Response> {
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

/// The app that an authenticated request names by its number or its public id.
pub(super) struct AppInPath(pub(super) i64);

#[derive(Deserialize)]
struct AppSegment {
    id: String,
}

impl FromRequestParts<Shared> for AppInPath {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Response> {
        if let Some(rejection) = reject(shared, &parts.headers) {
            return Err(rejection);
        }
        let segment = Path::<AppSegment>::from_request_parts(parts, shared).await.ok();
        let number = |text: &str| text.strip_prefix(PUBLIC_ID).unwrap_or(text).parse().ok().filter(|id| *id > 0);
        let id = segment.and_then(|Path(AppSegment { id })| number(&id));
        id.map(Self).ok_or_else(|| problem(StatusCode::NOT_FOUND, "app not found"))
    }
}

/// A query; what cannot be read is a 400.
pub(super) struct QueryOf<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for QueryOf<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Response> {
        let query = Query::from_request_parts(parts, shared).await;
        let wrong = |rejection: QueryRejection| problem(StatusCode::BAD_REQUEST, &rejection.body_text());
        query.map(|Query(query)| Self(query)).map_err(wrong)
    }
}
