//! What a request is answered with that cannot be answered well.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;

use super::PageState;
use super::templates::content;
use crate::error::Error;
use crate::store::StoreError;

/// Why there is no page.
#[derive(Debug)]
pub(super) struct WebFailure {
    status: StatusCode,
    message: String,
    hints: Vec<String>,
}

impl WebFailure {
    pub(super) fn not_found(message: &str) -> Self {
        Self { status: StatusCode::NOT_FOUND, message: message.to_owned(), hints: Vec::new() }
    }

    /// What an address names that was there once.
    pub(super) fn gone(what: &str) -> Self {
        Self::not_found(&format!("there is no such {what}: it may have been removed"))
    }

    pub(super) fn refused(message: &str) -> Self {
        Self { status: StatusCode::FORBIDDEN, message: message.to_owned(), hints: Vec::new() }
    }

    /// What is wrong with a request that no page was asked for.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let message = match status {
            StatusCode::NOT_FOUND => "there is no such page",
            StatusCode::METHOD_NOT_ALLOWED => "this address is not for that method",
            StatusCode::REQUEST_TIMEOUT => "the form did not come in time",
            StatusCode::PAYLOAD_TOO_LARGE => "the form is too large, or did not come whole",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "what was sent is no form",
            _ => "the address or the form cannot be read",
        };
        Self { status, message: message.to_owned(), hints: Vec::new() }
    }

    /// What was typed cannot be used.
    pub(super) fn unusable(message: impl Into<String>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, message: message.into(), hints: Vec::new() }
    }

    /// The message for people.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn response(&self, page: &PageState) -> Response<Body> {
        let context = content! { message => self.message, hints => self.hints, status => self.status.as_u16() };
        page.templates.respond(page, self.status, "failure.html", context)
    }
}

impl From<Error> for WebFailure {
    fn from(error: Error) -> Self {
        let hints = error.hints().iter().map(ToString::to_string).collect();
        Self { status: StatusCode::SERVICE_UNAVAILABLE, message: error.to_string(), hints }
    }
}

impl From<StoreError> for WebFailure {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}
