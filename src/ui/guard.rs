//! What every request passes: under which name it asks, where it comes from, and whether it may change anything.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use url::Url;

use super::access::NewSession;
use super::failure::WebFailure;
use super::{PageState, SharedPage};

/// Nothing but what this server sends, no script or style within a page, and no other page around it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types rows";

/// Headers of every response.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// The largest form, in bytes.
const MAX_FORM: usize = 64 * 1024;

/// How long a form may take to come.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

/// Refuses what asks for another host, as a page does whose name was made to resolve to this machine, and what another
/// site makes a browser send.
pub(super) async fn checked(State(page): State<SharedPage>, request: Request, next: Next) -> Response<Body> {
    let asked = request.headers().clone();
    let mut response = if !page.options.hosts.allow(&request) {
        WebFailure::refused("this name of the host is not served: add it with --host").response(&page)
    } else if is_of_another_site(&request) {
        WebFailure::refused("the request comes from another site").response(&page)
    } else {
        match with_whole_form(request).await {
            Ok(request) => in_words(&page, next.run(request).await),
            Err(failure) => failure.response(&page),
        }
    };
    if let Some(session) = response.extensions().get::<NewSession>().cloned()
        && let Some(cookie) = session.cookie(&asked, &page.options.base_path)
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if !response.headers().contains_key(header::CACHE_CONTROL) {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Reads the form of a request, so that nobody waits long for one or keeps a large one.
async fn with_whole_form(request: Request) -> Result<Request, WebFailure> {
    let (parts, body) = request.into_parts();
    let form = tokio::time::timeout(FORM_TIMEOUT, to_bytes(body, MAX_FORM)).await;
    let form = form.map_err(|_| WebFailure::of_status(StatusCode::REQUEST_TIMEOUT))?;
    let form = form.map_err(|_| WebFailure::of_status(StatusCode::PAYLOAD_TOO_LARGE))?;
    Ok(Request::from_parts(parts, Body::from(form)))
}

/// Makes a page of what was refused before a page was asked, such as an address with a number that is none.
fn in_words(page: &PageState, mut response: Response<Body>) -> Response<Body> {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_page = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page || !response.status().is_client_error() {
        return response;
    }
    let allowed = response.headers_mut().remove(header::ALLOW);
    let mut worded = WebFailure::of_status(response.status()).response(page);
    if let Some(allowed) = allowed {
        worded.headers_mut().insert(header::ALLOW, allowed);
    }
    worded
}

/// Lets only visitors pass.
pub(super) async fn signed_in(State(page): State<SharedPage>, mut request: Request, next: Next) -> Response<Body> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    if let Some(redirect) = page.sign_in_by_token(request.uri()) {
        return redirect;
    }
    match page.visitor(request.headers(), peer) {
        Some(visitor) => {
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        None => page.ask_to_sign_in(request.method(), request.headers()),
    }
}

/// Notes that somebody is there, so that the session lasts.
pub(super) async fn in_use(State(page): State<SharedPage>, request: Request, next: Next) -> Response<Body> {
    page.note_use(request.headers());
    next.run(request).await
}

/// Lets changes pass, if there may be any.
pub(super) async fn may_change(State(page): State<SharedPage>, request: Request, next: Next) -> Response<Body> {
    if page.options.read_only {
        return WebFailure::refused("this page is read-only: nothing can be changed here").response(&page);
    }
    next.run(request).await
}

/// Whether another site makes the browser send this. What opens a page is let through unless it changes something: no
/// cookie comes with it.
fn is_of_another_site(request: &Request) -> bool {
    let headers = request.headers();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match said("sec-fetch-site") {
        Some("same-origin" | "none") => false,
        Some(_) if is_read => said("sec-fetch-mode") != Some("navigate") || said("sec-fetch-dest") != Some("document"),
        Some(_) => true,
        // Browsers say it where they are sure of the connection: on this machine and by https. Others say the origin.
        None if is_read => false,
        None => !is_own_origin(headers),
    }
}

/// Whether the origin is the host that is asked.
fn is_own_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN).and_then(|origin| Url::parse(origin).ok()) else { return false };
    let Some(host) = text(header::HOST) else { return false };
    let asked = Url::parse(&format!("{}://{host}", origin.scheme()));
    asked.is_ok_and(|asked| asked.origin().is_tuple() && asked.origin() == origin.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_foreign(method: Method, headers: &[(&'static str, &str)]) -> bool {
        let mut request = Request::builder().method(method).uri("/jobs").header("host", "127.0.0.1:4002");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        is_of_another_site(&request.body(Body::empty()).unwrap())
    }

    #[test]
    fn another_site_changes_nothing_and_reads_nothing() {
        let site = |site| ("sec-fetch-site", site);
        for own in [site("same-origin"), site("none"), ("origin", "http://127.0.0.1:4002")] {
            assert!(!is_foreign(Method::POST, &[own]), "{own:?}");
        }
        for foreign in [
            site("cross-site"),
            site("same-site"),
            ("origin", "http://127.0.0.1:4000"),
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("x-nothing", "said"),
        ] {
            assert!(is_foreign(Method::POST, &[foreign]), "{foreign:?}");
        }
        // What says both is believed the worse.
        assert!(is_foreign(Method::POST, &[site("cross-site"), ("origin", "http://127.0.0.1:4002")]));
        assert!(is_foreign(Method::GET, &[site("cross-site"), ("sec-fetch-mode", "no-cors")]));
        let frame = [site("cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
        assert!(is_foreign(Method::GET, &frame));
        let link = [site("cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        assert!(!is_foreign(Method::GET, &link) && is_foreign(Method::POST, &link));
        assert!(!is_foreign(Method::GET, &[]));
    }
}
