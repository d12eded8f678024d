//! Leading a browser on.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::PageState;
use super::notices::Notice;

/// A redirect after a change: the browser asks for the next page by GET.
pub(super) fn see_other(location: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

impl PageState {
    /// Leads to a page, given by its path without a query, that shows what came of a change.
    pub(super) fn lead_to(&self, path: &str, notice: Notice) -> Response<Body> {
        let note = self.notices.keep(notice);
        see_other(&format!("{}{path}?note={note}", self.options.base_path))
    }
}
