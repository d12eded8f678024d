//! Responses.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;

/// A response with its whole body.
pub type FullResponse = Response<Full<Bytes>>;

/// How long a sender is asked to wait when nothing can be stored, in seconds.
const WAIT: HeaderValue = HeaderValue::from_static("5");

/// A response of this media type.
pub(super) fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> FullResponse {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// A response in JSON.
pub(super) fn json(status: StatusCode, body: &serde_json::Value) -> FullResponse {
    text(status, "application/json", body.to_string())
}

/// An error, with a message for people.
pub(super) fn error(status: StatusCode, what: &str) -> FullResponse {
    json(status, &json!({"error": what}))
}

/// There is no such path, or the key in it is wrong: the response does not tell which.
pub(super) fn not_found() -> FullResponse {
    error(StatusCode::NOT_FOUND, "not found")
}

/// The path does not support the method.
pub(super) fn wrong_method(allowed: &'static str) -> FullResponse {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "this path does not accept that method");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// The delivery was not stored; the sender may retry later.
pub(super) fn unavailable(what: &str) -> FullResponse {
    let mut answer = error(StatusCode::SERVICE_UNAVAILABLE, what);
    answer.headers_mut().insert(RETRY_AFTER, WAIT);
    answer
}

/// The same response, after which the connection is closed: the rest of the body is not read.
pub(super) fn and_close(mut answer: FullResponse) -> FullResponse {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}
