//! What callers are told.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;

/// An answer with its whole body.
pub type FullResponse = Response<Full<Bytes>>;

/// How long a sender is asked to wait when nothing can be stored, in seconds.
const WAIT: HeaderValue = HeaderValue::from_static("5");

/// An answer of this media type.
pub(super) fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> FullResponse {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// JSON.
pub(super) fn json(status: StatusCode, body: &serde_json::Value) -> FullResponse {
    text(status, "application/json", body.to_string())
}

/// An error in words.
pub(super) fn error(status: StatusCode, what: &str) -> FullResponse {
    json(status, &json!({"error": what}))
}

/// There is no such path, or the key in it is wrong: the same answer.
pub(super) fn not_found() -> FullResponse {
    error(StatusCode::NOT_FOUND, "not found")
}

/// The path takes another method.
pub(super) fn wrong_method(allowed: &'static str) -> FullResponse {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "this path does not take that method");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// It was not stored: to be sent again later, by who does that.
pub(super) fn unavailable(what: &str) -> FullResponse {
    let mut answer = error(StatusCode::SERVICE_UNAVAILABLE, what);
    answer.headers_mut().insert(RETRY_AFTER, WAIT);
    answer
}

/// The same answer, and the end of the connection: what may still come of the body is not waited for.
pub(super) fn and_close(mut answer: FullResponse) -> FullResponse {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}
